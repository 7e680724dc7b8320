__pysys_title__ = r""" Docker - a docker command leaves its output in files of its own """
__pysys_purpose__ = r""" The protected method is part of the API that older tests use. """

import os
import pathlib
import shutil

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DOCKER_COMMAND_RETURN, Config, DockerHelper

THREADS = 8


class PySysTest(BaseTest):
	def execute(self):
		self.first = self.docker(['version'])
		self.second = self.docker(['version'])
		pool = self.createThreadPoolExecutor(THREADS)
		ask = ['info', '--format', 'the engine is {{.ID}}']
		self.asked = list(pool.map(lambda _: self.docker(ask, quiet=True), range(THREADS)))

		self.refused = self.docker(['no-such-command'], ignoreExitStatus=True)
		self.background = self.docker(['version'], state=BACKGROUND, displayName='later')
		self.waitProcess(self.background.process, timeout=60)

		self.named = self.docker(['version'], displayName='engine', displayNamePostfix=' (for display)')
		manual = Config.MANUAL_CONFIG()
		self.pair = self.docker(['version'], stdout='mine.txt', stderr='mine.log', stdouterrConfig=manual)
		self.both = self.docker(['version'], stdOutErr=('both.1', 'both.2'), stdouterrConfig=manual)
		self.prefix = self.docker(['version'], stdOutErr='prefix', stdouterrConfig=manual)

		self.environment('clean')
		self.environment('given', environs={'COLOUR': 'red'})

	def docker(self, arguments, **options):
		return DockerHelper._executeDockerCommand(self, arguments, **options)

	def environment(self, name, **options):
		# Any program can be run in the way of a docker command: this one tells its environment.
		env = shutil.which('env')
		self.docker(['-0'], command=env, displayName=name, **options)

	def validate(self):
		process, stdout, stderr = self.first
		self.assertThat('isinstance(first, type_)', first=self.first, type_=DOCKER_COMMAND_RETURN)
		self.assertThat('status == 0', status=process.exitStatus)
		self.assertThat('os.path.isabs(stdout) and os.path.isabs(stderr)', stdout=stdout, stderr=stderr)
		self.assertGrep(stdout, 'Server:')
		self.assertThat('folder == self.output', folder=os.path.dirname(stdout))
		self.names(self.first, 'docker_version.out', 'docker_version.err')
		self.names(self.second, 'docker_version.1.out', 'docker_version.1.err')

		files = {each.stdout for each in self.asked}
		self.assertThat('len(files) == threads', files=files, threads=THREADS)
		said = {pathlib.Path(each).read_text() for each in files}
		self.assertThat('len(said) == 1', said=said)
		self.assertThat('said.startswith("the engine is ")', said=said.pop())

		self.assertThat('status != 0', status=self.refused.process.exitStatus)
		self.assertGrep(self.refused.stderr, 'no-such-command')
		self.assertThat('status == 0', status=self.background.process.exitStatus)
		self.names(self.background, 'later.out', 'later.err')

		self.names(self.named, 'engine.out', 'engine.err')
		self.assertGrep('run.log', r'engine \(for display\)')
		self.names(self.pair, 'mine.txt', 'mine.log')
		self.names(self.both, 'both.1', 'both.2')
		self.names(self.prefix, 'prefix.out', 'prefix.err')
		for each in (self.pair, self.both, self.prefix):
			self.assertGrep(each.stdout, 'Server:')

		clean, given = self.variables('clean.out'), self.variables('given.out')
		# What the client needs to find its engine is there, what else this process has is not.
		for name in ('HOME', 'PATH', 'DOCKER_HOST'):
			self.assertThat('name in clean and name in given', name=name, clean=clean, given=given)
		own = {*os.environ, 'PATH'} - {'HOME', 'XDG_RUNTIME_DIR', 'XDG_CONFIG_HOME', 'SSH_AUTH_SOCK', 'USERPROFILE'}
		inherited = {
			name for name in own & {*clean}
			if name not in self.getDefaultEnvirons()
			and not name.startswith(('DOCKER_', 'COMPOSE_', 'BUILDX_', 'BUILDKIT_')) and not name.upper().endswith('_PROXY')
		}
		self.assertThat('inherited == set()', inherited=inherited, had=len(own))
		self.assertThat('"COLOUR" not in clean', clean=clean)
		self.assertThat('colour == "red"', colour=given.get('COLOUR'))

	def names(self, done, stdout, stderr):
		actual = os.path.basename(done.stdout), os.path.basename(done.stderr)
		self.assertThat('actual == expected', actual=actual, expected=(stdout, stderr))

	def variables(self, file):
		entries = pathlib.Path(self.output, file).read_text().split('\0')
		return dict(entry.split('=', 1) for entry in entries if entry)
