__pysys_title__ = r""" Docker - a command in the foreground has finished, and all of its output is there, when run returns """
__pysys_purpose__ = r""" """

import pathlib

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerContainer, DockerImage

LINES = 20000


class PySysTest(BaseTest):
	def execute(self):
		image = DockerImage.fromExisting(self, 'pysys-orch-test/busybox:1')
		script = f'echo problem >&2; seq 1 {LINES}; printf "no end"'
		for number in range(2):
			container = DockerContainer.fromImage(image, 'talker')
			returned = container.run(['sh', '-c', script], foreground=True)
			self.assertThat('returned is container', returned=returned, container=container)
			self.assertThat('state == "exited"', state=container.getState())
			self.assertThat('code == 0', code=container.getExitCode())
			number = f'.{number}' if number else ''
			out = pathlib.Path(self.output, f'docker_run_talker{number}.out').read_text()
			expected = ''.join(f'{line}\n' for line in range(1, LINES + 1)) + 'no end'
			self.assertThat('complete', complete=out == expected, length=len(out), expected=len(expected))
			self.assertThat('err == "problem\\n"', err=pathlib.Path(self.output, f'docker_run_talker{number}.err').read_text())
		# By the docker client, too, the command is waited for, and the exit code is its own.
		container = DockerContainer.fromImage(image, 'client')
		container.run(['sh', '-c', 'sleep 0.5; echo over'], extraArgs=['--hostname=here'], foreground=True)
		self.assertGrep('docker_run_client.out', '^over$')
		self.assertThat('state == "exited"', state=container.getState())
