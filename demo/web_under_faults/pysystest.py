__pysys_title__ = r""" Demonstration - a web server is asked ten times a second, while it is frozen again and again """
__pysys_purpose__ = r""" What fires when is in web_under_faults.orch.json; what fired when is in orchestration.jsonl. A live check knows
	of each visitor whether the server itself says that it was served: livecheck/Visit.jsonl. """

import pathlib
import urllib.request

from pysys.constants import *

from pysys_orch.docker import DockerTestHelper
from pysys_orch.livecheck import Case, LiveCheckTestHelper, Signal
from pysys_orch.orchestration import OrchestrationTest

# What the server does for each visitor, whose number it is asked for: it says so, and says hello.
VISIT = r'''#!/bin/sh
signal='{"case_name": "Visit", "signal_name": "served", "key": "'$QUERY_STRING'", "value": "hello"}'
wget -q -O /dev/null --post-data "$signal" "$LIVECHECK_URL/signal"
printf 'Content-Type: text/plain\r\n\r\nhello\n'
'''
SERVER = f"""
mkdir -p /tmp/cgi-bin
cat > /tmp/cgi-bin/visit <<'END'
{VISIT}END
chmod +x /tmp/cgi-bin/visit
exec httpd -f -p 8000 -h /tmp
"""


class Visit(Case):
	served: Signal[str]

	async def run(self):
		assert await self.served.wait(timeout=5) == 'hello'


class PySysTest(DockerTestHelper, LiveCheckTestHelper, OrchestrationTest):
	def execute(self):
		self.live = self.livecheck.startLiveCheck(cases=[Visit])
		env = {'LIVECHECK_URL': self.live.urlForContainers}
		self.web = self.docker.container('pysys-orch-test/busybox:1', 'web', ports=[8000], env=env)
		self.web.run(['sh', '-c', SERVER]).waitForPort(8000)
		self.url = f'http://127.0.0.1:{self.web.getExternalPort(8000)}/cgi-bin/visit'
		self.answers = []
		self.orchestrate('web_under_faults.orch.json')
		self.live.waitForIdle()

	def ask(self):
		visit = self.live.call(self.live.case(Visit).trigger())
		with urllib.request.urlopen(f'{self.url}?{visit.id}', timeout=5) as answer:
			self.answers.append(answer.read())

	def freeze(self):
		self.web.pause()

	def thaw(self):
		self.web.unpause()

	def report(self, test):
		pathlib.Path(test.output, 'report.txt').write_text(f'{len(self.answers)} answers\n')

	def validate(self):
		self.assertThat('answers == {b"hello\\n"}', answers=set(self.answers))
		self.assertGrep('report.txt', '^80 answers$')
		self.livecheck.assertLiveCheck(self.live, thresholds={'Visit.executed': '==80', 'Visit.runtime_max_ms': '<5000'})
