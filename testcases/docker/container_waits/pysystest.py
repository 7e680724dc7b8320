__pysys_title__ = r""" Docker - a test waits for a port, for health, for a line in the log and for an HTTP answer """
__pysys_purpose__ = r""" """

import pathlib
import urllib.request

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerContainer, DockerImage

# Listens and is healthy only some time after it was started, has the page when told.
SCRIPT = """
echo starting
sleep 0.5
mkdir /tmp/www
httpd -p 8000 -h /tmp/www
touch /tmp/healthy
echo "listening on port 8000 (as $(id -u))" >&2
while [ ! -e /tmp/go ]; do usleep 20000; done
echo hello > /tmp/www/page
echo finished
exec sleep 600
"""


class PySysTest(BaseTest):
	def execute(self):
		image = DockerImage.fromDockerfile(self, f'{self.input}/Dockerfile')
		container = DockerContainer.fromImage(image, 'web').exposePort(8000).run(['sh', '-c', SCRIPT])

		match = container.waitForLog('starting')
		self.assertThat('match[0] == "starting"', match=match)
		self.fluent(container, container.waitForPort(8000))
		# It accepts: a request is answered at once, though there is no page yet.
		self.fluent(container, container.waitForHttp(8000, '/page', status=404, timeout=0))
		container.exec(['touch', '/tmp/go'])
		self.fluent(container, container.waitForHealthy())
		self.assertThat('health == "healthy"', health=container.inspect()['State']['Health']['Status'])
		match = container.waitForLog(r'listening on port (?P<port>\d+) \(as (\d+)\)', errorExpr='panic')
		self.assertThat('port == "8000"', port=match['port'])
		self.assertThat('user.isdigit()', user=match[2])
		self.fluent(container, container.waitForHttp(8000, 'page?with=query'))
		with urllib.request.urlopen(f'http://127.0.0.1:{container.getExternalPort(8000)}/page') as answer:
			self.assertThat('text == "hello\\n"', text=answer.read().decode())
		container.waitForLog('^finished$')
		# What was there before is found as well, and each wait begins with the first line.
		container.waitForLog('^starting$', timeout=0)

		# A restart is another life, in which all of it is waited for anew.
		container.restart(timeout=0)
		container.waitForPort(8000).waitForHealthy().waitForHttp(8000, '/page')

	def fluent(self, container, returned):
		self.assertThat('returned is container', returned=returned, container=container)

	def validate(self):
		# The log was streamed although nobody had asked for files.
		self.assertOrderedGrep('web.out', ['^starting$', '^finished$'])
