__pysys_title__ = r""" Docker - a service runs with the command, user, variables and arguments that it is given, and goes with its test """
__pysys_purpose__ = r""" """

import os
import pathlib

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerHelper, DockerImage, DockerService

FACTS = 'id -u; id -g; echo "$COLOUR, $SIZE"; cat /shared/file; exec sleep 600'


class PySysTest(BaseTest):
	def execute(self):
		self.services = []
		self.addCleanupFunction(self.checkGone)
		self.image = DockerImage.fromExisting(self, 'pysys-orch-test/busybox:1')
		folder = pathlib.Path(self.output, 'shared')
		folder.mkdir()
		(folder / 'file').write_text('from the host\n')

		plain = self.service('plain').setEnv(COLOUR='dark red', SIZE=3).volumeFromHost(str(folder), '/shared')
		returned = plain.run(['sh', '-c', FACTS])
		self.assertThat('returned is plain', returned=returned, plain=plain)
		self.assertThat('name == created', name=plain.getName(), created=plain.inspect()['Spec']['Name'])
		self.assertThat('name.startswith("po") and "service-run-plain" in name', name=plain.getName())
		states = [each['Status']['State'] for each in plain.getTasks()]
		self.assertThat('states == ["running"]', states=states)
		self.assertThat('state == "running"', state=plain.getContainer().getState())
		plain.log('plain').waitForLog('from the host')
		self.says('plain', f'{os.getuid()}\n{os.getgid()}\ndark red, 3\nfrom the host\n')

		# A text is split as a shell would; replicas all run when run() returns.
		three = self.service('three').run("sh -c 'echo \"two  words\"; exec sleep 600'", replicas=3)
		tasks = three.getTasks()
		self.assertThat('states == ["running"] * 3', states=[each['Status']['State'] for each in tasks])
		self.assertThat('slots == [1, 2, 3]', slots=sorted(each['Slot'] for each in tasks))
		for slot in (1, 2, 3):
			three.getContainer(slot).waitForLog('^two  words$')

		# Docker's own arguments, which win.
		self.own = DockerImage.generateUniqueName()
		mine = self.service('arguments').setEnv(COLOUR='blue', SIZE=3)
		extra = ['--user', '65534:12', '--name', self.own, '-e', 'SIZE=4', '--replicas=2', '--mount', f'type=bind,src={folder},dst=/shared']
		mine.run(['sh', '-c', FACTS], extraArgs=extra)
		self.assertThat('name == own', name=mine.getName(), own=self.own)
		running = [each for each in mine.getTasks() if each['Status']['State'] == 'running']
		self.assertThat('running == 2', running=len(running))
		mine.log('arguments').waitForLog('from the host')
		self.says('arguments.1.*', '65534\n12\nblue, 4\nfrom the host\n')

		# On every node of the swarm.
		everywhere = self.service('everywhere').run(['sleep', '600'], extraArgs=['--mode', 'global'])
		self.assertThat('state == "running"', state=everywhere.waitForReplicas().getContainer().getState())

		# What has no value is taken from the environment of the client, which is clean but for what it is given.
		clean = self.service('clean').run(['sh', '-c', 'env; echo END; exec sleep 600'], extraArgs=['-e', 'COLOUR', '-e', 'HOSTTYPE'], environs={'COLOUR': 'green'})
		clean.waitForLog('^END$')
		self.assertGrep('clean.out', '^COLOUR=green$')
		self.assertGrep('clean.out', '^HOSTTYPE', contains=False)

		# A task that is gone is not the first one that runs.
		rest = self.service('rest').run(['sleep', '600'], extraArgs=['--restart-condition=none'], replicas=2)
		rest.getContainer(1).kill()
		self.assertThat('now == second', now=rest.getContainer().getName(), second=rest.getContainer(2).getName())
		rest.waitForReplicas(1)

	def service(self, name):
		service = DockerService.fromImage(self.image, name)
		self.services.append(service)
		return service

	def says(self, name, expected):
		def text():
			files = sorted(pathlib.Path(self.output).glob(f'{name}.out'))
			return files[0].read_text() if files else None
		for _ in range(500):
			if text() == expected:
				break
			self.pollWait(0.01)
		self.assertThat('actual == expected', actual=text(), expected=expected, service=name)

	def checkGone(self):
		for service in self.services:
			name = service.getName()
			done = DockerHelper._executeDockerCommand(self, ['service', 'inspect', name], ignoreExitStatus=True)
			self.assertThat('status == 1', status=done.process.exitStatus, service=name)
			done = DockerHelper._executeDockerCommand(self, ['ps', '--all', '--quiet', '--filter', f'label=com.docker.swarm.service.name={name}'])
			self.assertThat('containers == ""', containers=pathlib.Path(done.stdout).read_text(), service=name)
