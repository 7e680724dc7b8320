"""Events and fixtures of a description that is a test by itself."""

import multiprocessing
import pathlib
import queue

from pysys_orch.orchestration import ResultReporter, fixture


class VideoPlayer:
	"""Plays in a process of its own, as players do."""

	def play(self, path, kill_switch, result_reporter):
		player = multiprocessing.Process(target=play, args=(path, kill_switch, result_reporter.results))
		player.start()
		player.join()


def play(path, kill_switch, results):
	results.put(f'played {path}')
	kill_switch.wait(0.1)


class Reporter(ResultReporter):
	"""Counts, instead of logging."""

	seen = 0

	def on_result(self):
		try:
			self.results.get_nowait()
		except queue.Empty:
			return
		self.seen += 1


@fixture
def result_reporter(report_queue):
	return Reporter(report_queue)


@fixture
def video_player(test):
	yield VideoPlayer()
	test.log.info('The player was put away')


@fixture
def device_with_collectd(test):
	test.log.info('The device is there')


def start_playback(video_player, video_path, kill_switch, result_reporter):
	video_player.play(video_path, kill_switch, result_reporter)


def start_streamer(kill_switch):
	if not kill_switch.wait(60):
		raise TimeoutError('nobody has told the streamer to end')


def collect_system_report(test, result_reporter, clock):
	# What was put in before is handled, sooner or later.
	until = clock.instant() + 30
	while result_reporter.seen < 4 and clock.instant() < until:
		test.pollWait(0.01)
	pathlib.Path(test.output, 'report.txt').write_text(f'{result_reporter.seen} played\n')
	test.assertGrep('report.txt', '^4 played$')
