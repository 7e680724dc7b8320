__pysys_title__ = r""" Docker - networks have the addresses that they are given, and containers come and go """
__pysys_purpose__ = r""" """

import ipaddress
import os

import pysys.basetest
from pysys.constants import *

import pysys_orch.docker
from pysys_orch.docker import DockerHelper, DockerNetwork

BUSYBOX = 'pysys-orch-test/busybox:1'
DEBIAN = 'pysys-orch-test/debian:1'  # Debian's static busybox cannot resolve names
RESOLVE = 'import socket, sys; print("found", *sorted({each[4][0] for name in sys.argv[1:] for each in socket.getaddrinfo(name, 80)}))'


class PySysTest(pysys_orch.docker.DockerTestHelper, pysys.basetest.BaseTest):
	def execute(self):
		self.addCleanupFunction(self.checkGone)
		self.foreign = self.docker.container(BUSYBOX, 'foreign').run(['sleep', '600'])
		chosen = self.docker.network('chosen')
		# Where nobody else is: what the engine chose for a network that is gone.
		subnet, gateway = chosen.getSubnet(), chosen.getGateway()
		self.assertThat('gateway in subnet', gateway=ipaddress.ip_address(gateway), subnet=ipaddress.ip_network(subnet))
		self.startedBy('network', 'rm', chosen.getName())
		self.network = DockerNetwork.create(
			self, 'fixed', subnet=subnet, gateway=gateway, ipv6=True, driverOpts={'com.docker.network.driver.mtu': 1400})
		self.assertThat('actual == expected', actual=(self.network.getSubnet(), self.network.getGateway()), expected=(subnet, gateway))
		self.assertThat('ipv6', ipv6=self.network.inspect()['EnableIPv6'])

		self.checkGateway()

		address = str(ipaddress.ip_network(subnet)[77])
		asker = self.docker.container(DEBIAN, 'asker', network=self.network).run(['sleep', '600'])
		returned = self.network.connect(self.foreign, 'store', 'shop', address=address)
		self.assertThat('returned is network', returned=returned, network=self.network)
		found = asker.exec(['python3', '-c', RESOLVE, 'store', 'shop'])
		self.assertGrep(found.stdout, rf'found {address} fd[0-9a-f:]+$')
		self.assertGrep(asker.exec(['cat', '/sys/class/net/eth0/mtu']).stdout, '^1400$')
		containers = self.network.getContainers()
		self.assertThat('containers[name] == address', containers=containers, name=self.foreign.getName(), address=address)
		self.assertThat('len(containers) == 2', containers=containers)

		self.network.disconnect(self.foreign.getName())
		self.assertThat('list(containers) == [name]', containers=self.network.getContainers(), name=asker.getName())
		asker.exec(['python3', '-c', RESOLVE, 'store'], ignoreExitStatus=True)
		self.assertGrep('docker_exec_asker.2.err', 'gaierror')

		same = DockerNetwork.fromExisting(self, self.network.getName())
		self.assertThat('resources == []', resources=same.resources())
		same.connect(self.foreign)
		asker.exec(['python3', '-c', RESOLVE, 'foreign'])

	def checkGateway(self):
		"""An engine that is given a subnet does not tell of the gateway: it is where containers leave."""
		part, rest = divmod(os.getpid(), 250)
		network = self.docker.network('open', subnet=f'10.{100 + part % 100}.{rest}.0/24')
		self.docker.container(BUSYBOX, 'leaver', network=network).run(['ip', 'route'], foreground=True)
		self.assertGrep('docker_run_leaver.out', f'^default via {network.getGateway()} ')

	def startedBy(self, *arguments):
		DockerHelper._executeDockerCommand(self, list(arguments))

	def checkGone(self):
		done = DockerHelper._executeDockerCommand(self, ['network', 'inspect', self.network.getName()], ignoreExitStatus=True)
		self.assertThat('status == 1', status=done.process.exitStatus)
