__pysys_title__ = r""" Docker - a composition comes up for one test: its containers, volumes, networks and logs are at hand """
__pysys_purpose__ = r""" """

import os
import pathlib
import urllib.request

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerComposition, DockerHelper

IMAGES = {'nginx:1.25-alpine': 'pysys-orch-test/busybox:1', 'redis:7': 'pysys-orch-test/debian:1'}


class PySysTest(BaseTest):
	def execute(self):
		self.addCleanupFunction(self.checkGone)
		before = self.contents()
		# A variable of whoever started PySys, which is none of the sample's business.
		foreign = next(each for each in os.environ if each not in self.getDefaultEnvirons() and each.isupper() and 'DOCKER' not in each)
		substs = {'@foreign@': foreign, '@title@': 'the title'}
		shop = self.shop = DockerComposition(self, f'{self.input}/shop/docker-compose.yml', imageSubst=IMAGES, otherSubsts=substs)
		self.assertThat('isinstance(shop, kind)', shop=shop, kind=DockerHelper)
		self.assertThat('returned is shop', returned=shop.up(), shop=shop)

		# All run: healthy where they say how, ended with 0 where they were not meant to stay.
		web, store, job = (shop.getContainer(each) for each in ('web', 'store', 'job'))
		self.assertThat('states == expected', states=[each.getState() for each in (web, store, job)], expected=['running', 'running', 'exited'])
		self.assertThat('health == "healthy"', health=store.inspect()['State']['Health']['Status'])
		self.assertThat('again is web', again=shop.getContainer('web', 1), web=web)
		self.checkWaits(shop, web, store, job)
		self.assertThat('text == expected', text=self.ask(web, 'echo $COLOUR, $FOREIGN, $TITLE'), expected='blue, clean, the title')
		self.checkListings(shop, [web, store, job])

		# Another one of the same file, with an environment and a profile; the first is not touched.
		second = DockerComposition(self, 'shop/docker-compose.yml', IMAGES, otherSubsts=substs).up(True, {'COLOUR': 'green'}, profiles=['tools'], extraArgs=['web', 'tool'])
		self.assertThat('text == expected', text=self.ask(second.getContainer('web'), 'echo $COLOUR'), expected='green')
		self.assertThat('state == "running"', state=second.getContainer('tool').getState())
		self.assertThat('second != first', first=shop.getName(), second=second.getName())
		self.assertThat('second != first', first=shop.getExternalPort(8080), second=second.getExternalPort(8080))
		self.assertThat('text == expected', text=self.ask(web, 'echo $COLOUR'), expected='blue')

		shop.log().log('all_')
		# Up again, only what is different is made anew.
		shop.up(environs={'COLOUR': 'red'}, extraArgs=['--timeout=0'])
		self.assertThat('text == expected', text=self.ask(shop.getContainer('web'), 'echo $COLOUR'), expected='red')
		self.assertThat('now == then', now=shop.getContainer('store').inspect()['State']['StartedAt'], then=store.inspect()['State']['StartedAt'])
		self.assertThat('after == before', after=self.contents(), before=before)

	def checkWaits(self, shop, web, store, job):
		self.assertThat('returned is web', returned=web.waitForPort(80).waitForHttp(80), web=web)
		with urllib.request.urlopen(f'http://127.0.0.1:{shop.getExternalPort(8080)}/', timeout=10) as answer:
			self.assertThat('text == "the front page\\n"', text=answer.read().decode())
		store.waitForHealthy().waitForPort(6379)
		match = job.waitForLog('the job is (.*)', errorExpr='error')
		self.assertThat('said == "done"', said=match[1])
		self.assertThat('code == 0', code=job.waitForExit())
		job.copyFrom('/result', 'result.txt')
		self.assertThat('result == "result\\n"', result=pathlib.Path(self.output, 'result.txt').read_text())

	def checkListings(self, shop, containers):
		process, stdout, stderr = shop.getAllContainers()
		self.assertThat('status == 0', status=process.exitStatus)
		text = pathlib.Path(stdout).read_text()
		self.assertThat('missing == []', missing=[each.getName() for each in containers if each.getName() not in text])
		volumes, networks = shop.getVolumes(), shop.getNetworks()
		self.assertThat('volumes == expected', volumes=volumes, expected={'data': ('local', f'{shop.getName()}_data')})
		self.assertThat('names == ["back", "default", "front"]', names=sorted(networks))
		self.assertThat('back == expected', back=networks['back'][:2], expected=('bridge', f'{shop.getName()}_back'))
		self.assertThat('len(id) == 64', id=networks['back'][2])

	def ask(self, container, command):
		return pathlib.Path(container.exec(['sh', '-c', command]).stdout).read_text().strip()

	def contents(self):
		return {str(path): path.read_bytes() for path in pathlib.Path(self.input, 'shop').rglob('*') if path.is_file()}

	def validate(self):
		self.assertGrep('run.log', 'nothing in the file is called', contains=False)
		self.assertGrep('docker-compose.tailored.yml', 'image: "pysys-orch-test/busybox:1"')
		self.assertGrep('docker-compose.tailored.diff', r'^-      TITLE: "@title@"')
		self.assertGrep('docker-compose.tailored.diff', r'^\+      TITLE: "the title"')
		self.assertGrep('all_web.out', '^web says the title$')
		self.assertGrep('all_web.err', '^web warns$')
		self.assertGrep('all_job.out', '^the job is done$')
		self.assertGrep('all_store.out', 'Ready to accept connections')

	def checkGone(self):
		"""Runs after everything else: nothing of them is left."""
		for kind in ('container', 'network', 'volume'):
			done = DockerHelper._executeDockerCommand(self, [kind, 'ls', '--quiet', *(['--all'] if kind == 'container' else []), '--filter', f'label=com.docker.compose.project={self.shop.getName()}'])
			self.assertThat('left == ""', left=pathlib.Path(done.stdout).read_text(), kind=kind)
