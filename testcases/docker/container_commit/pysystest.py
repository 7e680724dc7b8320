__pysys_title__ = r""" Docker - a container as it is now becomes an image, which goes with the test """
__pysys_purpose__ = r""" """

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerContainer, DockerHelper, DockerImage


class PySysTest(BaseTest):
	def execute(self):
		self.addCleanupFunction(self.checkGone)
		image = DockerImage.fromExisting(self, 'pysys-orch-test/busybox:1')
		container = DockerContainer.fromImage(image, 'original').run(['sh', '-c', 'echo old > /file; echo ready; exec sleep 600'])
		container.waitForLog('ready')
		self.image = container.commit()
		self.assertThat('isinstance(image, type_)', image=self.image, type_=DockerImage)
		container.exec(['sh', '-c', 'echo new > /file'])
		self.later = container.commit()
		container.kill()
		self.ended = container.commit(author='nobody')
		for name, each in [('running', self.image), ('later', self.later), ('ended', self.ended)]:
			DockerContainer.fromImage(each, name).run(['cat', '/file'], foreground=True)

		# What the test makes says whose it is; what others make from its image must not.
		labels = '{{range $key, $value := .Config.Labels}}{{$key}}={{$value}};{{end}}'
		self.labels = DockerHelper._executeDockerCommand(self, ['inspect', '--format', labels, self.image.getName()])

	def validate(self):
		self.assertGrep('docker_run_running.out', '^old$')
		self.assertGrep('docker_run_later.out', '^new$')
		self.assertGrep('docker_run_ended.out', '^new$')
		self.assertGrep(self.labels.stdout, 'orch.run=;')

	def checkGone(self):
		for image in (self.image, self.later, self.ended):
			done = DockerHelper._executeDockerCommand(self, ['image', 'inspect', image.getName()], ignoreExitStatus=True)
			self.assertThat('status == 1', status=done.process.exitStatus)
