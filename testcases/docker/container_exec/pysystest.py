__pysys_title__ = r""" Docker - commands run inside a container, in the foreground and in the background """
__pysys_purpose__ = r""" """

import os
import pathlib

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerContainer, DockerImage


class PySysTest(BaseTest):
	def execute(self):
		image = DockerImage.fromExisting(self, 'pysys-orch-test/busybox:1')
		self.container = DockerContainer.fromImage(image, 'host').run(['sleep', '600'])
		self.first = self.container.exec(['sh', '-c', 'echo "to out, $0"; echo to err >&2', 'a b'])
		self.second = self.container.exec('printf "<%s>" "in a text" split')
		self.user = self.container.exec('id -u')
		self.other = self.container.exec('id -u', ['--user', '65534'])
		self.failed = self.container.exec(['sh', '-c', 'echo no good >&2; exit 5'], ignoreExitStatus=True)
		self.long = self.container.exec(['seq', '1', '20000'])

		wait = 'echo begun; until [ -e /tmp/go ]; do usleep 1000; done; echo over; exit 3'
		self.background = self.container.exec(['sh', '-c', wait], background=True, ignoreExitStatus=True)
		self.waitForGrep(self.background.stdout, 'begun', timeout=30, poll=0.01)
		self.assertThat('running', running=self.background.process.running())
		self.assertGrep(self.background.stdout, 'over', contains=False)
		self.container.exec(['touch', '/tmp/go'])
		self.waitProcess(self.background.process, timeout=30)

	def validate(self):
		process, stdout, stderr = self.first
		self.assertThat('status == 0', status=process.exitStatus)
		self.assertThat('actual == expected', actual=os.path.basename(stdout), expected='docker_exec_host.out')
		self.assertThat('actual == expected', actual=os.path.basename(self.second.stdout), expected='docker_exec_host.1.out')
		self.says(stdout, 'to out, a b\n')
		self.says(stderr, 'to err\n')
		self.says(self.second.stdout, '<in a text><split>')
		self.says(self.user.stdout, f'{os.getuid()}\n')
		self.says(self.other.stdout, '65534\n')
		self.assertThat('status == 5', status=self.failed.process.exitStatus)
		self.says(self.failed.stderr, 'no good\n')
		self.assertLineCount(self.long.stdout, '.', condition='==20000')
		self.assertThat('status == 3', status=self.background.process.exitStatus)
		self.says(self.background.stdout, 'begun\nover\n')

	def says(self, file, expected):
		self.assertThat('actual == expected', actual=pathlib.Path(file).read_text(), expected=expected)
