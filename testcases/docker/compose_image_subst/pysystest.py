__pysys_title__ = r""" Docker - the images of a composition are given by the test: exact names, under anchors, and in the Dockerfiles that it builds """
__pysys_purpose__ = r""" """

import pathlib

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerComposition, DockerImage

EXPECTED = {
	'plain': 'red', 'tagged': 'red', 'merged': 'green', 'alias': 'green', 'other': 'blue', 'built': 'red', 'staged': 'red\nblue\ngreen',
}


class PySysTest(BaseTest):
	def execute(self):
		red, green, blue = (DockerImage.fromDockerfile(self, f'{self.input}/Dockerfile', buildArgs={'COLOUR': each}) for each in ('red', 'green', 'blue'))
		images = {'shop/plain': red, 'registry.example.com:5000/shop/base:1.0': green.getName(), 'redis:latest': blue}
		shop = DockerComposition(self, 'shop/docker-compose.yml', imageSubst=images).up()
		shop.log()
		for service in EXPECTED:
			shop.getContainer(service).waitForExit()

	def validate(self):
		for service, expected in EXPECTED.items():
			actual = pathlib.Path(self.output, f'{service}.out').read_text()
			self.assertThat('actual == expected', actual=actual, expected=f'{expected}\n', service=service)
		# What is only called likewise is another image.
		self.assertGrep('docker-compose.tailored.yml', 'image: my-shop/plain')
		self.assertGrep('run.log', 'nothing in the file is called', contains=False)
