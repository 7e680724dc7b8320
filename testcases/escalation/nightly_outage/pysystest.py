__pysys_title__ = r""" Escalation - what a service did not hear for two nights it hears in the third, once and in order """
__pysys_purpose__ = r""" """

import json

from testcases.escalation.nested import KEY, NightlyTest


class PySysTest(NightlyTest):
	def execute(self):
		port = self.getNextAvailableTCPPort()
		self.writeProject(url=f'http://127.0.0.1:{port}', flushTimeoutSecs=2)
		self.writeTest('checkout')

		# Two nights without the service: one in which it breaks, one in which it is well again.
		self.night('first', broken=['checkout'])
		self.night('second')
		waiting = json.loads(self.escalations('list', '--json'))
		self.assertThat('actions == ["trigger", "resolve"]', actions=[each['action'] for each in waiting])

		self.startSquadCast(port)
		self.night('third', broken=['checkout'])
		self.assertThat('left == []', left=json.loads(self.escalations('list', '--json')))

	def validate(self):
		told = self.told()
		self.assertThat('statuses == ["trigger", "resolve", "trigger"]', statuses=[each['status'] for each in told])
		self.assertThat('len(ids) == 1', ids={each['event_id'] for each in told})
		self.assertGrep('first_night.out', 'the rest is sent by the next run')
		telling = [path.name for path in self.nightly.rglob('*') if path.is_file() and KEY.encode() in path.read_bytes()]
		self.assertThat('telling == []', telling=telling)
