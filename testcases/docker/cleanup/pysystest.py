__pysys_title__ = r""" Docker - whatever a test has made goes with it at once, and nobody else's things are touched """
__pysys_purpose__ = r""" """

import pathlib
import time

import pysys.basetest
from pysys.constants import *

import pysys_orch.docker
from pysys_orch.docker import DockerContainer, DockerHelper, DockerImage

BUSYBOX = 'pysys-orch-test/busybox:1'


class PySysTest(pysys_orch.docker.DockerTestHelper, pysys.basetest.BaseTest):
	def execute(self):
		self.bystander = f'not-ours-{DockerImage.generateUniqueName()}'
		self.run('run', '--detach', '--name', self.bystander, '--volume', f'{self.bystander}:/data', BUSYBOX, 'sleep', '600')
		self.addCleanupFunction(self.checkGone)

		# Containers whose first process does not listen to SIGTERM, in every state.
		network = self.docker.network()
		deaf = [self.docker.container(BUSYBOX, network=network).run(['sleep', '600']) for _ in range(4)]
		deaf[0].log('deaf')
		deaf[1].pause()
		self.docker.container(BUSYBOX).run(['true']).waitForExit()
		self.docker.container(BUSYBOX, 'by_client').run(['sleep', '600'], extraArgs=['--restart=always', '--volume', '/data'])
		self.docker.container(BUSYBOX, 'removed').run(['true'], extraArgs=['--rm'])
		self.image = deaf[0].commit()
		user = DockerContainer.fromImage(self.image, 'user').run(['sleep', '600'])
		# Removed by the test itself: nothing to complain of.
		self.run('rm', '--force', deaf[3].getName())

		labels = user.inspect()['Config']['Labels']
		# Whose a thing is stands in its name and in its labels.
		self.owner, self.key = labels['orch.run'], f'label=orch.run={labels["orch.run"]}'
		self.assertThat('name.startswith(owner)', name=user.getName(), owner=self.owner)
		self.assertThat('name.startswith(owner)', name=network.getName(), owner=self.owner)
		self.assertThat('name.startswith(owner)', name=self.image.getName(), owner=self.owner)
		self.assertThat('test == id', test=labels['orch.test'], id=self.descriptor.id)
		self.test = f'label=orch.test={self.descriptor.id}'
		self.assertThat('count >= 6', count=len(self.left('ps', '--all')))
		# Registered last, so it is called first.
		self.addCleanupFunction(self.beginCleanup)

	def beginCleanup(self):
		self.assertThat('count >= 6', count=len(self.left('ps', '--all')))
		self.begun = time.time()

	def checkGone(self):
		# None of them was asked to end: each would have taken ten seconds to be killed after all.
		events = ['events', '--since', f'{self.begun:.3f}', '--until', f'{time.time():.3f}', '--filter', 'event=kill']
		signals = self.lines(*events, '--filter', self.key, '--filter', self.test, '--format', '{{.Actor.Attributes.signal}}')
		self.assertThat('set(signals) <= {"9"}', signals=signals)
		for listing in (['ps', '--all'], ['network', 'ls']):
			self.assertThat('left == []', left=self.left(*listing), listing=listing)
		images = self.lines('image', 'ls', '--format', '{{.Repository}}')
		self.assertThat('image not in images', image=self.image.getName(), images=images)
		self.assertThat('running == "true"', running=self.lines('inspect', '--format', '{{.State.Running}}', self.bystander)[0])
		self.run('rm', '--force', self.bystander)
		self.assertThat('name == bystander', name=self.lines('volume', 'rm', self.bystander)[0], bystander=self.bystander)

	def left(self, *listing):
		return self.lines(*listing, '--quiet', '--filter', self.key, '--filter', self.test)

	def lines(self, *arguments):
		return pathlib.Path(self.run(*arguments).stdout).read_text().splitlines()

	def run(self, *arguments):
		return DockerHelper._executeDockerCommand(self, arguments, quiet=True)
