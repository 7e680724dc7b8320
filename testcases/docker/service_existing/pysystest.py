__pysys_title__ = r""" Docker - an existing service is wrapped; whether it goes with the test is told """
__pysys_purpose__ = r""" """

import pathlib

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerHelper, DockerImage, DockerService


class PySysTest(BaseTest):
	def execute(self):
		self.names = {own: f'not-ours-{DockerImage.generateUniqueName()}' for own in (True, False)}
		self.addCleanupFunction(self.checkWhatIsLeft)
		for own, name in self.names.items():
			arguments = ['service', 'create', '--detach', '--quiet', '--name', name, '--mount', 'type=volume,dst=/data']
			self.docker(*arguments, 'pysys-orch-test/busybox:1', 'sh', '-c', 'echo hello; exec sleep 600')
			service = DockerService.fromExisting(self, name, own=own)
			self.assertThat('name == given', name=service.getName(), given=name)
			service.waitForReplicas(1).log(f'own_{own}').waitForLog('^hello$')
			listed = service.getAllContainers(f'own_{own}.txt')
			lines = pathlib.Path(listed.stdout).read_text().splitlines()[1:]
			self.assertThat('len(lines) == 1 and name in lines[0]', lines=lines, name=name)
			drivers = [driver for driver, _ in service.getVolumes().values()]
			self.assertThat('drivers == ["local"]', drivers=drivers)
			self.assertThat('networks == {}', networks=service.getNetworks())
			service.scale(2)
		DockerService.fromExisting(self, self.names[True]).waitForReplicas(2)

	def checkWhatIsLeft(self):
		for own, name in self.names.items():
			done = self.docker('service', 'inspect', name, ignoreExitStatus=True)
			self.assertThat('status == (1 if own else 0)', status=done.process.exitStatus, own=own)
		self.docker('service', 'rm', self.names[False])
		done = self.docker('ps', '--quiet', '--filter', f'label=com.docker.swarm.service.name={self.names[False]}')
		containers = pathlib.Path(done.stdout).read_text().split()
		self.assertThat('len(containers) == 2', containers=containers)
		self.docker('rm', '--force', '--volumes', *containers)

	def docker(self, *arguments, **options):
		return DockerHelper._executeDockerCommand(self, arguments, **options)
