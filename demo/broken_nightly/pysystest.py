__pysys_title__ = r""" Demonstration - a nightly suite that breaks opens one incident, and resolves it when it is well again """
__pysys_purpose__ = r""" The suite is run three times: red, red and green. What SquadCast would be told is in squadcast.out. """

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
		<property name="url" value="{url}"/>
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


class PySysTest(pysys.basetest.BaseTest):
	def execute(self):
		self.environs = self.createEnvirons({'ESCALATION_KEY': 'a-key-of-our-own'}, command=sys.executable)
		self.startPython(['-c', ORCH, 'mock-squadcast', '--port', '0'], environs=self.environs, stdouterr='squadcast', background=True)
		url = self.waitForGrep('squadcast.out', r'SquadCast is (\S+);')[0].group(1)

		nightly = pathlib.Path(self.output, 'nightly')
		(nightly / 'checkout').mkdir(parents=True)
		(nightly / 'pysysproject.xml').write_text(PROJECT.format(url=url))
		(nightly / 'checkout' / 'pysystest.py').write_text(CHECKOUT)

		(nightly / 'broken').touch()
		for night in ('first', 'second'):
			self.night(nightly, night, expected=2)
		(nightly / 'broken').unlink()
		self.night(nightly, 'third', expected=0)

	def night(self, nightly, name, expected):
		run = self.startPython(['-m', 'pysys', 'run'], environs=self.environs, workingDir=str(nightly), stdouterr=f'{name}_night', expectedExitStatus=f'=={expected}')
		self.log.info('The %s night ended with exit status %s', name, run.exitStatus)

	def validate(self):
		self.assertGrep('squadcast.out', 'nightly-main: 1 test fails')
		self.assertLineCount('squadcast.out', '"status": "trigger"', condition='==1')
		self.assertLineCount('squadcast.out', '"status": "resolve"', condition='==1')
		self.assertGrep('squadcast.out', 'a-key-of-our-own', contains=False)
