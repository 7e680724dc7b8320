__pysys_title__ = r""" Orchestration - Redis is written to, while its replica is restarted again and again """
__pysys_purpose__ = r""" A description of which the methods of the test are the events, on containers that the test has started. """

import json
import pathlib
import socket

from pysys.constants import *

from pysys_orch.docker import DockerTestHelper
from pysys_orch.orchestration import OrchestrationTest, fixture


class Redis:
	"""As much of a client as is needed: one command after the other, on one connection."""

	def __init__(self, port):
		self.socket = socket.create_connection(('127.0.0.1', port), timeout=10)
		self.answers = self.socket.makefile('r', encoding='ascii', newline='\r\n')

	def __call__(self, command):
		self.socket.sendall(f'{command}\r\n'.encode())
		answer = self.answers.readline().strip()
		if answer.startswith('-'):
			raise RuntimeError(f'{command}: {answer}')
		return answer[1:]

	def close(self):
		self.answers.close()
		self.socket.close()


class PySysTest(DockerTestHelper, OrchestrationTest):
	def execute(self):
		network = self.docker.network()
		server = ['redis-server', '--bind', '0.0.0.0', '--protected-mode', 'no', '--save', '', '--dir', '/tmp', '--repl-diskless-sync-delay', '0']
		self.primary = self.docker.container('pysys-orch-test/debian:1', 'primary', ports=[6379], network=network)
		self.primary.run(server).waitForPort(6379)
		self.replica = self.docker.container('pysys-orch-test/debian:1', 'replica', ports=[6379], network=network)
		self.replica.run([*server, '--replicaof', 'primary', '6379']).waitForLog('sync: Finished with success')
		self.written = 0
		self.report = self.orchestrate('redis_soak.orch.json')

	@fixture
	def redis(self):
		client = Redis(self.primary.getExternalPort(6379))
		yield client
		client.close()
		self.log.info('The connection was closed')

	# Events.

	def write(self, redis, prefix):
		redis(f'SET {prefix}{self.written} value')
		self.written += 1

	def restart_replica(self):
		self.replica.restart(timeout=0)

	def read_replica(self, kill_switch):
		"""Wait until all is there that was when it began."""
		expected = self.written
		while not kill_switch.is_set():
			try:
				replica = Redis(self.replica.getExternalPort(6379))
				found = int(replica('DBSIZE'))
				replica.close()
				if found >= expected:
					return
			except (OSError, ValueError, RuntimeError):
				pass  # it is starting, or loading what there is
			kill_switch.wait(0.05)

	def collect_report(self, redis, test):
		# Redis waits, for at most 10 seconds, until its replica has confirmed what was written.
		report = {'written': self.written, 'keys': int(redis('DBSIZE')), 'replicas': int(redis('WAIT 1 10000'))}
		pathlib.Path(test.output, 'report.json').write_text(json.dumps(report))

	def validate(self):
		report = json.loads(pathlib.Path(self.output, 'report.json').read_text())
		self.assertThat('report == {"written": 300, "keys": 300, "replicas": 1}', report=report)
		lines = [json.loads(line) for line in pathlib.Path(self.output, 'orchestration.jsonl').read_text().splitlines()]
		fired = [each for each in lines if each.get('event') == 'write']
		self.assertThat('ordinals == expected', ordinals=sorted(each['ordinal'] for each in fired), expected=list(range(1, 301)))
		restarts = [each['outcome'] for each in lines if each.get('event') == 'restart_replica']
		self.assertThat('restarts == ["ok"] * 3', restarts=restarts)
		self.assertThat('reads == 3', reads=sum(each.get('event') == 'read_replica' for each in lines))
		self.assertGrep('run.log', 'The connection was closed')
