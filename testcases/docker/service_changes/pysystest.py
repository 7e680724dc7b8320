__pysys_title__ = r""" Docker - a service is scaled and updated while it runs """
__pysys_purpose__ = r""" """

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerImage, DockerService

# One that ends when it is asked to.
SCRIPT = 'trap "exit 0" TERM; echo "version $VERSION of $NAME"; while :; do sleep 0.05; done'


class PySysTest(BaseTest):
	def execute(self):
		image = DockerImage.fromExisting(self, 'pysys-orch-test/busybox:1')
		other = DockerImage.fromExisting(self, 'pysys-orch-test/debian:1')
		service = DockerService.fromImage(image, 'server').setEnv(VERSION=1, NAME='server')
		service.run(['sh', '-c', SCRIPT]).log('server')
		self.running(service, 1)
		for replicas in (3, 1, 0, 2):
			returned = service.scale(replicas)
			self.assertThat('returned is service', returned=returned, service=service)
			self.running(service, replicas)
			service.waitForReplicas(replicas).waitForReplicas()

		returned = service.update(env={'VERSION': 2})
		self.assertThat('returned is service', returned=returned, service=service)
		self.running(service, 2, 'pysys-orch-test/busybox:1')
		self.waitForGrep('server.out', 'version 2 of server', condition='==2', timeout=30, poll=0.01)
		service.update(env={'VERSION': 3}, extraArgs=['--update-parallelism', '0', '--env-add', 'NAME=other'])
		self.running(service, 2)
		self.waitForGrep('server.out', 'version 3 of other', condition='==2', timeout=30, poll=0.01)
		service.update(extraArgs=['--replicas=1'])
		self.running(service, 1)
		service.update(image=other, extraArgs=['--stop-grace-period', '1s'])
		self.running(service, 1, 'pysys-orch-test/debian:1')
		service.update(image='pysys-orch-test/busybox:1', env={'VERSION': '4'}, timeout=60)
		self.running(service, 1, 'pysys-orch-test/busybox:1')

	def running(self, service, count, image=None):
		tasks = [each for each in service.getTasks() if each['Status']['State'] == 'running']
		self.assertThat('running == count', running=len(tasks), count=count)
		if image:
			images = {each['Spec']['ContainerSpec']['Image'] for each in tasks}
			self.assertThat('images == {image}', images=images, image=image)
