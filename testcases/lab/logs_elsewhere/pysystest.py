__pysys_title__ = r""" Docker on several nodes - what tasks log elsewhere is complete, in order, and searched as it comes """
__pysys_purpose__ = r""" """
__pysys_groups__ = "lab"

import pathlib

from pysys.constants import *

from testcases.lab.nodes import BUSYBOX, LabTest

LINES = 20_000
COUNT = f'i=0; while [ $i -lt {LINES} ]; do echo $i; i=$((i + 1)); done'
TALK = 'n=0; while true; do n=$((n + 1)); echo "out $n"; echo "err $n" >&2; sleep 0.1; done'


class PySysTest(LabTest):
	def execute(self):
		there = ['--constraint=node.labels.lab==2']
		# A job that has ended: all of it is there, to the last line, which has no end.
		job = self.docker.service(BUSYBOX, 'job')
		job.run(['sh', '-c', f'{COUNT}; echo problem >&2; printf end'], extraArgs=there, foreground=True)
		lines = pathlib.Path(self.output, 'docker_service_job.out').read_text().split('\n')
		self.assertThat('lines == expected', lines=Long(lines), expected=Long([*map(str, range(LINES)), 'end']))
		self.assertGrep('docker_service_job.err', '^problem$')

		# One that goes on, from its first line, through the end of a task and the beginning of the next.
		talk = self.docker.service(BUSYBOX, 'talk')
		talk.run(['sh', '-c', TALK], extraArgs=[*there, '--restart-delay=0s', '--stop-grace-period=0s']).log('talk')
		talk.waitForLog('^err 10$')
		talk.update(env={'ROUND': 2})
		self.eventually(lambda: pathlib.Path(self.output, 'talk.out').read_text().count('out 5\n') == 2, 'the second task has said five words', 20)
		for stream in ('out', 'err'):
			files = sorted(pathlib.Path(self.output).glob(f'talk.1.*.{stream}'))
			self.assertThat('files == 2', files=len(files), stream=stream)
			for file in files:
				said = file.read_text().split('\n')[:-1]
				self.assertThat('said == expected', said=said, expected=[f'{stream} {number}' for number in range(1, len(said) + 1)], stream=stream)

		# On all nodes at once, the manager's included.
		many = self.docker.service(BUSYBOX, 'many')
		many.run(['sh', '-c', f'{COUNT}; sleep 600'], extraArgs=['--mode=global', '--stop-grace-period=0s']).log('many')
		last = f'^{LINES - 1}$'
		self.waitForGrep('many.out', last, condition='==3', timeout=60)
		for file in sorted(pathlib.Path(self.output).glob('many.*.*.out')):
			lines = file.read_text().split('\n')
			self.assertThat('lines == expected', lines=Long(lines), expected=Long([*map(str, range(LINES)), '']), file=file.name)


class Long(list):
	"""A list that is shown by its length only."""

	def __repr__(self):
		return f'{len(self)} lines'
