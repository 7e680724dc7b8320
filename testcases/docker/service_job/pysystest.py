__pysys_title__ = r""" Docker - a service in the foreground is a job: run() returns when its command has finished """
__pysys_purpose__ = r""" """

import pathlib

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerImage, DockerService


class PySysTest(BaseTest):
	def execute(self):
		image = DockerImage.fromExisting(self, 'pysys-orch-test/busybox:1')
		job = DockerService.fromImage(image, 'job')
		job.run(['sh', '-c', 'seq 1 5000; sleep 0.3; seq 1 5000 >&2'], foreground=True)
		self.assertThat('states == ["complete"]', states=[each['Status']['State'] for each in job.getTasks()])
		numbers = ''.join(f'{number}\n' for number in range(1, 5001))
		for ending in ('out', 'err'):
			text = pathlib.Path(self.output, f'docker_service_job.{ending}').read_text()
			self.assertThat('same', same=text == numbers, length=len(text), ending=ending)
		self.assertThat('code == 0', code=job.waitForExit())

		# Several times at once.
		DockerService.fromImage(image, 'thrice').run(['echo', 'hello'], foreground=True, replicas=3)
		self.assertLineCount('docker_service_thrice.out', '^hello$', condition='==3')

		# With docker's arguments.
		DockerService.fromImage(image, 'named').run(['hostname'], extraArgs=['--hostname', 'elsewhere'], foreground=True)
		self.assertGrep('docker_service_named.out', '^elsewhere$')

		# In the background, it is waited for.
		later = DockerService.fromImage(image, 'later')
		later.run(['sh', '-c', 'sleep 0.3; echo done; exit 3'], extraArgs=['--mode', 'replicated-job', '--restart-condition', 'none']).log('later')
		self.assertThat('code == 3', code=later.waitForExit())
		self.assertGrep('later.out', '^done$')
		once = DockerService.fromImage(image, 'once').run(['sh', '-c', 'exit 5'], extraArgs=['--restart-condition=none'], replicas=2)
		self.assertThat('code == 5', code=once.waitForExit())

		# What counts is how the last try went, and of an update the new tasks.
		again = DockerService.fromImage(image, 'again').volumeFromHost(self.output, '/tries')
		again.run(['sh', '-c', '[ -e /tries/one ] && exit 0; touch /tries/one; exit 3'], extraArgs=['--restart-condition=on-failure', '--restart-delay=0s'], foreground=True)
		self.assertThat('code == 0', code=again.waitForExit())
		other = DockerService.fromImage(image, 'other')
		other.run(['sh', '-c', 'trap "exit ${CODE:-7}" TERM; echo ready; until [ "$CODE" ]; do usleep 10000; done'], extraArgs=['--restart-condition=none'])
		other.log('other').waitForLog('ready')
		self.assertThat('code == 0', code=other.update(env={'CODE': 8}).waitForExit())
		codes = [each['Status']['ContainerStatus']['ExitCode'] for each in other.getTasks()]
		self.assertThat('sorted(codes) == [0, 7]', codes=codes)
