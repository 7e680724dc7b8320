__pysys_title__ = r""" Docker - a test that was written for Apama's framework runs after its import line was changed """
__pysys_purpose__ = r""" It is in the style of the samples that were written for that framework, word for word where
	its documentation gives words: positional arguments, extraArgs, names made by hand, and files by their suffixes. """

import os

from pysys.basetest import BaseTest
from pysys.constants import *

# This is the line.
from pysys_orch.docker import *


class PySysTest(BaseTest):
	def execute(self):
		base = DockerImage.fromExisting(self, 'pysys-orch-test/busybox:1')
		app = DockerImage.fromDockerfile(
			self,
			file=os.path.join(self.input, 'Dockerfile'),
			context=self.input,
			buildArgs=['APP_IMAGE=' + base.getName()],
		)
		secret = DockerSecret.fromContent(
			self, secretContents='user=alice', name=DockerImage.generateUniqueName() + '.properties'
		)
		service = DockerService.fromImage(app)
		service.run(extraArgs=['--secret=' + secret.getName()])
		service.log('app.log')
		self.waitForGrep('app.log.out', expr='user is alice', errorExpr=['No such file'])
		self.waitForGrep('app.log.err', expr='started')

		container = DockerContainer.fromImage(base).volumeFromHost(self.input, '/shared').exposePort(8000)
		container.run(['httpd', '-f', '-p', '8000', '-h', '/shared'], abortOnError=True)
		container.log('httpd')
		self.waitForSocket(container.getExternalPort(8000))

		composition = DockerComposition(
			self,
			os.path.join(self.input, 'docker-compose.yml'),
			imageSubst={'sample/app': app},
			externalPorts=[8080],
			otherSubsts={'REPLACE_ME': 'replaced'},
		)
		composition.up()
		process, stdout, _ = composition.getAllContainers()
		self.assertThat('status == 0', status=process.exitStatus)
		self.assertGrep(os.path.basename(stdout), base.getName())
		self.assertThat('len(volumes) == 1', volumes=composition.getVolumes())
		self.assertThat('"default" in networks', networks=composition.getNetworks())

		swarm = DockerSwarm(self, os.path.join(self.input, 'docker-compose.yml'), {'sample/app': base}, [8080])
		swarm.deploy()
		self.assertThat('len(volumes) == 1', volumes=swarm.getVolumes())

	def validate(self):
		self.assertGrep('app.log.out', 'starting')
