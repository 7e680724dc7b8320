__pysys_title__ = r""" Docker - an image is built again only if something in its folder, file or arguments has changed """
__pysys_purpose__ = r""" """

import os
import pathlib

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerContainer, DockerHelper, DockerImage

DOCKERFILE = 'FROM pysys-orch-test/busybox:1\nARG MODE\nCOPY . /context/\n'


class PySysTest(BaseTest):
	def execute(self):
		context, file = pathlib.Path(self.output, 'context'), pathlib.Path(self.output, 'Dockerfile')
		data, more = context / 'data', pathlib.Path(self.output, 'more')
		context.mkdir()
		file.write_text(DOCKERFILE)
		data.write_text(DockerImage.generateUniqueName())
		more.write_text('1')

		def build(parent=self, **options):
			return DockerImage.fromDockerfile(parent, str(file), str(context), otherfiles=[str(more)], **options)

		first = self.builds('for the first time', build, again=True)
		DockerContainer.fromImage(first).run(['sleep', '600'])
		same = self.builds('with a container of it running', build, again=False)
		self.assertThat('same == first', same=self.identity(same), first=self.identity(first))
		self.assertThat('same != first', same=same.getName(), first=first.getName())
		self.builds('for somebody else', lambda: build(self.runner), again=False)

		os.utime(data, (1, 1))
		self.builds('after a file was touched', build, again=False)
		data.write_text(DockerImage.generateUniqueName())
		second = self.builds('after a file was written', build, again=True)
		self.assertThat('second != first', second=self.identity(second), first=self.identity(first))
		data.chmod(0o755)
		self.builds('after a file was made executable', build, again=True)
		more.write_text('2')
		self.builds('after a file that is added was written', build, again=True)
		file.write_text(f'{DOCKERFILE}ENV MORE=1\n')
		self.builds('after the Dockerfile was written', build, again=True)
		last = self.builds('with an argument', lambda: build(buildArgs=['MODE=1']), again=True)

		# What nobody uses any more makes way for what takes its place.
		replaced = self.identity(last)
		self.docker('rmi', last.getName())
		self.assertThat('status == 0', status=self.docker('image', 'inspect', replaced).process.exitStatus)
		self.builds('without the cache', lambda: build(buildArgs=['MODE=1'], noCache=True), again=True)
		self.assertThat('status == 1', status=self.docker('image', 'inspect', replaced).process.exitStatus)

	def builds(self, when, build, *, again):
		before = self.count()
		image = build()
		self.assertThat('(builds == 1) is again', builds=self.count() - before, again=again, when=when)
		return image

	def count(self):
		"""Return how many builds have left their output."""
		return sum(len(list(pathlib.Path(each.output).glob('docker_build*.err'))) for each in (self, self.runner))

	def identity(self, image):
		return pathlib.Path(self.docker('inspect', '--format', '{{.Id}}', image.getName()).stdout).read_text().strip()

	def docker(self, *arguments):
		return DockerHelper._executeDockerCommand(self, arguments, ignoreExitStatus=True)
