__pysys_title__ = r""" Docker - the log of a service is in two files, whole and live, whatever swarm does to its tasks """
__pysys_purpose__ = r""" """

import collections
import pathlib

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerImage, DockerService

SCRIPT = """
echo first line
echo first problem >&2
until [ -e /go/$1 ]; do usleep 1000; done
seq 1 3000
seq 1 3000 >&2
printf 'no end'
printf 'nor here' >&2
"""
TALK = """
for number in $(seq 1 $1); do
	printf "$HOSTNAME "
	usleep 200
	echo $number is a line
done
echo $HOSTNAME end
exec sleep 600
"""


class PySysTest(BaseTest):
	def execute(self):
		image = DockerImage.fromExisting(self, 'pysys-orch-test/busybox:1')
		self.go = pathlib.Path(self.output, 'go')
		self.go.mkdir()
		rest = ''.join(f'{number}\n' for number in range(1, 3001))

		# One task: as of a container.
		job = DockerService.fromImage(image, 'job').volumeFromHost(str(self.go), '/go')
		arguments = ['--mode', 'replicated-job', '--restart-condition', 'none']
		returned = job.run(['sh', '-c', SCRIPT, 'sh', 'on'], extraArgs=arguments).log('live')
		self.assertThat('returned is job', returned=returned, job=job)
		self.waitForGrep('live.out', '^first line$', timeout=30, poll=0.01)
		self.waitForGrep('live.err', '^first problem$', timeout=30, poll=0.01)
		(self.go / 'on').touch()
		job.waitForExit()
		job.log('after').waitForLog('no end')
		job.waitForExit()
		for name in ('live', 'after'):
			self.text(f'{name}.out', f'first line\n{rest}no end')
			self.text(f'{name}.err', f'first problem\n{rest}nor here')
		self.files('live', 2)

		# Several: whole lines, and each alone besides.
		many = DockerService.fromImage(image, 'many').run(['sh', '-c', TALK, 'sh', '300'], replicas=3).log('many')
		self.waitForGrep('many.out', ' end$', condition='==3', timeout=60, poll=0.01)
		lines = pathlib.Path(self.output, 'many.out').read_text().splitlines()
		by = collections.defaultdict(list)
		for line in lines:
			host, _, words = line.partition(' ')
			by[host].append(words)
		expected = [*(f'{number} is a line' for number in range(1, 301)), 'end']
		self.assertThat('hosts == 3', hosts=len(by))
		self.assertThat('whole', whole=all(words == expected for words in by.values()))
		self.files('many', 8)
		own = [path.read_text().splitlines() for path in pathlib.Path(self.output).glob('many.*.*.out')]
		own = sorted([line.partition(' ')[2] for line in each] == expected for each in own)
		self.assertThat('own == [True] * 3', own=own)
		slots = sorted(path.name.split('.')[1] for path in pathlib.Path(self.output).glob('many.*.*.out'))
		self.assertThat('slots == ["1", "2", "3"]', slots=slots)

		# A task that is killed is replaced by another one: nothing is lost of either.
		again = DockerService.fromImage(image, 'again').volumeFromHost(str(self.go), '/go')
		again.run(['sh', '-c', 'echo begin; seq 1 3000; printf end; exec sleep 600'], extraArgs=['--restart-delay', '0s']).log('again')
		again.waitForLog('^3000$')
		first = again.getContainer()
		first.kill()
		self.waitForGrep('again.out', '^3000$', condition='==2', timeout=60, poll=0.01)
		again.waitForReplicas(1)
		self.files('again', 6)
		second = again.getContainer()
		self.assertThat('first != second', first=first.getName(), second=second.getName())
		second.kill()
		self.waitForGrep('again.out', '^3000$', condition='==3', timeout=60, poll=0.01)
		life = f'begin\n{rest}end'
		self.text('again.out', f'{life}\n{life}\n{life.removesuffix("end")}')
		self.files('again', 8)

	def files(self, name, count):
		found = sorted(path.name for path in pathlib.Path(self.output).glob(f'{name}.*'))
		self.assertThat('len(found) == count', found=found, count=count)

	def text(self, file, expected):
		actual = pathlib.Path(self.output, file).read_bytes().decode()
		self.assertThat('same', same=actual == expected, length=len(actual), expected=len(expected), file=file, begin=actual[:60])
