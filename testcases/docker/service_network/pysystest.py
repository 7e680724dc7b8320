__pysys_title__ = r""" Docker - services and containers of a test find each other in an overlay network """
__pysys_purpose__ = r""" """

import pysys.basetest
from pysys.constants import *

from pysys_orch.docker import DockerHelper, DockerTestHelper

BUSYBOX = 'pysys-orch-test/busybox:1'
SERVE = ['sh', '-c', 'hostname > /tmp/page; exec httpd -f -p 8000 -h /tmp']
ASK = """
import sys, time, urllib.request
for _ in range(100):
    try:
        print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())
        break
    except OSError as failure:
        print(failure, file=sys.stderr)
        time.sleep(0.1)
"""


class PySysTest(DockerTestHelper, pysys.basetest.BaseTest):
	def execute(self):
		self.addCleanupFunction(self.checkGone)
		self.network = self.docker.network(driver='overlay')
		web = self.docker.service(BUSYBOX, 'web', network=self.network)
		# Each task by its own address: that of a whole service takes IPVS, which not every kernel has.
		web.run(SERVE, extraArgs=['--endpoint-mode', 'dnsrr'])
		aliased = self.docker.service(BUSYBOX).joinNetwork(self.network.getName(), 'shop', 'store').run(SERVE, extraArgs=['--endpoint-mode=dnsrr'])
		client = self.docker.container('pysys-orch-test/debian:1', 'client', network=self.network).run(['sleep', '600'])
		for name, service in [('web', web), ('shop', aliased), ('store', aliased)]:
			page = client.exec(['python3', '-c', ASK, f'http://{name}:8000/page'], timeout=60)
			self.assertGrep(page.stdout, service.getContainer().inspect()['Config']['Hostname'])
			networks = [full for _, full, _ in service.getNetworks().values()]
			self.assertThat('networks == [name]', networks=networks, name=self.network.getName())

	def checkGone(self):
		# A swarm takes a network from its nodes a moment after it was removed.
		for _ in range(50):
			done = DockerHelper._executeDockerCommand(self, ['network', 'inspect', self.network.getName()], ignoreExitStatus=True)
			if done.process.exitStatus:
				return
			self.pollWait(0.1)
		self.addOutcome(FAILED, 'the network is still there')
