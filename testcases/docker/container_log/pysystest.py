__pysys_title__ = r""" Docker - the log of a container is in two files, live, and complete once it has ended """
__pysys_purpose__ = r""" """

import pathlib

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerContainer, DockerImage

SCRIPT = """
echo first line
echo first problem >&2
until [ -e /go/$1 ]; do usleep 1000; done
seq 1 5000
seq 1 5000 >&2
printf 'no end'
printf 'nor here' >&2
"""


class PySysTest(BaseTest):
	def execute(self):
		image = DockerImage.fromExisting(self, 'pysys-orch-test/busybox:1')
		self.go = pathlib.Path(self.output, 'go')
		self.go.mkdir()
		container = DockerContainer.fromImage(image, 'talker').volumeFromHost(str(self.go), '/go')
		returned = container.run(['sh', '-c', SCRIPT, 'sh', 'on']).log('live')
		self.assertThat('returned is container', returned=returned, container=container)

		# What it says arrives while it runs.
		self.waitForGrep('live.out', '^first line$', timeout=30, poll=0.01)
		self.waitForGrep('live.err', '^first problem$', timeout=30, poll=0.01)
		self.assertThat('state == "running"', state=container.getState())
		self.says('live', [], end=False)
		container.log('second')  # somebody else listens, from the first line on

		(self.go / 'on').touch()
		self.assertThat('code == 0', code=container.waitForExit())
		once = [*map(str, range(1, 5001))]
		self.says('live', once)
		self.says('second', once)
		container.log('after')  # of a container that has ended
		container.start()
		container.waitForExit()
		container.log('all')
		container.waitForExit()  # it has ended long ago, but the log is read only now
		for name in ('live', 'second', 'after', 'all'):
			self.says(name, once, lives=2)

		terminal = DockerContainer.fromImage(image, 'terminal')
		terminal.run(['sh', '-c', 'echo to out; echo to err >&2; printf "no end"'], extraArgs=['--tty']).log('terminal')
		terminal.waitForExit()
		self.text('terminal.out', 'to out\r\nto err\r\nno end')
		self.text('terminal.err', '')

		# One that is stopped has said what it had to say in time.
		stopped = DockerContainer.fromImage(image, 'stopped')
		stopped.run(['sh', '-c', 'trap "echo good bye; exit 3" TERM; echo hello; while :; do usleep 1000; done']).log('stopped')
		stopped.waitForLog('hello')
		stopped.stop()
		self.text('stopped.out', 'hello\ngood bye\n')
		killed = DockerContainer.fromImage(image, 'killed').run(['sh', '-c', 'seq 1 5000; exec sleep 600']).log('killed')
		killed.waitForLog('^5000$')
		killed.kill()
		self.assertLineCount('killed.out', '.', condition='==5000')

	def says(self, name, numbers, end=True, lives=1):
		rest = ''.join(f'{number}\n' for number in numbers)
		self.text(f'{name}.out', f'first line\n{rest}{"no end" if end else ""}' * lives)
		self.text(f'{name}.err', f'first problem\n{rest}{"nor here" if end else ""}' * lives)

	def text(self, file, expected):
		actual = pathlib.Path(self.output, file).read_bytes().decode()
		if len(expected) < 100:
			self.assertThat('actual == expected', actual=actual, expected=expected, file=file)
		else:
			self.assertThat('same', same=actual == expected, length=len(actual), expected=len(expected), file=file)
