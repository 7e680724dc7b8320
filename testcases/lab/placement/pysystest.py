__pysys_title__ = r""" Docker on several nodes - services run where they are wanted, and answer there """
__pysys_purpose__ = r""" """
__pysys_groups__ = "lab"

from pysys.constants import *

from testcases.lab.nodes import BUSYBOX, ON_ITS_NODE, LabTest

SERVE = ['sh', '-c', 'hostname > /tmp/index.html; exec httpd -f -p 8000 -h /tmp']


class PySysTest(LabTest):
	def execute(self):
		labelled = self.serve('labelled', '--constraint=node.labels.lab==2')
		self.assertThat('places == [2]', places=self.places(labelled))
		self.answers(labelled, 2)
		named = self.serve('named', f'--constraint=node.hostname=={self.nodes[3].name}')
		self.assertThat('places == [3]', places=self.places(named))
		self.answers(named, 3)
		# On the manager's own node, too.
		own = self.serve('own', '--constraint=node.role==manager')
		self.assertThat('places == [1]', places=self.places(own))
		self.answers(own, 1)
		self.assertThat('state == "running"', state=own.getContainer().getState())

		spread = self.serve('spread', '--placement-pref=spread=node.labels.lab', replicas=6)
		self.assertThat('places == [1, 1, 2, 2, 3, 3]', places=self.places(spread))
		# Each replica has an address of its own, and its own node's name.
		addresses = [spread.getExternalAddress(8000, slot) for slot in range(1, 7)]
		self.assertThat('len(set(addresses)) == 6', addresses=addresses)
		names = sorted(self.ask(address).strip() for address in addresses)
		self.assertThat('names == expected', names=names, expected=sorted([each.name for each in self.nodes.values()] * 2))

		everywhere = self.serve('everywhere', '--mode=global')
		self.assertThat('places == [1, 2, 3]', places=self.places(everywhere))

	def serve(self, name, *arguments, **kwargs):
		service = self.docker.service(BUSYBOX, name).exposePort(8000)
		return service.run(SERVE, extraArgs=[ON_ITS_NODE, *arguments], **kwargs).waitForPort(8000).waitForHttp(8000)

	def answers(self, service, number):
		host, port = service.getExternalAddress(8000)
		self.assertThat('host == expected', host=host, expected=self.nodes[number].host)
		self.assertThat('port == expected', port=port, expected=service.getExternalPort(8000))
		self.assertThat('name == expected', name=self.ask((host, port)).strip(), expected=self.nodes[number].name)
