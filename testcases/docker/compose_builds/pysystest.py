__pysys_title__ = r""" Docker - a composition builds from the contexts of the test, with files that the test adds """
__pysys_purpose__ = r""" """

import pathlib

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerComposition, DockerImage

EXPECTED = {'app': 'an added text\na source\n', 'tools': 'blue\na source\n', 'wrapped': 'wrapped\nin the context\n'}


class PySysTest(BaseTest):
	def execute(self):
		self.addCleanupFunction(self.checkGone)
		before = self.contents()
		shop = DockerComposition(
			self, f'{self.input}/shop/docker-compose.yml',
			imageSubst={'no-such/base:1': DockerImage.fromExisting(self, 'pysys-orch-test/busybox:1')},
			buildSubst={'../installation/app': (f'{self.input}/sources', ['Dockerfile', 'docker/Dockerfile.tools'])},
			additionalFiles={
				'../installation/app': [f'{self.input}/extra/added.txt'],
				'./wrapped': [f'{self.input}/extra/Dockerfile.wrapper', f'{self.input}/extra/wrapper.sh'],
			},
		).up().log()
		for service, expected in EXPECTED.items():
			self.assertThat('code == 0', code=shop.getContainer(service).waitForExit())
			actual = pathlib.Path(self.output, f'{service}.out').read_text()
			self.assertThat('actual == expected', actual=actual, expected=expected)
		self.images = [shop.getContainer(each).inspect()['Config']['Image'] for each in EXPECTED]
		self.assertThat('after == before', after=self.contents(), before=before)

	def contents(self):
		return {str(path): path.read_bytes() for name in ('shop', 'sources', 'extra') for path in pathlib.Path(self.input, name).rglob('*') if path.is_file()}

	def validate(self):
		self.assertGrep('run.log', 'nothing in the file is called', contains=False)

	def checkGone(self):
		"""Runs after everything else: neither images nor copies of contexts are left."""
		for image in self.images:
			done = DockerComposition._executeDockerCommand(self, ['image', 'ls', '--quiet', image])
			self.assertThat('left == ""', left=pathlib.Path(done.stdout).read_text(), image=image)
		left = [path.name for path in pathlib.Path(self.output).glob('**/wrapper.sh')]
		self.assertThat('left == []', left=left)
