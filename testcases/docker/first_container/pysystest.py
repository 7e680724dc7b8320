__pysys_title__ = r""" Docker - a container runs, answers and is gone after the test """
__pysys_purpose__ = r""" """

import pysys.basetest
from pysys.constants import *

import pysys_orch.docker


class PySysTest(pysys_orch.docker.DockerTestHelper, pysys.basetest.BaseTest):
	def execute(self):
		self.container = (
			self.docker.container('pysys-orch-test/busybox:1', 'web')
			.exposePort(8000)
			.run(['httpd', '-f', '-p', '8000'])
			.log('web')
			.waitForPort(8000)
		)
		self.container.waitForHttp(8000, '/', status=404)

	def validate(self):
		self.assertThat('state == expected', state=self.container.getState(), expected='running')
