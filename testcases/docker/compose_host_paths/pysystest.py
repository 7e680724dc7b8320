__pysys_title__ = r""" Docker - the host's paths that a composition mounts are replaced by those of the test """
__pysys_purpose__ = r""" """

import pathlib

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerComposition


class PySysTest(BaseTest):
	def execute(self):
		paths = {}
		for path, name in [('/opt/shop/data', 'data'), ('./conf/shop.conf', 'conf'), ('/opt/shop/files/', 'files')]:
			folder = pathlib.Path(self.output, name)
			folder.mkdir()
			(folder / 'file').write_text(f'{name} of the test\n')
			paths[path] = str(folder / 'file' if name == 'conf' else folder)
		shop = DockerComposition(self, f'{self.input}/shop/docker-compose.yml', hostPathSubst=paths).up().log()
		self.assertThat('code == 0', code=shop.getContainer('reader').waitForExit())

	def validate(self):
		expected = ['data of the test', 'conf of the test', 'files of the test', 'of the sample']
		self.assertThat('actual == expected', actual=pathlib.Path(self.output, 'reader.out').read_text().splitlines(), expected=expected)
		self.assertThat('text == "written\\n"', text=pathlib.Path(self.output, 'data/written').read_text())
		self.assertGrep('run.log', 'nothing in the file is called', contains=False)
