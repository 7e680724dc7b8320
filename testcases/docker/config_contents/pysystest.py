__pysys_title__ = r""" Docker - a service reads configs that are made from files and texts """
__pysys_purpose__ = r""" """

import pathlib

import pysys.basetest
from pysys.constants import *

from pysys_orch.docker import DockerConfig, DockerHelper, DockerImage, DockerTestHelper


class PySysTest(DockerTestHelper, pysys.basetest.BaseTest):
	def execute(self):
		self.configs = []
		self.addCleanupFunction(self.checkGone)
		text = DockerConfig.fromContent(self, DockerImage.generateUniqueName(), 'a text\n')
		file = DockerConfig.fromFile(self, f'file-{DockerImage.generateUniqueName()}.ini', 'config.ini')
		third = self.docker.config(b'some bytes\n')
		self.configs = [text, file, third]

		reader = self.docker.service('pysys-orch-test/busybox:1', 'reader', configs=[file], secrets=[self.docker.secret('hidden')])
		reader.useConfig(text, '/etc/reader/text').useConfig(third, target='/etc/bytes')
		script = f'cat /etc/reader/text /{file.getName()} /etc/bytes; ls /run/secrets | wc -l; exec sleep 600'
		reader.run(['sh', '-c', script]).log('reader').waitForLog('^1$')
		actual = pathlib.Path(self.output, 'reader.out').read_text()
		self.assertThat('actual == expected', actual=actual, expected='a text\nfrom = input\nsome bytes\n1\n')

		extra = ['--config', f'source={text.getName()},target=/text']
		other = self.docker.service('pysys-orch-test/busybox:1', 'other')
		other.run(['sh', '-c', 'cat /text; exec sleep 600'], extraArgs=extra).waitForLog('^a text$')

	def checkGone(self):
		for config in self.configs:
			done = DockerHelper._executeDockerCommand(self, ['config', 'inspect', config.getName()], ignoreExitStatus=True)
			self.assertThat('status == 1', status=done.process.exitStatus, config=config.getName())
