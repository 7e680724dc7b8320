__pysys_title__ = r""" Escalation - what a service did not hear for two nights it hears in the third, once and in order """
__pysys_purpose__ = r""" """

import json
import pathlib
import sys

import pysys.basetest
from pysys.constants import *

PROJECT = """
<pysysproject>
	<requires-pysys>2.2</requires-pysys>
	<writer classname="pysys_orch.escalation.SquadCastWriter" alias="squadcast">
		<property name="escalate" value="true"/>
		<property name="suite" value="nightly-main"/>
		<property name="stream" value="main linux"/>
		<property name="url" value="http://127.0.0.1:{port}"/>
		<property name="flushTimeoutSecs" value="2"/>
	</writer>
</pysysproject>
"""
CHECKOUT = '''
__pysys_title__ = " A shop - what is ordered is shipped "
import os
from pysys.constants import *
from pysys.basetest import BaseTest

class PySysTest(BaseTest):
	def execute(self):
		if os.path.exists(os.path.join(self.project.testRootDir, 'broken')):
			self.addOutcome(FAILED, 'the order was never shipped')

	def validate(self):
		self.addOutcome(PASSED)
'''
ORCH = 'import sys; from pysys_orch.cli import main; sys.exit(main())'
KEY = 'a-key-of-our-own'


class PySysTest(pysys.basetest.BaseTest):
	def execute(self):
		self.environs = self.createEnvirons({'ESCALATION_KEY': KEY}, command=sys.executable)
		port = str(self.getNextAvailableTCPPort())
		self.nightly = pathlib.Path(self.output, 'nightly')
		(self.nightly / 'checkout').mkdir(parents=True)
		(self.nightly / 'pysysproject.xml').write_text(PROJECT.format(port=port))
		(self.nightly / 'checkout' / 'pysystest.py').write_text(CHECKOUT)

		# Two nights without the service: one in which it breaks, one in which it is well again.
		(self.nightly / 'broken').touch()
		self.night('first', expected=2)
		(self.nightly / 'broken').unlink()
		self.night('second', expected=0)
		waiting = json.loads(self.orch('list', '--json'))
		self.assertThat('actions == ["trigger", "resolve"]', actions=[each['action'] for each in waiting])

		self.startPython(['-c', ORCH, 'mock-squadcast', '--port', port], environs=self.environs, stdouterr='squadcast', background=True)
		self.waitForGrep('squadcast.out', 'SquadCast is ')
		(self.nightly / 'broken').touch()
		self.night('third', expected=2)
		self.assertThat('left == []', left=json.loads(self.orch('list', '--json')))

	def night(self, name, expected):
		self.startPython(['-m', 'pysys', 'run'], environs=self.environs, workingDir=str(self.nightly), stdouterr=f'{name}_night', expectedExitStatus=f'=={expected}')

	def orch(self, *arguments):
		names = self.allocateUniqueStdOutErr('escalations')
		self.startPython(['-c', ORCH, 'escalations', *arguments], environs=self.environs, workingDir=str(self.nightly), stdouterr=names)
		return pathlib.Path(names[0]).read_text()

	def validate(self):
		told = [json.loads(line) for line in pathlib.Path(self.output, 'squadcast.out').read_text().splitlines() if line.startswith('  {')]
		self.assertThat('statuses == ["trigger", "resolve", "trigger"]', statuses=[each['status'] for each in told])
		self.assertThat('len(ids) == 1', ids={each['event_id'] for each in told})
		self.assertGrep('first_night.out', 'the rest is sent by the next run')
		telling = [path.name for path in self.nightly.rglob('*') if path.is_file() and KEY.encode() in path.read_bytes()]
		self.assertThat('telling == []', telling=telling)
