__pysys_title__ = r""" Docker - behind docker's proxy, and on an engine that is reached over TCP, a port is waited for all the same """
__pysys_purpose__ = r""" Docker's proxy accepts connections before anybody listens behind it. """

import os
import socket
import threading
import urllib.request

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerContainer, DockerImage


class PySysTest(BaseTest):
	def execute(self):
		# An engine that is reached over TCP is taken for another machine's: only what it publishes is used.
		remote = {'DOCKER_HOST': f'tcp://127.0.0.1:{self.serveEngine()}'}
		image = DockerImage.fromExisting(self, 'pysys-orch-test/busybox:1')
		web = DockerContainer.fromImage(image, 'web').exposePort(8000)
		web.run(['sh', '-c', 'echo hello > /tmp/page; sleep 0.5; exec httpd -f -p 8000 -h /tmp'], environs=remote).log('web')
		port = web.getExternalPort(8000)
		with socket.create_connection(('127.0.0.1', port), timeout=10):
			self.log.info('the proxy accepts, though nobody listens')
		web.waitForPort(8000, timeout=30)
		with urllib.request.urlopen(f'http://127.0.0.1:{port}/page', timeout=10) as answer:
			self.assertThat('text == "hello\\n"', text=answer.read().decode())
		web.waitForHttp(8000, '/page')

		# The commands of the client go there, too.
		self.done = web.exec(['cat', '/tmp/page'])
		web.copyFrom('/tmp/page', 'copied')
		self.assertGrep(self.done.stdout, '^hello$')
		self.assertGrep('copied', '^hello$')

	def serveEngine(self):
		"""Pass on what is sent to a port of ours to the engine's socket; return the port."""
		listener = socket.create_server(('127.0.0.1', 0))

		def accept():
			# For as long as the run: at its end, what is left on any engine is looked for.
			while True:
				client = listener.accept()[0]
				engine = socket.socket(socket.AF_UNIX)
				engine.connect(os.environ['DOCKER_HOST'].removeprefix('unix://'))
				for source, target in ((client, engine), (engine, client)):
					threading.Thread(target=passOn, args=(source, target), daemon=True).start()

		threading.Thread(target=accept, daemon=True).start()
		return listener.getsockname()[1]


def passOn(source, target):
	try:
		while data := source.recv(65536):
			target.sendall(data)
		target.shutdown(socket.SHUT_WR)
	except OSError:
		pass  # the other side has gone
