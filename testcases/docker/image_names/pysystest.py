__pysys_title__ = r""" Docker - an image that is made by other means gets a unique name and goes with the test """
__pysys_purpose__ = r""" """

import os
import time

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerContainer, DockerHelper, DockerImage

NAMES = 1000


class PySysTest(BaseTest):
	def execute(self):
		# Registered before the test has anything, so it is called after all of that was given back.
		self.addCleanupFunction(self.checkGone)
		before = time.localtime()
		pool = self.createThreadPoolExecutor(20)
		self.names = list(pool.map(lambda _: DockerImage.generateUniqueName(), range(NAMES)))
		form = rf'pysys{os.getpid()}-(\d{{6}})-[a-z0-9]+-[0-9a-f]{{4}}'
		self.assertThat('re.fullmatch(form, name)', name=self.names[0], form=form)
		stamps = [name.split('-')[1] for name in self.names]
		begin, end = time.strftime('%H%M%S', before), time.strftime('%H%M%S')
		between = [begin <= each <= end if begin <= end else each >= begin or each <= end for each in stamps]
		self.assertThat('all(between)', begin=begin, end=end, stamps=sorted(set(stamps)), between=between)
		self.assertThat('different == names', different=len(set(self.names)), names=NAMES)
		self.assertThat('longest <= 44', longest=max(map(len, self.names)))

		self.blank = DockerImage.fromBlank(self)
		self.assertThat('not there', there=self.isThere(self.blank.getName()))
		self.tag(self.blank.getName())
		DockerContainer.fromImage(self.blank, 'blank').run(['echo', 'this is busybox'], foreground=True)
		self.assertGrep('docker_run_blank.out', '^this is busybox$')

		# Names as the seed's users made them, of an image that is wrapped afterwards.
		self.mine, self.others = f'{self.names[0]}-mine', f'not-ours-{self.names[1]}:1'
		for name in (self.mine, self.others):
			self.tag(name)
		DockerImage.fromExisting(self, self.mine, own=True)
		kept = DockerImage.fromExisting(self, self.others)
		DockerContainer.fromImage(kept, 'kept').run(['echo', 'this one, too'], foreground=True)
		self.assertGrep('docker_run_kept.out', '^this one, too$')
		# What is wrapped need not be there yet.
		DockerImage.fromExisting(self, f'{self.names[2]}-never', own=True)

	def tag(self, name):
		DockerHelper._executeDockerCommand(self, ['tag', 'pysys-orch-test/busybox:1', name])

	def isThere(self, name):
		done = DockerHelper._executeDockerCommand(self, ['image', 'inspect', name], ignoreExitStatus=True)
		return done.process.exitStatus == 0

	def checkGone(self):
		self.assertThat('not there', there=self.isThere(self.blank.getName()), image='blank')
		self.assertThat('not there', there=self.isThere(self.mine), image='owned')
		self.assertThat('there', there=self.isThere(self.others), image='not owned')
		self.assertThat('there', there=self.isThere('pysys-orch-test/busybox:1'), image='what they were tags of')
		DockerHelper._executeDockerCommand(self, ['rmi', self.others])
