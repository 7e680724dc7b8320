__pysys_title__ = r""" Docker on several nodes - a port that nobody can reach is told, and each node's ports are reached at that node """
__pysys_purpose__ = r""" What the settings say of the engine's host is not said of the other nodes. """
__pysys_groups__ = "lab"

import pathlib

from pysys.constants import *

from testcases.lab.nodes import BUSYBOX, LabTest
from tests.nested import NestedProject

MANAGER = 'manager.invalid'
SERVE = "['sh', '-c', 'exec httpd -f -p 8000 -h /tmp']"
HIDDEN = f"""
web = self.docker.service('{BUSYBOX}', 'web').run({SERVE}, extraArgs=['--mode=global', '--constraint=CONSTRAINT'])
web.waitForPort(8000, timeout=60)
"""
PUBLISHED = f"""
web = self.docker.service('{BUSYBOX}', 'web').exposePort(8000).run({SERVE}, extraArgs=['--mode=global'])
hosts = {{web.getExternalAddress(8000, slot)[0] for slot in (1, 2, 3)}}
self.write_text('hosts.txt', ' '.join(sorted(hosts)))
"""


class PySysTest(LabTest):
	def execute(self):
		project = NestedProject(pathlib.Path(self.output, 'project'))
		# On workers only, on all nodes, and on the manager only, whose containers cannot be reached from here either.
		for name, constraint in [('workers', 'node.role==worker'), ('all', 'node.hostname!=none'), ('manager', 'node.role==manager')]:
			project.test(name, HIDDEN.replace('CONSTRAINT', constraint))
		project.test('published', PUBLISHED)
		project.run(f'-XdockerPublishedHost={MANAGER}', '-j4')
		results = project.results()
		for name in ('workers', 'all', 'manager'):
			self.assertThat('outcome == "BLOCKED"', outcome=results[name].outcome, name=name)
			self.assertThat('reason.startswith("port 8000/tcp of service web was never exposed: call exposePort(8000) before run()")', reason=results[name].reason)
		self.assertThat('outcome == "PASSED"', outcome=results['published'].outcome, reason=results['published'].reason)
		hosts = (results['published'].output / 'hosts.txt').read_text().split()
		self.assertThat('hosts == expected', hosts=hosts, expected=sorted([MANAGER, self.nodes[2].host, self.nodes[3].host]))
