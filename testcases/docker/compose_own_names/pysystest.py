__pysys_title__ = r""" Docker - the names that a composition gives to what it builds mean that wherever it uses them """
__pysys_purpose__ = r""" """
__pysys_groups__ = "modernEngine" # compose v1 knows no include

import pathlib

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerComposition, DockerImage

# The library is brought up twice.
EXPECTED = {'app': 'app', 'lib': 'lib\nlib', 'uses': 'lib', 'inline': 'inline\nlib', 'apart': 'apart', 'given': 'given'}


class PySysTest(BaseTest):
	def execute(self):
		given = DockerImage.fromExisting(self, 'pysys-orch-test/busybox:1')
		substs = {'shop/given:latest': given}
		files = {'./apart': [f'{self.input}/more.txt']}
		# What others build from has to be there before.
		shop = DockerComposition(self, 'shop/docker-compose.yml', imageSubst=substs, additionalFiles=files)
		shop.up(extraArgs=['lib'])
		shop.up().log()
		for service in EXPECTED:
			shop.getContainer(service).waitForExit()

	def validate(self):
		for service, text in EXPECTED.items():
			actual = pathlib.Path(self.output, f'{service}.out').read_text()
			self.assertThat('actual == expected', actual=actual, expected=f'{text}\n', service=service)
		self.assertGrep('run.log', 'nothing in the file is called', contains=False)
