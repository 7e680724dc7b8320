__pysys_title__ = r""" Docker on several nodes - a node loses its power, its tasks are started on the others, and it comes back """
__pysys_purpose__ = r""" """
__pysys_groups__ = "lab"

from pysys.constants import *

from testcases.lab.nodes import BUSYBOX, LabTest, lacking

SERVE = ['sh', '-c', 'echo here; hostname > /tmp/index.html; exec httpd -f -p 8000 -h /tmp']


class PySysTest(LabTest):
	def execute(self):
		spread = ['--placement-pref=spread=node.labels.lab', '--stop-grace-period=0s', '--hostname={{.Node.Hostname}}.{{.Task.Slot}}']
		service = self.docker.service(BUSYBOX, 'web').exposePort(8000)
		service.run(SERVE, extraArgs=spread, replicas=3).waitForHttp(8000).log('web')
		self.assertThat('places == [1, 2, 3]', places=self.places(service))
		self.waitForGrep('web.out', '^here$', condition='==3', timeout=20)

		self.kill(3)
		self.waitForNode(3, 'down')
		lacks = lacking([each.address for each in self.nodes.values()])
		self.assertThat('len(lacks) == 1 and lacks[0].startswith(expected)', lacks=lacks, expected=f'node 3: no Docker Engine answers at {self.nodes[3].address}')
		service.waitForReplicas(timeout=30)
		places = self.places(service)
		self.assertThat('3 not in places', places=places)
		self.assertThat('len(places) == 3', places=places)
		self.answers(service, 3)
		self.waitForGrep('web.out', '^here$', condition='==4', timeout=20)

		# The others are enough to change it meanwhile.
		service.scale(5, timeout=30)
		self.answers(service, 5)

		# It comes back, and ends what others do by now.
		self.revive(3)
		self.waitForNode(3, 'ready')
		running = lambda: [each for each in self.nodes[3].engine.task_containers(service.getName()) if self.nodes[3].engine.inspect_container(each.id)['State']['Running']]
		self.eventually(lambda: running() == [], 'nothing runs on node 3', 20)
		service.scale(9, timeout=30)
		self.assertThat('3 in places', places=self.places(service))
		self.answers(service, 9)

	def answers(self, service, replicas):
		names = []
		for slot in range(1, replicas + 1):
			address = service.getExternalAddress(8000, slot)
			service.waitForHttp(8000)
			names.append(self.ask(address).strip())
		self.assertThat('len(set(names)) == replicas', names=names, replicas=replicas)
