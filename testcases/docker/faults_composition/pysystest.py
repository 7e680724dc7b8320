__pysys_title__ = r""" Docker - containers of a composition are parted, slowed down and disconnected, and find each other again """
__pysys_purpose__ = r""" """

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerComposition, DockerFaults


class PySysTest(BaseTest):
	def execute(self):
		site = DockerComposition(self, 'site/docker-compose.yml').up()
		self.client, web, store = (site.getContainer(name) for name in ('client', 'web', 'store'))
		faults = DockerFaults(self)

		self.reaches(web, store)
		with faults.partition(self.client, [web]):
			self.reaches(store)
		with faults.partition([self.client], [web, store]) as outage:
			self.reaches()
			self.assertThat('inForce', inForce=outage.isInForce)
		self.reaches(web, store)
		with faults.disconnect(web):
			self.reaches(store)
		with faults.slow(web, '300ms') as slow, faults.kill(store):
			self.reaches(web)
			self.assertThat('inForce', inForce=slow.isInForce)
		store.waitForPort(80)
		self.reaches(web, store)

	def reaches(self, *expected):
		reached = []
		for name in ('web', 'store'):
			done = self.client.exec(['timeout', '3', 'ping', '-c', '1', '-W', '2', name], ignoreExitStatus=True)
			if done.process.exitStatus == 0:
				reached.append(name)
		self.assertThat('reached == expected', reached=reached, expected=[each.displayName for each in expected])

	def validate(self):
		self.assertLineCount('faults.jsonl', '"event": "start"', condition='==5')
		self.assertLineCount('faults.jsonl', '"event": "undo"', condition='==5')
		self.assertGrep('faults.jsonl', '"error": "[^"]', contains=False)
