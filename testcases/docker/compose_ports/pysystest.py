__pysys_title__ = r""" Docker - the listed ports of a composition move and are found again, the others keep their numbers """
__pysys_purpose__ = r""" """

import urllib.request

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerComposition

MOVED = [8080, 8082, 8083, 2222, 8053, 8090]


class PySysTest(BaseTest):
	def execute(self):
		kept, long = self.getNextAvailableTCPPort(), self.getNextAvailableTCPPort()
		texts = {'@kept@': str(kept), '@long@': str(long)}
		shop = DockerComposition(self, f'{self.input}/shop/docker-compose.yml', externalPorts=MOVED, otherSubsts=texts).up()
		web, other = shop.getContainer('web').waitForHttp(84), shop.getContainer('other').waitForHttp(80)

		inside = {8080: 80, 8082: 82, 8083: 83, 2222: 22}
		for published, port in inside.items():
			moved = shop.getExternalPort(published)
			self.assertThat('moved != published', moved=moved, published=published)
			self.assertThat('moved == same == again', moved=moved, same=web.getExternalPort(port), again=shop.getExternalPort(port, 'web'))
			self.check(moved, 'a page')
		self.assertThat('udp == same', udp=shop.getExternalPort(8053), same=web.getExternalPort('53/udp'))
		for published, port in [(kept, 81), (long, 84)]:
			self.assertThat('port == expected', port=web.getExternalPort(port), expected=published)
			self.assertThat('port == expected', port=shop.getExternalPort(published), expected=published)
			self.check(published, 'a page')
		self.check(shop.getExternalPort(8090), 'another page')
		self.check(other.getExternalPort(80), 'another page')
		self.assertThat('port > 0', port=shop.getExternalPort(9000, 'web'))

		# Nothing is reached from elsewhere that the file did not want to be.
		for container in (web, other):
			ports = container.inspect()['NetworkSettings']['Ports']
			hosts = {each['HostIp'] for bindings in ports.values() for each in bindings or ()}
			self.assertThat('hosts == {"127.0.0.1"}', hosts=hosts)

		# By default all of them move.
		copies = [DockerComposition(self, 'shop/docker-compose.yml', otherSubsts=texts).up() for _ in range(2)]
		for copy in copies:
			copy.getContainer('web').waitForHttp(84)
			ports = [copy.getExternalPort(each) for each in (*MOVED, kept, long)]
			self.assertThat('kept == []', kept=[each for each in ports if each in (*MOVED, kept, long)])
			self.check(copy.getExternalPort(kept), 'a page')

	def check(self, port, expected):
		with urllib.request.urlopen(f'http://127.0.0.1:{port}/', timeout=10) as answer:
			self.assertThat('text == expected', text=answer.read().decode().strip(), expected=expected)

	def validate(self):
		self.assertGrep('run.log', 'nothing in the file is called', contains=False)
