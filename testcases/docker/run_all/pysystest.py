__pysys_title__ = r""" Docker - many containers are run at once, logged and waited for """
__pysys_purpose__ = r""" """

import pathlib

import pysys.basetest
from pysys.constants import *

import pysys_orch.docker
from pysys_orch.docker import DockerContainer

BUSYBOX = 'pysys-orch-test/busybox:1'
NUMBER = 24


class PySysTest(pysys_orch.docker.DockerTestHelper, pysys.basetest.BaseTest):
	def execute(self):
		image = self.docker.image(BUSYBOX)
		given = [self.docker.container(image, f'c{number}', env={'N': number}) for number in range(NUMBER)]
		containers = self.docker.runAll(given, cmd=['sh', '-c', 'echo this is $N; exit $((N % 3))'], log=True)
		self.assertThat('containers == given', containers=containers, given=given)
		codes = [each.waitForExit() for each in containers]
		self.assertThat('codes == expected', codes=codes, expected=[number % 3 for number in range(NUMBER)])
		for number in range(NUMBER):
			said = pathlib.Path(self.output, f'c{number}.out').read_text()
			self.assertThat('said == expected', said=said, expected=f'this is {number}\n')

		jobs = [DockerContainer.fromImage(image, f'job{number}') for number in range(4)]
		DockerContainer.runAll(jobs, 'echo done', ['--read-only'], foreground=True, concurrency=2)
		states = {each.getState() for each in jobs}
		self.assertThat('states == {"exited"}', states=states)
		more = [self.docker.container(image, f'more{number}') for number in range(2)]
		self.docker.runAll(more, ['echo', 'by place'], ['--read-only'], True)
		self.assertGrep('docker_run_more1.out', '^by place$')
		self.assertThat('none == []', none=DockerContainer.runAll([]))
