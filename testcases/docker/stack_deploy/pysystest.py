__pysys_title__ = r""" Docker - a stack is deployed with its own ports, configs and secrets, changed, scaled and taken down """
__pysys_purpose__ = r""" """

import pathlib
import urllib.request

import pysys.basetest
from pysys.constants import *

from pysys_orch.docker import DockerSwarm, DockerTestHelper

IMAGES = {'shop/web': 'pysys-orch-test/busybox:1'}


class PySysTest(DockerTestHelper, pysys.basetest.BaseTest):
	def execute(self):
		first = DockerSwarm(self, 'stack.yml', IMAGES).deploy().log()
		second = self.docker.stack('stack.yml', imageSubst=IMAGES, otherSubsts={'replicas: 2': 'replicas: 1'}).deploy()
		self.assertThat('first != second', first=first.getExternalPort(8080), second=second.getExternalPort(8080))
		self.ask(first, 8080)
		self.ask(second, 8080)
		first.getService('store').waitForLog('hunter2')

		# Deployed again with something else published, all of its tasks are others.
		changed = pathlib.Path(self.output, 'changed.yml')
		changed.write_text(pathlib.Path(self.input, 'stack.yml').read_text().replace('"8080:80"', '"8080:80", "9090:81"').replace('./', f'{self.input}/'))
		other = DockerSwarm(self, str(changed), IMAGES).deploy()
		before = self.running(other)
		changed.write_text(changed.read_text().replace('"8080:80", ', ''))
		running = self.running(other.deploy())
		self.assertThat('running & before == set()', running=running, before=before)
		self.assertThat('len(running) == 2', running=running)

		first.scale('web', 3)
		self.assertThat('len(running) == 3', running=self.running(first))
		name = first.getName()
		first.down()
		self.assertThat('left == []', left=[each for each in self.names() if each.startswith(f'{name}_')])
		first.deploy()
		self.ask(first, 8080)

	def running(self, stack):
		return {each['ID'] for each in stack.getService('web').getTasks() if each['Status']['State'] == 'running'}

	def names(self):
		_, stdout, _ = DockerSwarm._executeDockerCommand(self, ['service', 'ls', '--format', '{{.Name}}'], displayName='services')
		return pathlib.Path(stdout).read_text().split()

	def ask(self, stack, port):
		with urllib.request.urlopen(f'http://127.0.0.1:{stack.getExternalPort(port)}/', timeout=10) as answer:
			self.assertThat('page == "the page\\n"', page=answer.read().decode())

	def validate(self):
		self.assertGrep('run.log', 'hunter2', contains=False)
		self.assertGrep('stack.tailored.diff', 'mode: host')
