__pysys_title__ = r""" Escalation - a suite that does not run opens an incident, and resolves it once it has run to its end """
__pysys_purpose__ = r""" Also if it was red, of which somebody is told as always. """

from testcases.escalation.nested import NightlyTest


class PySysTest(NightlyTest):
	def execute(self):
		url = self.startSquadCast()
		expect = ('expect', '--suite', 'nightly-main', '--within', '26h', '--url', url)
		self.writeProject(url=url)
		self.writeTest('checkout')

		# As cron does, in the project's folder.
		for _ in range(2):
			self.assertThat('"nightly-main has never reported" in words', words=self.escalations(*expect, expected=1))
		self.night('first', broken=['checkout'])
		self.assertThat('"nightly-main last reported 20" in words', words=self.escalations(*expect))

		# It is late again: nothing runs that often.
		self.assertThat('"should within 0s" in words', words=self.escalations(*expect, '--within', '0s', expected=1))

	def validate(self):
		expected = ['trigger (expected)', 'trigger suite', 'resolve (expected)', 'trigger (expected)']
		self.assertThat('story == expected', story=self.story(), expected=expected)
