"""The nodes of `scripts/lab`, for tests that look at them, kill them and cut them off from each other."""

import os
import pathlib
import subprocess
import time
import urllib.parse

import pysys.basetest
from pysys.constants import *

from pysys_orch.docker import DockerTestHelper
from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.errors import DockerError

LAB = pathlib.Path(__file__).parents[2] / 'scripts' / 'lab'
BUSYBOX = 'pysys-orch-test/busybox:1'
#: How a node is named where a service says for itself where it runs.
ON_ITS_NODE = '--hostname={{.Node.Hostname}}'


def lacking(addresses):
	"""Returns why the nodes with these addresses are no whole lab, in words; nothing if they are."""
	engines, lacks = {}, []
	for number, address in enumerate(addresses, 1):
		try:
			engines[number] = ApiEngine.connect({'DOCKER_HOST': address}, timeout=2)
		except DockerError as failure:
			lacks.append(f'node {number}: {failure}')
	try:
		states = {each['ID']: each['Status']['State'] for each in engines[1].list_nodes()} if 1 in engines else {}
		for number, engine in engines.items() if states else ():
			state = states.get(engine.own_node(), 'not in the swarm')
			if state != 'ready':
				lacks.append(f'node {number} is {state}')
	except DockerError as failure:
		lacks.append(str(failure))
	return lacks


class Node:
	"""
	@ivar number: What `scripts/lab` calls it; node 1 is the manager.
	@ivar address: Of its engine, for DOCKER_HOST.
	@ivar host: Where its published ports are.
	@ivar id: What the swarm calls it.
	@ivar name: Its host name.
	"""

	def __init__(self, number, address):
		self.number = number
		self.address = address
		self.engine = ApiEngine.connect({'DOCKER_HOST': address})
		self.host = urllib.parse.urlsplit(address).hostname
		self.id = self.engine.own_node()
		self.name = self.engine.info()['Name']

	def named(self, part):
		"""Returns what is on its engine with this in its name: strings such as `volume po...-data`."""
		return sorted(str(each.resource) for each in self.engine.listing(dated=False) if part in each.resource.name)


class LabTest(DockerTestHelper, pysys.basetest.BaseTest):
	"""A test on the lab. Whatever it does to nodes and cables is undone at its end."""

	def setup(self):
		super().setup()
		addresses = os.environ.get('PYSYS_ORCH_LAB', '').split()
		if not addresses:
			self.abort(BLOCKED, 'there is no lab: start it by  eval "$(scripts/lab)"')
		self.requireWhole(addresses)
		self.isHarmed = False
		# Before anything else is, so that it is undone last: what the test has on the lab goes by way of the nodes.
		self.addCleanupFunction(self.mend)
		self.nodes = {number: Node(number, address) for number, address in enumerate(addresses, 1)}
		self.manager = self.nodes[1].engine

	def requireWhole(self, addresses, timeout=30):
		"""Waits until the lab is whole, which a test before may have left in pieces."""
		begin = time.monotonic()
		while lacks := lacking(addresses):
			if time.monotonic() - begin > timeout:
				self.abort(BLOCKED, f'the lab is not whole, mend it by  scripts/lab start :  {"; ".join(lacks)}')
			self.pollWait(0.1)

	# What is done to nodes

	def kill(self, number):
		self.isHarmed = True
		self.lab('kill', number)

	def revive(self, number):
		self.lab('revive', number)

	def cut(self, one, other):
		self.isHarmed = True
		self.lab('cut', one, other)

	def heal(self):
		self.lab('heal')

	def mend(self):
		if not self.isHarmed:
			return
		# A manager that has lost a worker and found it again may refuse to read its logs from then on (release 26.1).
		# One that begins anew has nothing to confuse.
		self.lab('kill', 1)
		self.lab('start')
		for number in self.nodes:
			self.waitForNode(number, 'ready')

	def lab(self, *arguments):
		done = subprocess.run([LAB, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
		self.log.info('lab %s: %s', ' '.join(map(str, arguments)), done.stdout.strip() or 'done')
		if done.returncode:
			raise RuntimeError(f'scripts/lab {arguments} failed: {done.stdout}')

	# What is seen of them

	def waitForNode(self, number, state, timeout=30):
		"""Waits until the manager takes a node for 'ready' or 'down'; returns after how many seconds it did."""
		return self.eventually(lambda: self.stateOf(number) == state, f'node {number} is {state}', timeout)

	def stateOf(self, number):
		return {each['ID']: each['Status']['State'] for each in self.manager.list_nodes()}[self.nodes[number].id]

	def places(self, service):
		"""Returns the numbers of the nodes on which the tasks of a service run, sorted."""
		numbers = {node.id: number for number, node in self.nodes.items()}
		return sorted(numbers[each['NodeID']] for each in service.getTasks() if each['Status']['State'] == 'running' and each['DesiredState'] == 'running')

	def eventually(self, condition, what, timeout):
		begin = time.monotonic()
		while not condition():
			if time.monotonic() - begin > timeout:
				self.abort(TIMEDOUT, f'{what}: not within {timeout} s')
			self.pollWait(0.1)
		self.log.info('%s after %.1f s', what, time.monotonic() - begin)
		return time.monotonic() - begin

	def ask(self, address, path='/'):
		"""Returns what a web server at an address answers."""
		import requests
		with requests.Session() as session:
			session.trust_env = False
			return session.get(f'http://{address[0]}:{address[1]}{path}', timeout=5).text
