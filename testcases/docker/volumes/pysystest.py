__pysys_title__ = r""" Docker - containers and services share volumes, which go with their test; a small one fills up """
__pysys_purpose__ = r""" """

import pysys.basetest
from pysys.constants import *

import pysys_orch.docker
from pysys_orch.docker import DockerHelper, DockerVolume

BUSYBOX = 'pysys-orch-test/busybox:1'


class PySysTest(pysys_orch.docker.DockerTestHelper, pysys.basetest.BaseTest):
	def execute(self):
		self.addCleanupFunction(self.checkGone)
		self.shared = self.docker.volume('shared')
		self.small = DockerVolume.create(self, 'small', size='1m')
		self.assertThat('name in names', name=self.shared.getName(), names=[full for _, full in DockerHelper(self, 'me').getVolumes().values()])

		# By the engine's interface and by the docker client.
		for name, extra in [('api', None), ('client', ['--hostname=here'])]:
			writer = self.docker.container(BUSYBOX, f'{name} writer')
			returned = writer.mountVolume(self.shared, '/data')
			self.assertThat('returned is writer', returned=returned, writer=writer)
			writer.run(['sh', '-c', f'echo {name} > /data/file'], extraArgs=extra, foreground=True)
			reader = self.docker.container(BUSYBOX, f'{name} reader').mountVolume(self.shared.getName(), '/there', readOnly=True)
			reader.run(['sh', '-c', 'cat /there/file; touch /there/other || echo refused'], extraArgs=extra, foreground=True)
			out = f'docker_run_{name}_reader.out'
			self.assertGrep(out, f'^{name}$')
			self.assertGrep(out, '^refused$')

		# Whoever the user is, and only so much.
		holder = self.docker.container(BUSYBOX, 'holder').mountVolume(self.small, '/small')
		holder.run(['sleep', '600'], extraArgs=['--user=1234:1234'])
		holder.exec(['dd', 'if=/dev/zero', 'of=/small/one', 'bs=1000000', 'count=1'])
		full = holder.exec(['dd', 'if=/dev/zero', 'of=/small/two', 'bs=1000000', 'count=1'], ignoreExitStatus=True)
		self.assertGrep(full.stderr, 'No space left on device')

		# Its anonymous volumes go with a container; what has a name of its own stays.
		named = self.docker.container(BUSYBOX, 'named').mountVolume(self.shared, '/data')
		named.run(['true'], extraArgs=['--volume=/anonymous'], foreground=True)
		anonymous = [each['Name'] for each in named.inspect()['Mounts'] if each['Destination'] == '/anonymous']
		engine = named.engineInUse()
		for each in named.resources():
			engine.remove(each)
		self.assertThat('status == 1', status=self.inspected(anonymous[0]))
		self.assertThat('status == 0', status=self.inspected(self.shared.getName()))

		same = DockerVolume.fromExisting(self, self.shared.getName())
		self.assertThat('resources == []', resources=same.resources())
		self.assertThat('driver == "local"', driver=same.inspect()['Driver'])

		service = self.docker.service(BUSYBOX, 'service').mountVolume(self.shared, '/data', readOnly=True)
		service.run(['sh', '-c', 'cat /data/file; sleep 600']).log('service').waitForLog('client')

	def inspected(self, volume):
		return DockerHelper._executeDockerCommand(self, ['volume', 'inspect', volume], ignoreExitStatus=True).process.exitStatus

	def checkGone(self):
		for volume in (self.shared, self.small):
			self.assertThat('status == 1', status=self.inspected(volume.getName()))
