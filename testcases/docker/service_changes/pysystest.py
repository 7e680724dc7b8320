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
		self.assertThat('values == ["NAME=other", "VERSION=4"]', values=self.values(service))

		# The last change is taken back.
		service.update(extraArgs=['--rollback'])
		self.running(service, 1, 'pysys-orch-test/debian:1')
		self.assertThat('values == ["NAME=other", "VERSION=3"]', values=self.values(service))

		# What is published is no matter of the tasks' own description: they are replaced all the same.
		service.scale(2)
		before = {each['ID'] for each in service.getTasks()}
		service.update(extraArgs=['--update-parallelism', '1', '--update-delay', '1s', '--publish-add', 'mode=host,target=9000'])
		self.running(service, 2)
		now = {each['ID'] for each in service.getTasks() if each['Status']['State'] == 'running'}
		self.assertThat('not (now & before)', now=now, before=before)

		# A port of the host, or memory, that the old task has until its grace is over: longer than the patience for a lack.
		fixed = DockerService.fromImage(image, 'fixed')
		memory = next(int(line.split()[1]) for line in open('/proc/meminfo') if line.startswith('MemTotal'))
		fixed.run(['sleep', '600'], extraArgs=['--reserve-memory', f'{memory * 6 // 10}k', '--stop-grace-period', '4s'])
		fixed.update(env={'VERSION': 2})
		self.running(fixed, 1)

	def values(self, service):
		return sorted(service.inspect()['Spec']['TaskTemplate']['ContainerSpec']['Env'])

	def running(self, service, count, image=None):
		tasks = [each for each in service.getTasks() if each['Status']['State'] == 'running']
		self.assertThat('running == count', running=len(tasks), count=count)
		if image:
			images = {each['Spec']['ContainerSpec']['Image'] for each in tasks}
			self.assertThat('images == {image}', images=images, image=image)
