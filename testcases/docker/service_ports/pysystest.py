__pysys_title__ = r""" Docker - ports of a service are exposed on its node, at ports that the engine chooses """
__pysys_purpose__ = r""" """

import urllib.request

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerImage, DockerService

SCRIPT = 'sleep 0.3; mkdir /tmp/www; hostname > /tmp/www/page; exec httpd -f -p 8000 -h /tmp/www'


class PySysTest(BaseTest):
	def execute(self):
		image = DockerImage.fromExisting(self, 'pysys-orch-test/busybox:1')
		web = DockerService.fromImage(image, 'web')
		returned = web.exposePort(8000).exposePort('9000/tcp')
		self.assertThat('returned is web', returned=returned, web=web)
		web.run(['sh', '-c', SCRIPT])
		self.assertThat('returned is web', returned=web.waitForPort(8000), web=web)
		self.assertThat('returned is web', returned=web.waitForHttp(8000, '/page'), web=web)
		port = web.getExternalPort(8000)
		self.assertThat('port > 1024 and port != other', port=port, other=web.getExternalPort('9000/tcp'))
		with urllib.request.urlopen(f'http://127.0.0.1:{port}/page', timeout=10) as answer:
			name = answer.read().decode().strip()
		self.assertThat('container.startswith(name)', container=web.getContainer().inspect()['Id'], name=name)
		self.assertThat('same', same=web.getContainer().getExternalPort(8000) == port)

		# With docker's arguments, and several tasks of which each gets a port.
		other = DockerService.fromImage(image, 'other').exposePort(8000)
		other.run(['sh', '-c', SCRIPT], extraArgs=['--publish', 'mode=host,target=9000'], replicas=2)
		other.waitForPort(8000)
		ports = {other.getContainer(slot).getExternalPort(8000) for slot in (1, 2)}
		self.assertThat('len(ports) == 2 and port in ports', ports=ports, port=other.getExternalPort(8000))
