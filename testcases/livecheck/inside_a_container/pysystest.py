__pysys_title__ = r""" Live check - where the test itself is in a container, it listens on its own address in the network """
__pysys_purpose__ = r""" What finds the address is run in one container of a network; another one reaches what listens there. In a
	network that the container is not in, it says what to do instead. """

import json
import pathlib

from pysys.constants import *

import pysys_orch
from pysys_orch.docker import DockerTestHelper
from pysys_orch.livecheck import LiveCheckTest
from pysys_orch.livecheck.reach import inspect_network

FIND = """
import json, sys
sys.path.insert(0, "/repository")
from pysys_orch.errors import ConfigError
from pysys_orch.livecheck.reach import address_for
try:
    address = address_for(sys.argv[1], lambda _: json.loads(sys.argv[2]))
except ConfigError as failure:
    print(failure, flush=True)
    sys.exit()
print(address, flush=True)
import http.server
http.server.HTTPServer((address, 8000), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


class PySysTest(DockerTestHelper, LiveCheckTest):
	def execute(self):
		network, other = self.docker.network('shop'), self.docker.network('other')
		self.addresses = {}
		for name, asked in (('inside', network), ('outside', other)):
			found = json.dumps(inspect_network(asked.getName()))
			# It needs nothing but the standard library there.
			finder = self.docker.container('pysys-orch-test/debian:1', name, network=network)
			finder.volumeFromHost(str(pathlib.Path(pysys_orch.__file__).parents[1]), '/repository')
			finder.run(['python3', '-B', '-c', FIND, asked.getName(), found]).log(name)
			self.waitForGrep(f'{name}.out', '.')
			self.addresses[name] = finder.inspect()['NetworkSettings']['Networks'][network.getName()]['IPAddress']
		asker = self.docker.container('pysys-orch-test/busybox:1', 'asker', network=network)
		asker.run(['wget', '-q', '-O', '-', f'http://{self.addresses["inside"]}:8000/']).log('asker')
		asker.waitForExit()

	def validate(self):
		said = {name: pathlib.Path(self.output, f'{name}.out').read_text().strip() for name in self.addresses}
		self.assertThat('said == address', said=said['inside'], address=self.addresses['inside'])
		self.assertThat('re.search("have that container join the network", said)', said=said['outside'])
		self.assertGrep('asker.out', 'Directory listing')
