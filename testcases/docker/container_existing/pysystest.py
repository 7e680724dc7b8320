__pysys_title__ = r""" Docker - a container that was started by others is wrapped, and goes with the test only if that owns it """
__pysys_purpose__ = r""" """

import pathlib
import threading

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerContainer, DockerHelper, DockerImage


class PySysTest(BaseTest):
	def execute(self):
		self.addCleanupFunction(self.checkGone)
		self.mine, self.others, self.known = (f'not-ours-{DockerImage.generateUniqueName()}' for _ in range(3))
		owned = DockerContainer.fromExisting(self, self.start(self.mine))
		kept = DockerContainer.fromExisting(self, self.start(self.others), own=False)
		identity = pathlib.Path(self.docker('inspect', '--format', '{{.Id}}', self.start(self.known)).stdout).read_text().strip()
		by_id = DockerContainer.fromExisting(self, identity[:12], own=True)
		for container in (owned, kept, by_id):
			self.assertThat('state == "running"', state=container.getState())
			self.assertThat('code is None', code=container.getExitCode())
			container.log(container.getName()).waitForLog('hello')
			self.assertGrep(f'{container.getName()}.out', '^hello$')
			self.assertGrep(container.exec(['echo', 'exec works']).stdout, '^exec works$')
		self.assertThat('name == mine', name=owned.getName(), mine=self.mine)
		self.assertThat('id == identity', id=by_id.inspect()['Id'], identity=identity)
		owned.stop(timeout=0)
		self.assertThat('state == "exited"', state=owned.getState())

	def start(self, name):
		self.docker('run', '--detach', '--name', name, 'pysys-orch-test/busybox:1', 'sh', '-c', 'echo hello; exec sleep 600')
		return name

	def docker(self, *arguments, **options):
		return DockerHelper._executeDockerCommand(self, arguments, **options)

	def checkGone(self):
		for name, expected in [(self.mine, 1), (self.others, 0), (self.known, 1)]:
			done = self.docker('container', 'inspect', name, ignoreExitStatus=True)
			self.assertThat('status == expected', status=done.process.exitStatus, expected=expected, name=name)
		# Of what goes on without the test, the log does not.
		identity = pathlib.Path(self.docker('inspect', '--format', '{{.Id}}', self.others).stdout).read_text().strip()
		threads = [each.name for each in threading.enumerate() if identity[:12] in each.name]
		self.assertThat('threads == []', threads=threads)
		self.docker('rm', '--force', self.others)
