__pysys_title__ = r""" Docker - a container runs with the command, user, variables and arguments that it is given """
__pysys_purpose__ = r""" """

import os
import pathlib

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerContainer, DockerHelper, DockerImage

WORDS = ['printf', '<%s>', 'two  words', '$HOME', '*', '']


class PySysTest(BaseTest):
	def execute(self):
		self.addCleanupFunction(self.checkGone)
		# Its own user is nobody, to tell it from whoever runs this.
		image = DockerImage.fromDockerfile(self, f'{self.input}/Dockerfile')

		def container(name):
			return DockerContainer.fromImage(image, name)

		container('default').run(foreground=True)
		container('list').run(WORDS, foreground=True)
		container('text').run("printf '<%s>' 'two  words' $HOME", foreground=True)

		facts = 'id -u; id -g; echo "$COLOUR, $SIZE, $from_the_image"'
		plain = container('plain').setEnv(COLOUR='dark red', SIZE=3).setEnv({'from_the_image': 'no more'})
		plain.run(['sh', '-c', facts], foreground=True)
		self.assertThat('name == started', name=plain.getName(), started=plain.inspect()['Name'].lstrip('/'))
		self.assertThat('name.startswith("po") and "container-run-plain" in name', name=plain.getName())

		folder = pathlib.Path(self.output, 'shared')
		folder.mkdir()
		(folder / 'file').write_text('from the host\n')
		self.own = DockerImage.generateUniqueName()
		extra = ['--user', '65534:12', '--name', self.own, '-e', 'SIZE=4', '-v', f'{folder}:/shared:ro', '--hostname=elsewhere']
		mine = container('arguments').setEnv(COLOUR='blue', SIZE=3)
		mine.run(['sh', '-c', f'{facts}; cat /shared/file; hostname'], extraArgs=extra, foreground=True)
		self.assertThat('name == own', name=mine.getName(), own=self.own)
		container('short_user').run(['id', '-u'], extraArgs=['-u7'], foreground=True)
		container('unchanged_user').run(['id', '-u'], extraArgs=['--init'], foreground=True)

		# What has no value is taken from the environment of the client, which is none of the container.
		names = [name for name in os.environ if name.isidentifier() and name not in self.known()]
		self.assertThat('names', names=names)
		extra = [word for name in ['COLOUR', *names] for word in ('-e', name)]
		container('clean').run(['env'], extraArgs=extra, foreground=True)
		container('environs').run(['env'], extraArgs=extra, environs={'COLOUR': 'green', 'SIZE': '5'}, foreground=True)
		self.names = names

	def known(self):
		client = {'HOME', 'PATH', 'XDG_RUNTIME_DIR', 'XDG_CONFIG_HOME', 'SSH_AUTH_SOCK', 'USERPROFILE'}
		prefixes = ('DOCKER_', 'COMPOSE_', 'BUILDX_', 'BUILDKIT_')
		client.update(name for name in os.environ if name.startswith(prefixes) or name.upper().endswith('_PROXY'))
		# A shell in the container sets these itself.
		return {*self.getDefaultEnvirons(), *client, 'HOSTNAME', 'TERM', 'PWD', 'SHLVL', 'OLDPWD', '_'}

	def validate(self):
		me = f'{os.getuid()}\n{os.getgid()}\n'
		self.says('default', 'the command of the image\n')
		self.says('list', '<two  words><$HOME><*><>')
		self.says('text', '<two  words><$HOME>')
		self.says('plain', f'{me}dark red, 3, no more\n')
		self.says('arguments', '65534\n12\nblue, 4, from the image\nfrom the host\nelsewhere\n')
		self.says('short_user', '7\n')
		self.says('unchanged_user', f'{os.getuid()}\n')
		for name in self.names:
			self.assertGrep('docker_run_clean.out', f'^{name}=', contains=False)
		self.assertGrep('docker_run_clean.out', '^COLOUR', contains=False)
		self.assertGrep('docker_run_environs.out', '^COLOUR=green$')
		self.assertGrep('docker_run_environs.out', '^SIZE', contains=False)

	def says(self, name, expected):
		actual = pathlib.Path(self.output, f'docker_run_{name}.out').read_text()
		self.assertThat('actual == expected', actual=actual, expected=expected, container=name)

	def checkGone(self):
		# A name of the test's own choice does not keep a container from going with the test.
		done = DockerHelper._executeDockerCommand(self, ['inspect', self.own], ignoreExitStatus=True)
		self.assertThat('status == 1', status=done.process.exitStatus)
