__pysys_title__ = r""" Docker - an image that is not there is pulled from its registry """
__pysys_purpose__ = r""" The registry is a folder that is served over HTTP: no more is asked of one. """

import functools
import gzip
import hashlib
import http.server
import io
import json
import pathlib
import tarfile
import threading

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerContainer, DockerHelper, DockerImage

MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json'


class Registry(http.server.SimpleHTTPRequestHandler):
	"""Serves the files of a registry, with the types that an engine asks for."""

	def guess_type(self, path):
		return MANIFEST if '/manifests/' in str(path) else 'application/octet-stream'

	def log_message(self, *args):
		pass


class PySysTest(BaseTest):
	def execute(self):
		self.addCleanupFunction(self.checkGone)
		self.folder = pathlib.Path(self.output, 'registry')
		handler = functools.partial(Registry, directory=str(self.folder))
		server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
		threading.Thread(target=server.serve_forever, daemon=True).start()
		self.addCleanupFunction(server.shutdown)
		self.registry = f'127.0.0.1:{server.server_port}'

		asked = ['version', '--format', '{{.Server.Arch}}']
		self.architecture = pathlib.Path(DockerHelper._executeDockerCommand(self, asked).stdout).read_text().strip()
		pulled, implied = (self.publish(name) for name in ('pulled', 'implied'))
		image = DockerImage.fromExisting(self, pulled, own=True, pull=True, timeout=60)
		self.assertThat('there', there=self.isThere(pulled))
		DockerContainer.fromImage(image, 'pulled').run(foreground=True)

		# One that was not asked for is pulled when a container needs it, as docker does.
		image = DockerImage.fromExisting(self, implied, own=True)
		self.assertThat('not there', there=self.isThere(implied))
		DockerContainer.fromImage(image, 'implied').run(foreground=True)

	def publish(self, name):
		"""Put an image into the registry; return its name."""
		busybox = DockerImage.fromExisting(self, 'pysys-orch-test/busybox:1')
		container = DockerContainer.fromImage(busybox).run()
		container.copyFrom('/bin/busybox', 'busybox')
		layer = io.BytesIO()
		with tarfile.open(fileobj=layer, mode='w') as tar:
			tar.add(pathlib.Path(self.output, 'busybox'), 'busybox')
		content = layer.getvalue()
		packed = gzip.compress(content, mtime=0)
		config = {
			'architecture': self.architecture, 'os': 'linux',
			'config': {'Cmd': ['/busybox', 'echo', f'{name} from a registry']},
			'rootfs': {'type': 'layers', 'diff_ids': [digest(content)]},
		}
		config = json.dumps(config).encode()
		manifest = json.dumps({
			'schemaVersion': 2, 'mediaType': MANIFEST,
			'config': descriptor('application/vnd.docker.container.image.v1+json', config),
			'layers': [descriptor('application/vnd.docker.image.rootfs.diff.tar.gzip', packed)],
		}).encode()
		self.put('index.html', b'{}')
		for place, each in [('blobs', packed), ('blobs', config), ('manifests', manifest)]:
			self.put(f'{name}/{place}/{digest(each)}', each)
		self.put(f'{name}/manifests/latest', manifest)
		return f'{self.registry}/{name}'

	def put(self, path, content):
		file = self.folder / 'v2' / path
		file.parent.mkdir(parents=True, exist_ok=True)
		file.write_bytes(content)

	def isThere(self, name):
		done = DockerHelper._executeDockerCommand(self, ['image', 'inspect', name], ignoreExitStatus=True)
		return done.process.exitStatus == 0

	def validate(self):
		for name in ('pulled', 'implied'):
			self.assertGrep(f'docker_run_{name}.out', f'^{name} from a registry$')

	def checkGone(self):
		for name in ('pulled', 'implied'):
			self.assertThat('not there', there=self.isThere(f'{self.registry}/{name}'), name=name)


def digest(content):
	return f'sha256:{hashlib.sha256(content).hexdigest()}'


def descriptor(kind, content):
	return {'mediaType': kind, 'size': len(content), 'digest': digest(content)}
