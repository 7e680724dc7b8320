__pysys_title__ = r""" Docker - a fault of a test is an event of its orchestration: started and undone again and again, and recorded """
__pysys_purpose__ = r""" """

import json
import pathlib
import urllib.request

from pysys.constants import *

from pysys_orch.docker import DockerTestHelper
from pysys_orch.orchestration import OrchestrationTest


class PySysTest(DockerTestHelper, OrchestrationTest):
	def execute(self):
		self.web = self.docker.container('pysys-orch-test/busybox:1', 'web', ports=[8000])
		self.web.run(['httpd', '-f', '-p', '8000', '-h', '/etc']).waitForPort(8000)
		self.url = f'http://127.0.0.1:{self.web.getExternalPort(8000)}/passwd'
		self.freeze = self.docker.faults.pause(self.web)
		self.bounce = self.docker.faults.restart(self.web, timeout=0)
		self.report = self.orchestrate({
			'test_name': 'faults',
			'duration': 5.9,
			'events': [
				{'name': 'ask', 'interval_sec': 0.2, 'overlap': 'parallel'},
				{'name': 'freeze', 'interval_sec': 2, 'at_startup': False, 'duration_sec': 1, 'undo': 'freeze'},
			],
		})
		# One that the end of the test finds in force, and one that there is nothing to undo of.
		self.bounce.start()
		self.web.waitForPort(8000)
		self.freeze.start()

	def ask(self):
		with urllib.request.urlopen(self.url, timeout=5) as answer:
			return answer.read() and None

	def validate(self):
		lines = [json.loads(line) for line in pathlib.Path(self.output, 'faults.jsonl').read_text().splitlines()]
		self.assertThat('told == expected', told=[(each['event'], each['fault']) for each in lines],
			expected=[('start', 'pause'), ('undo', 'pause')] * 2 + [('start', 'restart'), ('start', 'pause')])
		self.assertThat('errors == []', errors=[each['error'] for each in lines if each['error']])

		journal = [json.loads(line) for line in pathlib.Path(self.output, 'orchestration.jsonl').read_text().splitlines()]
		freezes = [each for each in journal if each.get('event') == 'freeze' and 'outcome' in each]
		self.assertThat('pairs == expected', pairs=[(each['kind'], each['ordinal'], each['outcome']) for each in freezes],
			expected=[(kind, number, 'ok') for number in (1, 2) for kind in ('scheduled', 'undo')])
		# Who asked in that second has waited for the rest of it.
		asked = [each for each in journal if each.get('event') == 'ask']
		slow = max(each['ended'] - each['started'] for each in asked)
		self.assertThat('0.6 < slow < 3', slow=slow)
