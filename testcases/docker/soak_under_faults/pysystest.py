__pysys_title__ = r""" Docker - twenty containers are watched and logged while one fault follows another """
__pysys_purpose__ = r""" A minute of it; `pysys run -XruntimeHours=0.5 soak_under_faults` is half an hour. The run grows no larger, the logs
	have every line, each fault is undone, and nothing is left. """

import collections
import csv
import itertools
import json
import pathlib
import re
import statistics
import urllib.request

from pysys.constants import *

from pysys_orch.docker import DockerHelper, DockerTestHelper
from pysys_orch.orchestration import OrchestrationTest

CONTAINERS = 20
FAULTS = ('freeze', 'delay', 'part', 'crash', 'unplug', 'squeeze')
MORE_MEMORY_KB = 32 * 1024   # other tests may go on in the same process

# Serves, and counts from 0 in each of its lives.
SERVER = """
mkdir -p /tmp/www && echo hello > /tmp/www/index.html
httpd -p 8000 -h /tmp/www
n=0
while :; do echo $n; n=$((n + 1)); sleep 0.2; done
"""


class PySysTest(DockerTestHelper, OrchestrationTest):
	def execute(self):
		self.addCleanupFunction(self.requireNothingLeft)   # called last
		network = self.docker.network()
		webs = self.webs = [
			self.docker.container('pysys-orch-test/busybox:1', f'web{number:02}', ports=[8000], network=network)
			for number in range(CONTAINERS)
		]
		self.docker.runAll(webs, cmd=['sh', '-c', SERVER])
		for web in webs:
			web.log(web.displayName).waitForPort(8000)
		faults = self.docker.faults
		self.freeze = faults.pause(webs[0])
		self.delay = faults.slow(webs[1], '100ms')
		self.part = faults.partition(webs[2:4], webs[4:6])
		self.crash = faults.kill(webs[6])
		self.unplug = faults.disconnect(webs[7], network)
		self.squeeze = faults.squeeze(webs[8], cpus=0.1)
		self.others = itertools.cycle(webs[9:])
		self.resident = []
		with self.docker.monitor(*webs) as monitor:
			self.orchestrate('soak_under_faults.orch.json')
		self.monitor = monitor.getFile()
		for web in webs:
			web.kill()

	def ask(self):
		host, port = next(self.others).getExternalAddress(8000)
		with urllib.request.urlopen(f'http://{host}:{port}/', timeout=10) as answer:
			assert answer.read() == b'hello\n'

	def weigh(self):
		status = pathlib.Path('/proc/self/status').read_text()
		self.resident.append(int(re.search(r'VmRSS:\s+(\d+) kB', status)[1]))

	def validate(self):
		self.everyLineIsThere()
		self.everyFaultIsUndone()
		self.everyContainerWasWatched()
		pathlib.Path(self.output, 'resident_kb.txt').write_text(''.join(f'{each}\n' for each in self.resident))
		third = len(self.resident) // 3
		grown = statistics.median(self.resident[-third:]) - statistics.median(self.resident[third:-third])
		self.log.info('Resident memory: %d KiB at first, %d at last', self.resident[0], self.resident[-1])
		self.assertThat('grown < most', grown=grown, most=MORE_MEMORY_KB)

	def everyLineIsThere(self):
		lives = {}
		for web in self.webs:
			said = pathlib.Path(self.output, f'{web.displayName}.out').read_text()
			done = DockerHelper._executeDockerCommand(self, ['logs', web.getName()], quiet=True)
			known = pathlib.Path(done.stdout).read_text()
			self.assertThat('is_whole', is_whole=said == known, container=web.displayName, lines=said.count('\n'))
			lives[web.displayName] = said.splitlines().count('0')
		self.assertThat('lives["web06"] > 1', lives=lives)

	def everyFaultIsUndone(self):
		begun, undone = collections.Counter(), collections.Counter()
		for line in pathlib.Path(self.output, 'orchestration.jsonl').read_text().splitlines():
			said = json.loads(line)
			if said.get('event') in FAULTS and said.get('outcome') == 'ok':
				(undone if said['kind'] == 'undo' else begun)[said['event'], said['ordinal']] += 1
		self.assertThat('{each for each, _ in begun} == set(faults)', begun=begun, faults=FAULTS)
		self.assertThat('begun == undone', begun=begun, undone=undone)
		record = [json.loads(line) for line in pathlib.Path(self.output, 'faults.jsonl').read_text().splitlines()]
		self.assertThat('errors == []', errors=[each for each in record if each['error']])
		events = collections.Counter(each['event'] for each in record)
		self.assertThat('events == expected', events=events, expected={'start': len(begun), 'undo': len(begun)})

	def everyContainerWasWatched(self):
		with open(self.monitor, newline='') as file:
			samples = collections.Counter(row['container'] for row in csv.DictReader(file))
		self.assertThat('set(samples) == set(names)', samples=samples, names=[web.displayName for web in self.webs])

	def requireNothingLeft(self):
		left = DockerHelper(self, 'left')
		listed = pathlib.Path(left.getAllContainers(quiet=True).stdout).read_text().splitlines()[1:]
		self.assertThat('left == ([], {}, {})', left=(listed, left.getVolumes(), left.getNetworks()))
