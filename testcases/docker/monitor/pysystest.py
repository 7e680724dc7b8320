__pysys_title__ = r""" Docker - what containers take is sampled at a steady rate, whatever becomes of them """
__pysys_purpose__ = r""" """

import csv
import pathlib

import pysys.basetest
from pysys.constants import *

import pysys_orch.docker
from pysys_orch.docker import DockerMonitor

BUSYBOX = 'pysys-orch-test/busybox:1'
BUSY = ['sh', '-c', 'while :; do :; done']
#: Has soon used more CPU in its second life than in all of its first one.
LAZY = ['sh', '-c', '[ ! -e /tmp/lived ] || while :; do :; done; touch /tmp/lived; exec sleep 600']
INTERVAL = 0.25


class PySysTest(pysys_orch.docker.DockerTestHelper, pysys.basetest.BaseTest):
	def execute(self):
		late = self.docker.container(BUSYBOX, 'late')
		holder = self.docker.container(BUSYBOX, 'holder')
		with DockerMonitor(self, [holder, late], interval=f'{INTERVAL}s') as monitor:
			same = monitor.add(holder)
			self.assertThat('same is monitor', same=same, monitor=monitor)
			busy = self.docker.container(BUSYBOX, 'busy').run(BUSY, extraArgs=['--cpus=0.2'])
			# 8 MB in memory that cannot be given back, within 32.
			fill = 'dd if=/dev/zero of=/dev/shm/file bs=1000000 count=8; exec sleep 600'
			holder.run(['sh', '-c', fill], extraArgs=['--memory=32m'])
			ended = self.docker.container(BUSYBOX, 'ended').run(['sh', '-c', 'while [ ! -e /tmp/go ]; do sleep 0.1; done; exit 3'])
			removed = self.docker.container(BUSYBOX, 'removed').run(['sleep', '600'])
			# Sends and gets back 1 KB ten times in a second; the other one has nobody to talk to.
			gateway = busy.inspect()['NetworkSettings']['Gateway']
			talker = self.docker.container(BUSYBOX, 'talker').run(['sh', '-c', f'sleep 1; exec ping -i 0.1 -s 1000 {gateway}'])
			lonely = self.docker.container(BUSYBOX, 'lonely').run(['sleep', '600'], extraArgs=['--network=none'])
			monitor.add(busy, ended).add([removed, talker, lonely])
			self.waitForRows(monitor, 'ended', 1)
			ended.exec(['touch', '/tmp/go'])
			self.waitForRows(monitor, 'removed', 3)
			for each in removed.resources():
				removed.engineInUse().remove(each)
			self.waitForRows(monitor, 'busy', 12)
			self.waitForRows(monitor, 'talker', 12)
			late.run(['sleep', '600'])
			self.waitForRows(monitor, 'late', 2)
			busy.restart(timeout=0)
			before = len(self.rows(monitor, 'busy'))
			self.waitForRows(monitor, 'busy', before + 3)
		lazy = self.docker.container(BUSYBOX, 'lazy').run(LAZY)
		with self.docker.monitor(lazy, interval=1.5, file='lazy') as self.lazily:
			self.waitForRows(self.lazily, 'lazy', 1)
			lazy.restart(timeout=0)
			self.waitForRows(self.lazily, 'lazy', 4)
		self.monitor = monitor
		count = len(self.rows(monitor))
		monitor.stop()
		self.assertThat('rows == count', rows=len(self.rows(monitor)), count=count)

	def rows(self, monitor, name=None):
		with open(monitor.getFile(), newline='') as file:
			return [row for row in csv.DictReader(file) if name in (None, row['container'])]

	def waitForRows(self, monitor, name, number):
		for _ in range(600):
			if len(self.rows(monitor, name)) >= number:
				return
			self.pollWait(0.05)
		self.abort(TIMEDOUT, f'{name} has not had {number} samples')

	def validate(self):
		figures = self.monitor.getFigures()
		self.assertThat('5 < p50 < 25', p50=figures['busy']['cpu_p50'])
		self.assertThat('p50 <= p90 <= p99 <= most', **{key: figures['busy'][f'cpu_{key}'] for key in ('p50', 'p90', 'p99')}, most=figures['busy']['cpu_max'])
		self.assertThat('8e6 < memory < 12e6', memory=figures['holder']['memory_max'])

		for which in ('tx', 'rx'):
			self.assertThat('p50 < 40000 and 1000 < most', p50=figures['talker'][f'{which}_p50'], most=figures['talker'][f'{which}_max'])
		self.assertThat('silent', silent=not {'rx_max', 'tx_max'} & set(figures['lonely']))
		self.assertGrep('run.log', r'monitor talker: network sent p50 *= .*bytes/s')
		self.assertGrep('run.log', 'monitor lonely: network', contains=False)

		rows = self.rows(self.monitor)
		self.assertThat('names == expected', names={row['container'] for row in rows}, expected={'busy', 'holder', 'ended', 'removed', 'late', 'talker', 'lonely'})
		self.assertThat('limits == {"33554432"}', limits={row['memory_limit_bytes'] for row in self.rows(self.monitor, 'holder')})
		self.assertThat('0 < received', received=int(self.rows(self.monitor, 'busy')[-1]['rx_bytes']))
		# None, or those of what starts it, in the middle of a start.
		pids = [row['pids'] for row in self.rows(self.monitor, 'busy')]
		self.assertThat('pids.count("1") >= len(pids) - 3', pids=pids)
		# Each sample has its place, however late it came.
		ticks = [float(row['seconds']) / INTERVAL for row in self.rows(self.monitor, 'busy')]
		self.assertThat('all(each == round(each) for each in ticks)', ticks=ticks)
		self.assertThat('ticks == sorted(set(ticks))', ticks=ticks)
		# After a restart there is nothing to compare with, nor with what was seen in the middle of it.
		for name, monitor in [('busy', self.monitor), ('lazy', self.lazily)]:
			unknown = [row['cpu_percent'] for row in self.rows(monitor, name)].count('')
			self.assertThat('2 <= unknown <= 3', unknown=unknown, name=name)

		self.logFileContents('monitor.csv', maxLines=5)
		for words in [r'While it was monitored, ended exited with exit code 3', r'While it was monitored, removed was removed', r'busy +\d+ +\d+\.\d']:
			self.assertGrep('run.log', words)
		self.assertGrep('run.log', 'While it was monitored, (busy|holder|late|lazy)', contains=False)
