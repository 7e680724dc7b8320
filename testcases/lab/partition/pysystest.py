__pysys_title__ = r""" Docker on several nodes - a worker that its manager cannot reach is replaced, and falls into line when it is back """
__pysys_purpose__ = r""" The cut is between two of three nodes only: what runs on the lost one goes on, and all others reach it. """
__pysys_groups__ = "lab"

from pysys.constants import *

from testcases.lab.nodes import BUSYBOX, ON_ITS_NODE, LabTest

SERVE = ['sh', '-c', 'hostname > /tmp/index.html; exec httpd -f -p 8000 -h /tmp']


class PySysTest(LabTest):
	def execute(self):
		service = self.docker.service(BUSYBOX, 'web').exposePort(8000)
		service.run(SERVE, extraArgs=[ON_ITS_NODE, '--constraint=node.role==worker', '--stop-grace-period=0s'], replicas=2).waitForHttp(8000)
		self.assertThat('places == [2, 3]', places=self.places(service))
		numbers = {node.id: number for number, node in self.nodes.items()}
		slot = next(each['Slot'] for each in service.getTasks() if numbers[each['NodeID']] == 2)
		lost = service.getExternalAddress(8000, slot)

		self.cut(1, 2)
		self.waitForNode(2, 'down')
		self.assertThat('state == "ready"', state=self.stateOf(3))
		service.waitForReplicas(timeout=30)
		self.assertThat('places == [3, 3]', places=self.places(service))
		# Nobody has told the lost node.
		self.assertThat('name == expected', name=self.ask(lost).strip(), expected=self.nodes[2].name)
		self.assertThat('there == 1', there=self.running(2, service))

		self.heal()
		self.waitForNode(2, 'ready')
		self.eventually(lambda: self.running(2, service) == 0, 'node 2 runs no task of its own', 20)
		service.waitForReplicas(timeout=30)
		self.assertThat('places == [3, 3]', places=self.places(service))

	def running(self, number, service):
		engine = self.nodes[number].engine
		containers = engine.task_containers(service.getName())
		return sum(engine.inspect_container(each.id)['State']['Running'] for each in containers)
