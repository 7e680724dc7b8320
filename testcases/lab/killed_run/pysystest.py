__pysys_title__ = r""" Docker on several nodes - what a killed run had on several nodes is gone on all of them """
__pysys_purpose__ = r""" Where the run knows its nodes, its reaper does it all; else volumes stay until somebody collects there. """
__pysys_groups__ = "lab"

import os
import pathlib
import subprocess
import sys

from pysys.constants import *

from pysys_orch.docker.engine.ownership import Owner, start_of_process, this_domain
from testcases.lab.nodes import LabTest

PROJECT = """<?xml version="1.0" encoding="utf-8"?>
<pysysproject>
	<requires-pysys>2.2</requires-pysys>
	<property name="defaultEnvironsTempDir" value="self.output"/>
	<runner-plugin classname="pysys_orch.docker.DockerRunnerPlugin"/>
	<pysysdirconfig><input-dir>.</input-dir></pysysdirconfig>
</pysysproject>
"""
TEST = """
__pysys_title__ = r''' a test that is killed '''
import pysys.basetest
from pysys_orch.docker import DockerTestHelper

class PySysTest(DockerTestHelper, pysys.basetest.BaseTest):
	def execute(self):
		self.docker.stack('stack.yml').deploy()
		self.docker.service('pysys-orch-test/busybox:1', 'busy').run(['sleep', '600'], replicas=6)
		self.wait(600)
"""


class PySysTest(LabTest):
	def execute(self):
		addresses = ' '.join(node.address for node in self.nodes.values())
		owner = self.killOne('knows_its_nodes', f'-XdockerNodes={addresses}')
		for node in self.nodes.values():
			self.eventually(lambda: node.named(owner) == [], f'nothing is left on node {node.number}', 20)

		owner = self.killOne('knows_none')
		self.eventually(lambda: self.nodes[1].named(owner) == [], 'nothing is left on node 1', 20)
		for node in (self.nodes[2], self.nodes[3]):
			# Swarm itself ends the containers; it has no idea of volumes.
			self.eventually(lambda: [each.split()[0] for each in node.named(owner)] == ['volume'], f'a volume is left on node {node.number}', 40)
			would = self.collect(node, '--dry-run')
			self.assertThat('owner in would', owner=owner, would=would)
			self.collect(node)
			self.assertThat('left == []', left=node.named(owner))

	def killOne(self, name, *arguments):
		"""Kills a run that has something on all nodes; returns what is in the names of all of it."""
		folder = pathlib.Path(self.output, name)
		(folder / 'test').mkdir(parents=True)
		(folder / 'pysysproject.xml').write_text(PROJECT)
		(folder / 'test' / 'pysystest.py').write_text(TEST)
		(folder / 'test' / 'stack.yml').write_text(pathlib.Path(self.input, 'stack.yml').read_text())
		with open(folder / 'run.txt', 'w') as said:
			run = subprocess.Popen([sys.executable, '-m', 'pysys', 'run', *arguments], cwd=folder, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)}, start_new_session=True)
		try:
			self.eventually(lambda: 'Started busy' in (folder / 'run.txt').read_text() or run.poll() is not None, f'{name} has all that it wants', 60)
			owner = Owner(scope=this_domain().scope, pid=run.pid, start=start_of_process(run.pid)).key
			for node in self.nodes.values():
				kinds = {each.split()[0] for each in node.named(owner)}
				self.assertThat('kinds >= {"container", "volume", "network"}', kinds=kinds, node=node.number)
		finally:
			run.kill()
			run.wait()
		return owner

	def collect(self, node, *arguments):
		code = 'import sys; from pysys_orch.cli import main; sys.exit(main())'
		done = subprocess.run([sys.executable, '-c', code, 'collect', *arguments], env={**os.environ, 'DOCKER_HOST': node.address, 'PYTHONPATH': os.pathsep.join(sys.path)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
		self.log.info('collect on node %s: %s', node.number, done.stdout)
		self.assertThat('status == 0', status=done.returncode)
		return done.stdout
