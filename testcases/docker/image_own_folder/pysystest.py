__pysys_title__ = r""" Docker - a test whose own folder is the build context is not built again for its own output """
__pysys_purpose__ = r""" """

import pathlib

import pysys.basetest
from pysys.constants import *

import pysys_orch.docker


class PySysTest(pysys_orch.docker.DockerTestHelper, pysys.basetest.BaseTest):
	def execute(self):
		# This one is built only if the machine is new.
		first = self.docker.image(context='.')
		self.docker.container(first, 'first').run(['find', '/test', '-type', 'f'], foreground=True)
		before = self.count()
		for number in range(3):
			self.write_text(f'file.{number}', 'such as each run leaves')
			image = self.docker.image(context='.')
			self.assertThat('image != first', image=image.getName(), first=first.getName())
		self.assertThat('after == before', after=self.count(), before=before)

		# Nor is anything lost where only the output is the context.
		self.write_text('Dockerfile', 'FROM pysys-orch-test/busybox:1\nCOPY file.* /files/\n')
		image = self.docker.image(context=self.output)
		self.docker.container(image, 'output').run(['ls', '/files'], foreground=True)

	def count(self):
		"""Return how many builds have left their output."""
		return len(list(pathlib.Path(self.output).glob('docker_build*.err')))

	def validate(self):
		self.assertGrep('docker_run_first.out', '^/test/pysystest.py$')
		self.assertGrep('docker_run_first.out', 'run.log', contains=False)
		self.assertLineCount('docker_run_output.out', '^file', condition='==3')
