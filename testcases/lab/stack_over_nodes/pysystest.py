__pysys_title__ = r""" Docker on several nodes - a stack's services run on all of them, find each other, and are logged """
__pysys_purpose__ = r""" Three replicas on three nodes each fetch something from a service on one of them, through the stack's overlay network. """
__pysys_groups__ = "lab"

from pysys.constants import *

from testcases.lab.nodes import BUSYBOX, LabTest


class PySysTest(LabTest):
	def execute(self):
		stack = self.docker.stack('stack.yml', imageSubst={'shop/web': BUSYBOX}).deploy().log()
		web, store = stack.getService('web'), stack.getService('store')
		self.assertThat('places == [1, 2, 3]', places=self.places(web))
		self.assertThat('places == [3]', places=self.places(store))
		store.waitForLog('^stored$')

		web.waitForPort(80).waitForHttp(80)
		self.assertThat('port == expected', port=stack.getExternalAddress(8080)[1], expected=stack.getExternalPort(8080))
		for slot in (1, 2, 3):
			address = web.getExternalAddress(80, slot)
			node = next(each for each in self.nodes.values() if each.host == address[0])
			self.assertThat('name == expected', name=self.ask(address).strip(), expected=node.name)
			# The store serves one at a time, and is not there for a moment then.
			self.eventually(lambda: self.ask(address, '/cgi-bin/ask').strip() == 'three lamps', f'node {node.number} knows the stock', 20)

		# A line of each, wherever it is; and each also has a file of its own.
		self.waitForGrep('web.out', '^ready$', condition='==3', timeout=10)
		for number in self.nodes:
			self.assertThat('here != []', here=self.nodes[number].named(stack.getName()))
		name = stack.getName()
		stack.down()
		for node in self.nodes.values():
			# What swarm stops elsewhere takes a moment; the volume stays there until the end of the run.
			self.eventually(lambda: [each for each in node.named(name) if not each.startswith('volume')] == [], f'nothing is left on node {node.number}', 20)

