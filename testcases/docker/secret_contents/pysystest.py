__pysys_title__ = r""" Docker - a service reads secrets that are made from files and texts; nobody else does """
__pysys_purpose__ = r""" """

import hashlib
import pathlib

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerHelper, DockerImage, DockerSecret, DockerService

TEXT = 'pass=wörd "quoted" $HOME `x`\n\tno end'
BYTES = bytes(range(256)) * 1999  # less than the 500 kB that a swarm takes


class PySysTest(BaseTest):
	def execute(self):
		self.secrets = []
		self.addCleanupFunction(self.checkGone)
		image = DockerImage.fromExisting(self, 'pysys-orch-test/busybox:1')
		folder = pathlib.Path(self.mkdir('elsewhere'))
		(folder / 'kept.bin').write_bytes(BYTES)

		unique = DockerImage.generateUniqueName()
		text = DockerSecret.fromContent(self, f'my-secret-{unique}.properties', TEXT)
		self.assertThat('name == given', name=text.getName(), given=f'my-secret-{unique}.properties')
		file = DockerSecret.fromFile(self, f'file-{unique}', str(folder / 'kept.bin'))
		relative = DockerSecret.fromFile(self, f'relative-{unique}', 'secret.txt')
		both = DockerSecret(self, secretContents=BYTES[:300])
		self.assertThat('name.startswith("pysys")', name=both.getName())
		self.secrets = [text, file, relative, both]
		names = {text.getName(): TEXT.encode(), file.getName(): BYTES, relative.getName(): b'from the input directory\n', 'sub.key': BYTES[:300]}

		script = 'cd /run/secrets; md5sum *; sleep 600'
		reader = DockerService.fromImage(image, 'reader').useSecret(text).useSecret(file).useSecret(relative.getName()).useSecret(both, 'sub.key')
		reader.run(['sh', '-c', script]).log('reader').waitForLog('sub.key')
		self.reads('reader.out', names)

		# As with docker's own arguments.
		extra = [f'--secret={text.getName()}', '--secret', f'source={both.getName()},target=sub.key']
		DockerService.fromImage(image, 'other').run(['sh', '-c', script], extraArgs=extra).log('other').waitForLog('sub.key')
		self.reads('other.out', {key: names[key] for key in (text.getName(), 'sub.key')})
		(folder / 'kept.bin').unlink()

	def reads(self, file, expected):
		lines = pathlib.Path(self.output, file).read_text().splitlines()
		actual = {name: digest for digest, name in (line.split() for line in lines)}
		expected = {name: hashlib.md5(data).hexdigest() for name, data in expected.items()}
		self.assertThat('actual == expected', actual=actual, expected=expected, file=file)

	def validate(self):
		"""What is secret stands nowhere in the output, nor in what helpers say of themselves."""
		for path in pathlib.Path(self.output).rglob('*'):
			if path.is_file():
				data = path.read_bytes()
				self.assertThat('not found', found='wörd'.encode() in data or BYTES[:64] in data or b'cGFzcz' in data, file=path.name)
		for secret in self.secrets:
			told = f'{secret!r} {vars(secret)}'
			self.assertThat('"quoted" not in told', told=told)

	def checkGone(self):
		for secret in self.secrets:
			done = DockerHelper._executeDockerCommand(self, ['secret', 'inspect', secret.getName()], ignoreExitStatus=True)
			self.assertThat('status == 1', status=done.process.exitStatus, secret=secret.getName())
