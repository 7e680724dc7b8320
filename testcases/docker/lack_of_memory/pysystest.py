__pysys_title__ = r""" Docker - a container that lacked memory is told from one that crashed, also if only a child of it died """
__pysys_purpose__ = r""" """

import pysys.basetest
from pysys.constants import *

import pysys_orch.docker

BUSYBOX = 'pysys-orch-test/busybox:1'
LIMITED = ['--memory=16m', '--memory-swap=16m']
CHILD = 'tail /dev/zero; echo survived; '


class PySysTest(pysys_orch.docker.DockerTestHelper, pysys.basetest.BaseTest):
	def execute(self):
		parent = self.run('parent', ['sh', '-c', f'{CHILD} exec sleep 600'])
		heir = self.run('heir', ['sh', '-c', f'{CHILD} exit 4'])
		main = self.run('main', ['tail', '/dev/zero'])
		doomed = self.run('doomed', ['sh', '-c', 'while [ ! -e /tmp/go ]; do sleep 0.1; done; exec tail /dev/zero'])
		crash = self.run('crash', ['sh', '-c', 'exit 5'])
		shot = self.run('shot', ['sleep', '600'])
		shot.kill()
		# It has its files read again, and later ends as if it had been killed.
		reloaded = self.run('reloaded', ['sh', '-c', 'trap "echo again" HUP; echo listens; while [ ! -e /tmp/go ]; do sleep 0.1; done; exit 137'])
		fine = self.run('fine', ['true'])
		monitor = self.docker.monitor(parent, doomed, reloaded, interval=0.1)

		reloaded.waitForLog('listens')
		reloaded.kill('HUP').waitForLog('again')
		while not monitor.getFigures()['reloaded']['samples']:
			self.pollWait(0.05)
		reloaded.exec(['touch', '/tmp/go'])
		parent.waitForLog('survived')
		for container, words in [
			(heir, 'exited with exit code 4, after lack of memory had killed a process in it (limit 16 MiB)'),
			(main, 'was killed for lack of memory (limit 16 MiB, exit code 137)'),
			(crash, 'exited with exit code 5'), (fine, 'exited with exit code 0'),
			(shot, 'exited with exit code 137'),
			(reloaded, 'was killed for lack of memory (limit 16 MiB, exit code 137)'),
		]:
			container.waitForExit()
			# An engine that is busy does not always hear of it.
			ending = container.getEnding().replace('killed, perhaps for', 'killed for')
			self.assertThat('ending == words', ending=ending, words=words)
		for container, lacked in [(parent, True), (heir, True), (main, True), (reloaded, True), (crash, False), (shot, False), (fine, False)]:
			self.assertThat('actual is lacked', actual=container.wasOomKilled(), lacked=lacked, name=container.displayName)
		self.assertThat('ending == ""', ending=parent.getEnding())
		while not monitor.getFigures()['doomed']['samples']:
			self.pollWait(0.05)
		doomed.exec(['touch', '/tmp/go'])
		doomed.waitForExit()
		monitor.stop()
		# It is a matter of one life.
		heir.start().waitForExit()
		parent.restart(timeout=0)

	def run(self, name, command):
		return self.docker.container(BUSYBOX, name).run(command, extraArgs=LIMITED)

	def validate(self):
		self.assertGrep('run.log', 'While it was monitored, doomed was killed(, perhaps)? for lack of memory')
		self.assertGrep('run.log', 'While it was monitored, reloaded was killed, perhaps for lack of memory')
