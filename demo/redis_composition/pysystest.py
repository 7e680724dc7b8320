__pysys_title__ = r""" Compose - two copies of a system with fixed names and ports count for themselves """
__pysys_purpose__ = r""" """

import urllib.request

import pysys.basetest
from pysys.constants import *

import pysys_orch.docker


class PySysTest(pysys_orch.docker.DockerTestHelper, pysys.basetest.BaseTest):
	def execute(self):
		images = {'debian-with-redis': self.docker.image('pysys-orch-test/debian:1')}
		first = self.docker.composition('docker-compose.yml', imageSubst=images).up()
		second = self.docker.composition('docker-compose.yml', imageSubst=images).up()
		for composition in (first, second):
			composition.getContainer('guestbook').waitForPort(8080)

		self.answers = [self.visit(first), self.visit(first), self.visit(second)]

	def visit(self, composition):
		# The file says 8080; the engine has chosen another port for each copy.
		port = composition.getExternalPort(8080)
		with urllib.request.urlopen(f'http://127.0.0.1:{port}/', timeout=10) as answer:
			return answer.read().decode().strip()

	def validate(self):
		self.assertThat('answers == expected', answers=self.answers, expected=[
			'You are visitor 1', 'You are visitor 2', 'You are visitor 1'])
