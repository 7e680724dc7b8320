__pysys_title__ = r""" Docker on several nodes - a swarm of one node gets others, and what tasks log there is read as well """
__pysys_purpose__ = r""" """
__pysys_groups__ = "lab"

import os
import subprocess

from pysys.constants import *

from testcases.lab.nodes import BUSYBOX, LabTest

TALK = ['sh', '-c', 'echo here; exec sleep 600']


class PySysTest(LabTest):
	def execute(self):
		self.addCleanupFunction(lambda: self.lab('start'))  # whatever happens, all of them join again
		for number in (2, 3):
			self.command(number, 'swarm', 'leave', '--force')
			self.command(1, 'node', 'rm', '--force', self.nodes[number].id)
		self.assertThat('nodes == 1', nodes=len(self.manager.list_nodes()))
		service = self.docker.service(BUSYBOX, 'web')
		service.run(TALK, extraArgs=['--mode=global', '--stop-grace-period=0s']).log('web').waitForLog('^here$')

		self.lab('start')
		self.waitForGrep('web.out', '^here$', condition='==3', timeout=60)

	def command(self, number, *arguments):
		subprocess.run(['docker', *arguments], env={**os.environ, 'DOCKER_HOST': self.nodes[number].address}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True, timeout=60)
