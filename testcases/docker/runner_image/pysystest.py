__pysys_title__ = r""" Docker - an image and a container of the runner are made once, and serve all tests of the run """
__pysys_purpose__ = r""" Each mode is one test; they may run in any order, or at the same time. """
__pysys_modes__ = lambda helper: helper.createModeCombinations(helper.makeAllPrimary({f'Test{number}': {} for number in range(3)}))

import pathlib
import threading

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerContainer, DockerHelper, DockerImage


class PySysTest(BaseTest):
	def execute(self):
		self.addCleanupFunction(self.checkLives)
		# What one test has made, the others find; whichever comes first.
		shared = self.runner.__dict__.setdefault('runner_image_shared', {'lock': threading.Lock()})
		# Each test asks for the image, and all of them get the same.
		self.image = DockerImage.fromDockerfile(self.runner, f'{self.input}/Dockerfile', buildArgs=[f'RUN={id(shared)}'])
		DockerContainer.fromImage(DockerImage.fromExisting(self, self.image.getName()), 'mine').run(foreground=True)
		with shared['lock']:
			if 'container' not in shared:
				shared['container'] = DockerContainer.fromImage(self.image, 'shared').run(['sleep', '600'])
				shared['made'] = pathlib.Path(self.output, 'docker_run_mine.out').read_text()
			self.container, made = shared['container'], shared['made']

		done = DockerHelper._executeDockerCommand(self, ['exec', self.container.getName(), 'cat', '/made'])
		self.assertThat('actual == made', actual=pathlib.Path(done.stdout).read_text(), made=made)
		self.assertThat('actual == made', actual=pathlib.Path(self.output, 'docker_run_mine.out').read_text(), made=made)
		# The container is the runner's, and so are its files.
		self.container.log('shared')
		self.assertPathExists(f'{self.runner.output}/shared.out')

	def checkLives(self):
		# The end of a test is not the end of what belongs to the run.
		self.assertThat('state == "running"', state=self.container.getState())
		done = DockerHelper._executeDockerCommand(self, ['image', 'inspect', self.image.getName()], ignoreExitStatus=True)
		self.assertThat('status == 0', status=done.process.exitStatus)
