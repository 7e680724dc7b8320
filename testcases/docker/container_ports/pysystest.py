__pysys_title__ = r""" Docker - ports are exposed on the loopback, and found again when a restart has moved them """
__pysys_purpose__ = r""" """

import socket
import urllib.request

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerContainer, DockerImage

SCRIPT = """
mkdir /tmp/one /tmp/two
echo this is one > /tmp/one/index.html
echo this is two > /tmp/two/index.html
httpd -p 8000 -h /tmp/one
exec httpd -f -p 9000 -h /tmp/two
"""
ECHO = """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("", 5353))
while True:
    server.sendto(*server.recvfrom(100))
"""


class PySysTest(BaseTest):
	def execute(self):
		image = DockerImage.fromExisting(self, 'pysys-orch-test/busybox:1')
		debian = DockerImage.fromExisting(self, 'pysys-orch-test/debian:1')
		web = DockerContainer.fromImage(image, 'web')
		returned = web.exposePort(8000).exposePort('9000/tcp').exposePort(8000)
		self.assertThat('returned is web', returned=returned, web=web)
		web.run(['sh', '-c', SCRIPT])
		one, two = self.check(web)
		bindings = web.inspect()['NetworkSettings']['Ports']
		hosts = {each['HostIp'] for binding in bindings.values() for each in binding}
		self.assertThat('hosts == {"127.0.0.1"}', hosts=hosts)
		self.assertThat('exposed == 2', exposed=len(bindings))

		# Somebody else takes the port in the meantime, so that it has to move.
		web.stop(timeout=0)
		with socket.socket() as taken:
			taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
			taken.bind(('127.0.0.1', one))
			taken.listen()
			web.start()
			moved, _ = self.check(web)
		self.assertThat('moved != one', moved=moved, one=one)
		web.restart(timeout=0)
		self.check(web)

		dns = DockerContainer.fromImage(debian, 'dns').exposePort('5353/udp').run(['python3', '-c', ECHO])
		with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
			client.connect(('127.0.0.1', dns.getExternalPort('5353/udp')))
			self.assertThat('answer == b"hello"', answer=self.ask(client))

		# Docker's own arguments can publish ports, too.
		other = DockerContainer.fromImage(image, 'other').exposePort(9000)
		other.run(['sh', '-c', SCRIPT], extraArgs=['--publish', '127.0.0.1::8000'])
		self.check(other)

	def check(self, web):
		web.waitForPort(8000).waitForPort('9000')
		ports = web.getExternalPort(8000), web.getExternalPort('9000')
		self.assertThat('isinstance(port, int)', port=ports[0])
		for port, expected in zip(ports, ('this is one', 'this is two')):
			with urllib.request.urlopen(f'http://127.0.0.1:{port}/', timeout=10) as answer:
				self.assertThat('answer == expected', answer=answer.read().decode().strip(), expected=expected)
		return ports

	def ask(self, client):
		"""Say hello until somebody answers: nothing tells when a UDP port is served."""
		client.settimeout(0.1)
		for _ in range(100):
			try:
				client.send(b'hello')
				return client.recv(100)
			except (TimeoutError, ConnectionRefusedError):
				continue
		return None
