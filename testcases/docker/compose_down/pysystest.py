__pysys_title__ = r""" Docker - a composition goes down at once, also where nobody listens to SIGTERM; its volumes stay if asked for """
__pysys_purpose__ = r""" """

import pathlib
import time

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerComposition, DockerHelper

IMAGES = {'nginx': 'pysys-orch-test/busybox:1', 'redis:7': 'pysys-orch-test/debian:1'}
# Compose itself would wait for 10 s and more; it takes less than one.
SECONDS = 5


class PySysTest(BaseTest):
	def execute(self):
		shop = DockerComposition(self, f'{self.input}/stubborn/docker-compose.yml', imageSubst=IMAGES).up()
		self.ask(shop, 'set kept yes')
		shop.getContainer('stubborn').waitForLog('begins')
		volume = shop.getVolumes()['data']

		self.timed(shop, keepVolumes=True)
		self.assertThat('there == ([], [], [full])', there=self.there(shop), full=volume[1])
		shop.up()
		self.assertThat('answer == "yes"', answer=self.ask(shop, 'get kept'))
		self.assertThat('volume == before', volume=shop.getVolumes()['data'], before=volume)

		self.timed(shop)
		self.assertThat('there == ([], [], [])', there=self.there(shop))
		self.timed(shop)  # twice is no harm
		shop.up()
		self.assertThat('answer == ""', answer=self.ask(shop, 'get kept'))

	def timed(self, shop, **options):
		begin = time.monotonic()
		shop.down(**options)
		self.assertThat('took < limit', took=time.monotonic() - begin, limit=SECONDS)

	def there(self, shop):
		found = []
		for arguments in (['container', 'ls', '--all', '--format', '{{.Names}}'], ['network', 'ls', '--format', '{{.Name}}'], ['volume', 'ls', '--format', '{{.Name}}']):
			label = f'label=com.docker.compose.project={shop.getName()}'
			done = DockerHelper._executeDockerCommand(self, [*arguments, '--filter', label])
			found.append(pathlib.Path(done.stdout).read_text().split())
		return tuple(found)

	def ask(self, shop, question):
		return pathlib.Path(shop.getContainer('store').exec(f'redis-cli {question}').stdout).read_text().strip()

	def validate(self):
		self.assertGrep('stubborn.out', '^begins$')
