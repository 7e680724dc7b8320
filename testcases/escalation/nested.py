"""What the tests beside it share: a suite that runs night after night, and the SquadCast that it tells."""

import json
import pathlib
import sys

import pysys.basetest

KEY = 'a-key-of-our-own'

PROJECT = """
<pysysproject>
	<requires-pysys>2.2</requires-pysys>
	<writer classname="pysys_orch.escalation.SquadCastWriter" alias="squadcast">
		<property name="escalate" value="true"/>
		<property name="suite" value="nightly-main"/>
		<property name="stream" value="main linux"/>
		{properties}
	</writer>
</pysysproject>
"""
TEST = '''
__pysys_title__ = " A shop - what is ordered is shipped "
__pysys_groups__ = "{groups}"
import os
from pysys.constants import *
from pysys.basetest import BaseTest

class PySysTest(BaseTest):
	def execute(self):
		{body}

	def validate(self):
		self.addOutcome(PASSED)
'''
FAIL_IF_BROKEN = """with open(os.path.join(self.project.testRootDir, 'broken')) as broken:
			if self.descriptor.id in broken.read().split():
				self.addOutcome(FAILED, 'the order was never shipped')"""
ORCH = 'import sys; from pysys_orch.cli import main; sys.exit(main())'


class NightlyTest(pysys.basetest.BaseTest):
	def setup(self):
		super().setup()
		self.environs = self.createEnvirons({'ESCALATION_KEY': KEY}, command=sys.executable)
		self.nightly = pathlib.Path(self.output, 'nightly')
		self.nightly.mkdir()

	def startSquadCast(self, port=0):
		"""Starts a SquadCast, and returns its URL."""
		self.startPython(['-c', ORCH, 'mock-squadcast', '--port', str(port)], environs=self.environs, stdouterr='squadcast', background=True)
		return self.waitForGrep('squadcast.out', r'SquadCast is (\S+);')[0].group(1)

	def writeProject(self, **properties):
		lines = [f'<property name="{name}" value="{value}"/>' for name, value in properties.items()]
		(self.nightly / 'pysysproject.xml').write_text(PROJECT.format(properties='\n\t\t'.join(lines)))

	def writeTest(self, name, groups='', body=FAIL_IF_BROKEN):
		(self.nightly / name).mkdir()
		(self.nightly / name / 'pysystest.py').write_text(TEST.format(groups=groups, body=body))

	def night(self, name, broken=(), **kwargs):
		"""Runs the suite, in which some tests are broken."""
		(self.nightly / 'broken').write_text(' '.join(broken))
		return self.startPython(['-m', 'pysys', 'run'], environs=self.environs, workingDir=str(self.nightly), stdouterr=f'{name}_night', expectedExitStatus='==2' if broken else '==0', **kwargs)

	def escalations(self, *arguments, expected=0):
		"""Returns what `pysys-orch escalations` prints."""
		names = self.allocateUniqueStdOutErr('escalations')
		self.startPython(['-c', ORCH, 'escalations', *arguments], environs=self.environs, workingDir=str(self.nightly), stdouterr=names, expectedExitStatus=f'=={expected}')
		return pathlib.Path(names[0]).read_text()

	def told(self):
		"""Returns what SquadCast was told until now, in order."""
		lines = pathlib.Path(self.output, 'squadcast.out').read_text().splitlines()
		return [json.loads(line) for line in lines if line.startswith('  {')]

	def story(self):
		"""Returns the same in a few words: what was to happen to the incident of which group."""
		told = self.told()
		groups = {each['event_id']: each['tags']['group'] for each in told if each['status'] == 'trigger'}
		return [f"{each['status']} {groups[each['event_id']]}" for each in told if each['event_id'] in groups]

	def open(self):
		"""Returns the groups that have an incident which is not over."""
		last = {each['event_id']: each for each in self.told()}
		return [each['tags']['group'] for each in last.values() if each['status'] == 'trigger']
