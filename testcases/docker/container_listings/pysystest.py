__pysys_title__ = r""" Docker - the containers, networks and volumes of an environment are listed, and nobody else's """
__pysys_purpose__ = r""" """

import os
import pathlib

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerContainer, DockerHelper, DockerImage, DockerNetwork


class PySysTest(BaseTest):
	def execute(self):
		image = DockerImage.fromExisting(self, 'pysys-orch-test/busybox:1')
		# It is removed after the container that uses it.
		*create, volume = self.foreign('volume', 'volume', 'create')
		self.docker(*create, volume)
		network = DockerNetwork.create(self, 'inner')
		web = DockerContainer.fromImage(image, 'web').joinNetwork(network).run(['sleep', '600'], ['--volume', f'{volume}:/data'])
		ended = DockerContainer.fromImage(image, 'ended').run(['true'])
		ended.waitForExit()
		self.docker(*self.foreign('container', 'run', '--detach', '--name'), 'pysys-orch-test/busybox:1')

		# An image or a network speaks for its test, a container for itself.
		process, stdout, stderr = image.getAllContainers()
		self.assertThat('status == 0', status=process.exitStatus)
		self.assertThat('name == "__getcontainers.out"', name=os.path.basename(stdout))
		self.assertThat('name == "__getcontainers.err"', name=os.path.basename(stderr))
		self.lists(stdout, web, ended)
		self.lists(network.getAllContainers(stdout='mine.txt', timeout=60).stdout, web, ended)
		self.assertPathExists('mine.txt')
		self.lists(web.getAllContainers(stdout='web.txt').stdout, web)
		self.lists(ended.getAllContainers(stdout='ended.txt').stdout, ended)

		expected = self.network(network.getName())
		for helper in (image, network, web):
			self.assertThat('networks == expected', networks=helper.getNetworks(), expected={network.getName(): expected})
		self.assertThat('networks == expected', networks=ended.getNetworks(), expected={'bridge': self.network('bridge')})
		self.assertThat('volumes == expected', volumes=web.getVolumes(), expected={volume: ('local', volume)})
		for helper in (image, ended):
			self.assertThat('volumes == {}', volumes=helper.getVolumes())

		# Those of a compose project or a stack go by the names that they have inside of it.
		project, stack = DockerImage.generateUniqueName(), DockerImage.generateUniqueName()
		composed = ['--label', f'com.docker.compose.project={project}']
		stacked = ['--label', f'com.docker.stack.namespace={stack}']
		self.docker(*self.foreign('volume', 'volume', 'create', *composed, '--label', 'com.docker.compose.volume=data', name=f'{project}_data'))
		self.docker(*self.foreign('volume', 'volume', 'create', *stacked, name=f'{stack}_data'))
		self.docker(*self.foreign('network', 'network', 'create', *composed, '--label', 'com.docker.compose.network=inner', name=f'{project}_inner'))
		inner = self.network(f'{project}_inner')
		self.assertThat('volumes == expected', volumes=web.getVolumes(project), expected={'data': ('local', f'{project}_data')})
		self.assertThat('volumes == expected', volumes=image.getVolumes(name=stack), expected={'data': ('local', f'{stack}_data')})
		self.assertThat('networks == expected', networks=image.getNetworks(project), expected={'inner': inner})
		self.assertThat('networks == {}', networks=image.getNetworks(stack))

	def foreign(self, kind, *arguments, name=None):
		"""Return arguments that make something, and have it removed by this test."""
		name = name or f'not-ours-{DockerImage.generateUniqueName()}'
		force = ['--force', '--volumes'] if kind == 'container' else []
		self.addCleanupFunction(lambda: self.docker(kind, 'rm', *force, name))
		return [*arguments, name]

	def lists(self, file, *containers):
		lines = pathlib.Path(file).read_text().splitlines()[1:]
		actual = {line.split()[-1] for line in lines}
		self.assertThat('actual == expected', actual=actual, expected={each.getName() for each in containers})

	def network(self, name):
		done = self.docker('network', 'inspect', '--format', '{{.Driver}} {{.Name}} {{.Id}}', name)
		return tuple(pathlib.Path(done.stdout).read_text().split())

	def docker(self, *arguments):
		return DockerHelper._executeDockerCommand(self, arguments)
