__pysys_title__ = r""" Docker - the images and arguments that a Dockerfile names are given by the test """
__pysys_purpose__ = r""" """
__pysys_groups__ = "modernEngine" # 20.10 has no here-documents in Dockerfiles

import pathlib

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerContainer, DockerImage


class PySysTest(BaseTest):
	def execute(self):
		before = pathlib.Path(self.input, 'Dockerfile').read_bytes()
		here = DockerImage.fromExisting(self, 'pysys-orch-test/busybox:1')
		base, tools, files = (
			DockerImage.fromDockerfile(self, f'{self.input}/Dockerfile.base', imageSubst=('no-such/busybox', here), buildArgs=[f'NAME={name}'])
			for name in ('base', 'tools', 'files')
		)
		given = {'no-such/base': base, 'no-such/tools:7': tools.getName(), 'no-such/files': files}

		listed = self.build(imageSubst=given, buildArgs=['COLOUR=dark blue', 'SUM=1+1=2'])
		mapped = self.build(imageSubst=given, buildArgs={'COLOUR': 'red', 'SUM': 3})
		# The default of an ARG is seen through, a value that is given takes its place.
		del given['no-such/base']
		other = self.build(imageSubst=given, buildArgs=['BASE=no-such/files'])

		stage = self.build(imageSubst=given, target='stage', extraArgs=['--label=colour=green'])
		early = DockerContainer.fromImage(stage, 'early').run(['cat', '/tools'], foreground=True)
		self.assertThat('label == "green"', label=early.inspect()['Config']['Labels']['colour'])
		for name, image in [('listed', listed), ('mapped', mapped), ('other', other)]:
			DockerContainer.fromImage(image, name).run(['cat', '/summary'], foreground=True)
		self.assertThat('after == before', after=pathlib.Path(self.input, 'Dockerfile').read_bytes(), before=before)

	def build(self, **options):
		# Not to be content with what an earlier run has built.
		return DockerImage.fromDockerfile(self, f'{self.input}/Dockerfile', noCache=True, **options)

	def validate(self):
		images = 'from base, copied from tools and files'
		self.says('listed', f'{images}: colour dark blue, sum 1+1=2')
		self.says('mapped', f'{images}: colour red, sum 3')
		self.says('other', f'{images.replace("base", "files")}: colour default, sum ')
		self.says('early', 'tools')
		self.assertGrep('run.log', 'WARN', contains=False)  # every substitution was used

	def says(self, name, expected):
		actual = pathlib.Path(self.output, f'docker_run_{name}.out').read_text()
		self.assertThat('actual == expected', actual=actual, expected=f'{expected}\n')
