__pysys_title__ = r""" Demonstration - a web server is asked ten times a second, while it is frozen again and again """
__pysys_purpose__ = r""" What fires when is in web_under_faults.orch.json; what fired when is in orchestration.jsonl. """

import pathlib
import urllib.request

from pysys.constants import *

from pysys_orch.docker import DockerTestHelper
from pysys_orch.orchestration import OrchestrationTest


class PySysTest(DockerTestHelper, OrchestrationTest):
	def execute(self):
		self.web = self.docker.container('pysys-orch-test/busybox:1', 'web', ports=[8000])
		self.web.run(['sh', '-c', 'echo hello > /tmp/index.html; exec httpd -f -p 8000 -h /tmp']).waitForPort(8000)
		self.url = f'http://127.0.0.1:{self.web.getExternalPort(8000)}'
		self.answers = []
		self.orchestrate('web_under_faults.orch.json')

	def ask(self):
		with urllib.request.urlopen(self.url, timeout=5) as answer:
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
