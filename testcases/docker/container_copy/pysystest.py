__pysys_title__ = r""" Docker - files and folders are copied into and out of containers, whether they run or not """
__pysys_purpose__ = r""" """

import os
import pathlib

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerContainer, DockerImage

CONTENT = bytes(range(256)) * 1000


class PySysTest(BaseTest):
	def execute(self):
		made = pathlib.Path(self.output, 'made')
		(made / 'deep' / 'er').mkdir(parents=True)
		(made / 'deep' / 'er' / 'file').write_bytes(CONTENT)
		image = DockerImage.fromExisting(self, 'pysys-orch-test/busybox:1')
		running = DockerContainer.fromImage(image, 'running').run(['sleep', '600'])
		exited = DockerContainer.fromImage(image, 'exited').run(['true'])
		exited.waitForExit()
		for container in (running, exited):
			name = container.displayName
			# What is relative is of the test's own folder.
			returned = container.copyTo('greeting.txt', '/tmp/').copyTo(str(made), '/root/made')
			self.assertThat('returned is container', returned=returned, container=container)
			container.copyFrom('/tmp/greeting.txt', f'{name}/into/a/folder/that/is/new.txt')
			returned = container.copyFrom('/root/made', str(pathlib.Path(self.output, f'{name}.made')))
			self.assertThat('returned is container', returned=returned, container=container)

			copied = pathlib.Path(self.output, name, 'into/a/folder/that/is/new.txt').read_text()
			self.assertThat('copied == original', copied=copied, original=pathlib.Path(self.input, 'greeting.txt').read_text())
			copied = pathlib.Path(self.output, f'{name}.made/deep/er/file').read_bytes()
			self.assertThat('same', same=copied == CONTENT, container=name)
		self.read = running.exec(['cat', '/tmp/greeting.txt'])
		self.assertThat('state == "exited"', state=exited.getState())

	def validate(self):
		self.assertDiff(self.read.stdout, os.path.join(self.input, 'greeting.txt'))
