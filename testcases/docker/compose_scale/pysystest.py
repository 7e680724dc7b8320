__pysys_title__ = r""" Docker - a service of a composition gets more containers and fewer, each with its waits and logs """
__pysys_purpose__ = r""" """

import pathlib
import time
import urllib.request

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerComposition


class PySysTest(BaseTest):
	def execute(self):
		crew = DockerComposition(self, f'{self.input}/crew/docker-compose.yml').up()
		boss, first = crew.getContainer('boss').getName(), crew.getContainer('worker').getName()
		started = crew.getContainer('boss').inspect()['State']['StartedAt']

		self.assertThat('returned is crew', returned=crew.scale('worker', 3), crew=crew)
		crew.log()
		names = {self.nameServedBy(crew.getContainer('worker', index)) for index in (1, 2, 3)}
		self.assertThat('len(names) == 3', names=names)
		self.assertThat('names == expected', names={self.hostname(crew, index) for index in (1, 2, 3)}, expected=names)
		# Who was there is left in peace.
		self.assertThat('now == then', now=crew.getContainer('worker').inspect()['Name'], then=f'/{first}')
		self.assertThat('now == then', now=crew.getContainer('boss').inspect()['State']['StartedAt'], then=started)

		# Those that are too many are killed: nobody waits for an end that does not come.
		begin = time.monotonic()
		crew.scale('worker', 1)
		self.assertThat('took < 8', took=time.monotonic() - begin)
		self.assertThat('workers == 1', workers=self.count(crew, 'worker'))
		crew.scale('worker', 0)
		self.assertThat('workers == 0', workers=self.count(crew, 'worker'))
		self.assertThat('bosses == 1', bosses=self.count(crew, 'boss'))
		crew.scale('worker', 2)
		self.nameServedBy(crew.getContainer('worker', 1))
		self.nameServedBy(crew.getContainer('worker', 2))

	def nameServedBy(self, worker):
		worker.waitForLog('works')
		worker.waitForHttp(80, '/name')
		with urllib.request.urlopen(f'http://127.0.0.1:{worker.getExternalPort(80)}/name', timeout=10) as answer:
			return answer.read().decode().strip()

	def hostname(self, crew, index):
		return crew.getContainer('worker', index).inspect()['Config']['Hostname']

	def count(self, crew, service):
		lines = pathlib.Path(crew.getAllContainers(f'{service}_{self.countCalls()}').stdout).read_text().splitlines()
		return len([line for line in lines if f'-{service}-' in line])

	def countCalls(self):
		self.calls = getattr(self, 'calls', 0) + 1
		return self.calls

	def validate(self):
		for name in ('worker', 'worker.2', 'worker.3'):
			self.assertGrep(f'{name}.out', '^[0-9a-f]{12} works$')
