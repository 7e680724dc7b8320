__pysys_title__ = r""" Docker - the image that a composition builds from is substituted also where its file names it by a build argument """
__pysys_purpose__ = r""" """

import pathlib

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerComposition, DockerImage

COLOURS = ['red', 'green', 'blue']


class PySysTest(BaseTest):
	def execute(self):
		images = {f'shop/{each}': DockerImage.fromDockerfile(self, f'{self.input}/Dockerfile', buildArgs={'COLOUR': each}) for each in COLOURS}
		shop = DockerComposition(self, 'shop/docker-compose.yml', imageSubst=images).up().log()
		for service in COLOURS:
			shop.getContainer(service).waitForExit()

	def validate(self):
		for service in COLOURS:
			actual = pathlib.Path(self.output, f'{service}.out').read_text()
			self.assertThat('actual == expected', actual=actual, expected=f'{service}\n')
		self.assertGrep('run.log', 'nothing in the file is called', contains=False)
