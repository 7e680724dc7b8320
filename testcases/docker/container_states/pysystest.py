__pysys_title__ = r""" Docker - a container is started, stopped, killed, paused and restarted, and tells its state """
__pysys_purpose__ = r""" """

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerContainer, DockerHelper, DockerImage

SCRIPT = """
trap 'echo asked to end; exit 7' TERM
trap 'echo got a signal' USR1
echo ready
while :; do usleep 1000; done
"""


class PySysTest(BaseTest):
	def execute(self):
		image = DockerImage.fromExisting(self, 'pysys-orch-test/busybox:1')
		self.container = DockerContainer.fromImage(image, 'polite')
		self.assertThat('name == ""', name=self.container.getName())
		self.state('')

		self.container.run(['sh', '-c', SCRIPT]).log('polite').waitForLog('ready')
		self.assertThat('image == expected', image=self.container.inspect()['Config']['Image'], expected=image.getName())
		self.state('running')
		self.fluent(self.container.pause)
		self.state('paused')
		self.fluent(self.container.unpause)
		self.state('running')
		self.fluent(self.container.kill, 'USR1')
		self.container.waitForLog('got a signal')
		self.fluent(self.container.kill, 'SIGTERM')
		self.assertThat('code == 7', code=self.container.waitForExit(timeout=30))
		self.state('exited', 7)

		self.fluent(self.container.start)
		self.state('running')
		# Once the line is there for the second time, it can be asked to end.
		self.waitForGrep('polite.out', 'ready', condition='==2', poll=0.01)
		self.fluent(self.container.stop)
		self.state('exited', 7)
		self.fluent(self.container.start, startCount=1)
		self.fluent(self.container.kill)
		self.state('exited', 137)

		begun = self.container.inspect()['State']['StartedAt']
		self.fluent(self.container.restart)
		self.state('running')
		self.assertThat('again > begun', again=self.container.inspect()['State']['StartedAt'], begun=begun)
		self.fluent(self.container.restart, timeout=0)

		# One that does not listen is killed in the end.
		stubborn = DockerContainer.fromImage(image, 'stubborn').run(['sleep', '600'])
		stubborn.stop(timeout=1)
		self.assertThat('code == 137', code=stubborn.waitForExit())

		DockerHelper._executeDockerCommand(self, ['rm', '--force', self.container.getName()])
		self.state('removed', None)

	def fluent(self, method, *arguments, **options):
		returned = method(*arguments, **options)
		self.assertThat('returned is container', returned=returned, container=self.container)

	def state(self, expected, code=None):
		self.assertThat('state == expected', state=self.container.getState(), expected=expected)
		if expected not in {'', 'removed'}:
			self.assertThat('actual == code', actual=self.container.getExitCode(), code=code)

	def validate(self):
		self.assertOrderedGrep('polite.out', ['ready', 'got a signal', 'asked to end', 'ready', 'asked to end', 'ready'])
