__pysys_title__ = r""" Docker - the containers of a network find each other by name, and nobody else finds them """
__pysys_purpose__ = r""" """

import pathlib

import pysys.basetest
from pysys.constants import *

import pysys_orch.docker
from pysys_orch.docker import DockerHelper

BUSYBOX = 'pysys-orch-test/busybox:1'
DEBIAN = 'pysys-orch-test/debian:1'  # Debian's static busybox cannot resolve names

ASK = """
import sys, urllib.request
for name in sys.argv[1:]:
    try:
        answer = urllib.request.urlopen(f"http://{name}:8000/", timeout=5).read().decode().strip()
    except OSError:
        answer = "nobody"
    print(f"{name}: {answer}")
"""


class PySysTest(pysys_orch.docker.DockerTestHelper, pysys.basetest.BaseTest):
	def execute(self):
		self.addCleanupFunction(self.checkGone)
		self.network = self.docker.network('backend')
		self.inner = self.docker.network('inner', internal=True)
		for name, server in [('one', self.web('one', self.network)), ('inner', self.web('inner', self.inner, 'web', 'store'))]:
			server.waitForPort(8000)
			self.assertThat('name in inspected', name=server.getName(), inspected=server.inspect()['Name'])

		# By the display name, unless there are others; by way of the docker client, too.
		self.ask('neighbour', self.network, 'one')
		self.ask('client', self.network, 'one', extraArgs=['--hostname=asker'])
		self.ask('others', self.inner.getName(), 'web', 'store', 'inner', 'one')
		# Without a name server that would take its time to say that it does not know.
		self.ask('bridge', None, 'one', extraArgs=['--dns=127.0.0.1'])

		options = self.docker.container(BUSYBOX, 'options', network=self.inner, env={'A': 'b'}, ports=[1]).run(['sleep', '600']).inspect()
		self.assertThat('networks == [name]', networks=list(options['NetworkSettings']['Networks']), name=self.inner.getName())
		self.assertThat('"A=b" in env', env=options['Config']['Env'])
		self.assertThat('ports == ["1/tcp"]', ports=list(options['HostConfig']['PortBindings']))

	def web(self, name, network, *aliases):
		container = self.docker.container(BUSYBOX, name).joinNetwork(network, *aliases)
		return container.run(['sh', '-c', f'echo this is {name} > /tmp/index.html; exec httpd -f -p 8000 -h /tmp'])

	def ask(self, asker, network, *names, **options):
		container = self.docker.container(DEBIAN, asker, network=network)
		container.run(['python3', '-c', ASK, *names], foreground=True, **options)

	def validate(self):
		for name, expected in [
			('neighbour', ['one: this is one']), ('client', ['one: this is one']),
			('others', ['web: this is inner', 'store: this is inner', 'inner: nobody', 'one: nobody']),
			('bridge', ['one: nobody']),
		]:
			actual = pathlib.Path(self.output, f'docker_run_{name}.out').read_text().splitlines()
			self.assertThat('actual == expected', actual=actual, expected=expected, asker=name)

	def checkGone(self):
		for network in (self.network, self.inner):
			done = DockerHelper._executeDockerCommand(self, ['network', 'inspect', network.getName()], ignoreExitStatus=True)
			self.assertThat('status == 1', status=done.process.exitStatus)
