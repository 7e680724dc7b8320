__pysys_title__ = r""" Redis - what is written to the primary reaches the replica """
__pysys_purpose__ = r""" """

import pysys.basetest
from pysys.constants import *

import pysys_orch.docker


class PySysTest(pysys_orch.docker.DockerTestHelper, pysys.basetest.BaseTest):
	def execute(self):
		image = self.docker.image(
			context='.',
			# The Dockerfile names an image that exists here under another name.
			imageSubst=('debian-with-redis', self.docker.image('pysys-orch-test/debian:1')),
		)
		network = self.docker.network()

		primary = self.docker.container(image, 'primary', ports=[6379], network=network)
		primary.run().log('primary').waitForPort(6379)

		replica = self.docker.container(image, 'replica', ports=[6379], network=network)
		replica.run(['redis-server', '/etc/redis/demo.conf', '--replicaof', 'primary', '6379'])
		replica.log('replica').waitForLog('MASTER <-> REPLICA sync: Finished with success')

		# Redis waits, for at most 10 seconds, until one replica has confirmed the write.
		commands = r'set greeting hello\nwait 1 10000\n'
		self.confirmed = primary.exec(['sh', '-c', f"printf '{commands}' | redis-cli"])
		self.read = replica.exec(['redis-cli', 'get', 'greeting'])

	def validate(self):
		self.assertGrep(self.confirmed.stdout, '^1$')
		self.assertGrep(self.read.stdout, '^hello$')
		self.assertGrep('primary.out', 'Synchronization with replica .* succeeded')
