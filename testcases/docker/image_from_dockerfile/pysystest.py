__pysys_title__ = r""" Docker - an image is built from a Dockerfile, in a blank folder or with a context and more files """
__pysys_purpose__ = r""" """

import pathlib

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerContainer, DockerImage


class PySysTest(BaseTest):
	def execute(self):
		folder = pathlib.Path(self.input, 'dockerfile')
		context = pathlib.Path(self.input, 'context')
		absolute = pathlib.Path(self.output, 'absolute.txt')
		absolute.write_text('from elsewhere\n')
		before = self.facts(context)
		file = str(folder / 'Dockerfile')

		self.look('blank', self.build(file))
		self.look('given', self.build(file, str(context)))
		more = ['wrapper.sh', 'replaced.txt', 'more', str(absolute)]
		self.look('added', self.build(file, str(context), otherfiles=more))
		self.look('only_added', self.build(file, otherfiles=('wrapper.sh', str(absolute))))

		self.assertThat('after == before', after=self.facts(context), before=before)

	def build(self, *arguments, **options):
		# Not to be content with what an earlier run has built.
		return DockerImage.fromDockerfile(self, *arguments, noCache=True, **options)

	def look(self, name, image):
		script = 'cd /context && find . -type f | sort; tail -n +1 $(find . -name "*.txt" | sort) </dev/null'
		DockerContainer.fromImage(image, name).run(['sh', '-c', script], foreground=True)

	def facts(self, folder):
		status = {path: path.lstat() for path in folder.rglob('*')}
		return {
			str(path): (each.st_mode, each.st_mtime_ns, path.read_bytes() if path.is_file() else b'')
			for path, each in status.items()
		}

	def validate(self):
		given = ['./kept/deep.txt', './replaced.txt']
		self.files('blank', [])
		self.files('given', given)
		self.files('added', ['./absolute.txt', *given[:1], './more/one.txt', './replaced.txt', './wrapper.sh'])
		self.files('only_added', ['./absolute.txt', './wrapper.sh'])
		self.assertGrep('docker_run_given.out', '^the context has this$')
		self.assertGrep('docker_run_given.out', '^this one goes deeper$')
		# A file that is added takes the place of the context's, in the image only.
		self.assertGrep('docker_run_added.out', '^this comes from beside the Dockerfile$')
		self.assertGrep('docker_run_added.out', '^the context has this$', contains=False)
		self.assertGrep('docker_run_added.out', '^from elsewhere$')

	def files(self, name, expected):
		text = pathlib.Path(self.output, f'docker_run_{name}.out').read_text()
		actual = [line for line in text.splitlines() if line.startswith('./')]
		self.assertThat('actual == expected', actual=actual, expected=sorted(expected), image=name)
