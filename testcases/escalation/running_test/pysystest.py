__pysys_title__ = r""" Escalation - a running test wakes somebody at once, and lets go again """
__pysys_purpose__ = r""" The test does not go on before SquadCast has heard of it: it would never end if that happened at the end of the run. """

import pathlib

from testcases.escalation.nested import NightlyTest

SOAK = """folder = self.project.testRootDir
		self.runner.squadcast.escalate('throughput', 'below 1000/s for ten minutes', '**details**')
		self.waitForFile('trigger_was_heard', filedir=folder, timeout=120, abortOnError=True)
		self.runner.squadcast.escalate('throughput', 'still below 1000/s')
		self.runner.squadcast.recover('throughput', 'above 1000/s')
		self.waitForFile('resolve_was_heard', filedir=folder, timeout=120, abortOnError=True)"""


class PySysTest(NightlyTest):
	def execute(self):
		self.writeProject(url=self.startSquadCast())
		self.writeTest('soak', body=SOAK)
		run = self.night('first', background=True)
		for status in ('trigger', 'resolve'):
			self.waitForGrep('squadcast.out', f'"{status}"', process=run)
			self.assertThat('run.running()', run=run)
			(self.nightly / f'{status}_was_heard').touch()
		self.waitProcess(run, checkExitStatus=True)

	def validate(self):
		self.assertThat('story == ["trigger throughput", "resolve throughput"]', story=self.story())
		opened = self.told()[0]
		self.assertThat('message == "[main linux] nightly-main: throughput: below 1000/s for ten minutes"', message=opened['message'])
		self.assertThat('description == "**details**"', description=opened['description'])
