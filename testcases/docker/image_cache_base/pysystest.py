__pysys_title__ = r""" Docker - an image is built again if what it starts from has changed, whatever that is called """
__pysys_purpose__ = r""" """

import pathlib

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerContainer, DockerHelper, DockerImage


class PySysTest(BaseTest):
	def execute(self):
		busybox = DockerImage.fromExisting(self, 'pysys-orch-test/busybox:1')
		one, two = self.derived(busybox), self.derived(busybox)
		name = DockerImage.fromBlank(self)

		self.builds('from an image that is new', one, again=True)
		self.builds('from the same', one, again=False)
		self.tag(one, name)
		self.builds('from the same under another name', name, again=False)
		self.tag(two, name)
		self.builds('after that name was given to another', name, again=True)
		self.builds('from that other under its own name', two, again=False)

	def derived(self, image):
		return DockerContainer.fromImage(image, 'base').run(['touch', '/changed']).commit()

	def tag(self, image, name):
		DockerHelper._executeDockerCommand(self, ['tag', image.getName(), name.getName()])

	def builds(self, when, base, *, again):
		before = self.count()
		DockerImage.fromDockerfile(self, f'{self.input}/Dockerfile', imageSubst=('base', base))
		self.assertThat('(builds == 1) is again', builds=self.count() - before, again=again, when=when)

	def count(self):
		"""Return how many builds have left their output."""
		return len(list(pathlib.Path(self.output).glob('docker_build*.err')))
