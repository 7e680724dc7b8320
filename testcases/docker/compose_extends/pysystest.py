__pysys_title__ = r""" Docker - what services of a composition are taken from, files and themselves included, is tailored for each use """
__pysys_purpose__ = r""" """
__pysys_groups__ = "modernEngine" # compose v1 knows no include

import os
import pathlib
import urllib.request

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerComposition

IMAGES = {'shop/web': 'pysys-orch-test/busybox:1'}


class PySysTest(BaseTest):
	def execute(self):
		# What the run itself has in its environment does not matter to the file.
		os.environ['BASE'] = '1234'
		self.addCleanupFunction(lambda: os.environ.pop('BASE'))
		shop = DockerComposition(self, 'shop/docker-compose.yml', imageSubst=IMAGES).up(profiles=['gpu']).log()
		with urllib.request.urlopen(f'http://127.0.0.1:{shop.getExternalPort(8080)}/', timeout=10) as answer:
			self.assertThat('page == b"the page\\n"', page=answer.read())

		# Of two services that publish the same, that which is there.
		same = {each: shop.getContainer(service).getExternalPort(port) for each, service, port in [
			(8080, 'web', 80), (8090, 'gpu', 80), (7000, 'common', 7000), (8053, 'names', 53), ('8053/udp', 'names', '53/udp'), (39871, 'names', 9000),
		]}
		self.assertThat('found == same', found={each: shop.getExternalPort(each) for each in same}, same=same)
		# The folder of the file is that of a shell beside it.
		self.assertThat('page == "the page\\n"', page=pathlib.Path(shop.getContainer('names').exec(['cat', '/here/index.html']).stdout).read_text())
		for service in ('part', 'other'):
			shop.getContainer(service).waitForExit()

	def validate(self):
		for service, page in [('part', 'the page'), ('other', 'the page of the part')]:
			actual = pathlib.Path(self.output, f'{service}.out').read_text()
			self.assertThat('actual == expected', actual=actual, expected=f'{page}\n')
		self.assertGrep('run.log', 'nothing in the file is called', contains=False)
