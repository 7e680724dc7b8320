__pysys_title__ = r""" Escalation - each group has its incident, what is muted has none, and what is too much has one together """
__pysys_purpose__ = r""" Five groups break in one night, of which one is muted, and the mute of another one is over. """

from testcases.escalation.nested import NightlyTest

MUTES = """
- {tests: payment*, until: 9999-12-31, reason: the bank is being mocked}
- {tests: billing*, until: 2024-02-29, reason: was repaired long ago}
"""


class PySysTest(NightlyTest):
	def execute(self):
		self.writeProject(url=self.startSquadCast(), groupBy='group', maxIncidentsPerRun=2, mutes='mutes.yml')
		(self.nightly / 'mutes.yml').write_text(MUTES)
		for group in ('billing', 'login', 'payment', 'search', 'stock'):
			self.writeTest(f'{group}_1', groups=f'{group}, fast')
		self.writeTest('login_2', groups='login, slow')

		self.night('first', broken=['billing_1', 'login_1', 'login_2', 'payment_1', 'search_1', 'stock_1'])
		self.after_first = self.open()
		self.night('second', broken=['login_2', 'payment_1', 'search_1'])
		self.after_second = self.open()
		self.night('third', broken=['login_2', 'payment_1'])
		self.after_third = self.open()
		self.night('fourth')

	def validate(self):
		self.assertThat('open == ["billing", "login", "(more)"]', open=self.after_first)
		self.assertThat('open == ["login", "(more)"]', open=self.after_second)
		self.assertThat('open == ["login"]', open=self.after_third)
		self.assertThat('open == []', open=self.open())

		opened = {each['tags']['group']: each for each in self.told() if each['status'] == 'trigger'}
		self.assertThat('message == "[main linux] nightly-main: login: 2 tests fail, 6 ran"', message=opened['login']['message'])
		self.assertThat('message == "[main linux] nightly-main: more of the same: 2 tests fail, 6 ran"', message=opened['(more)']['message'])
		self.assertThat('"**search_1**" in text and "**stock_1**" in text', text=opened['(more)']['description'])
		self.assertThat('len(opened) == 3', opened=sorted(opened))
		self.assertGrep('first_night.out', r'The mute of billing\* is over since 2024-02-29')
