__pysys_title__ = r""" Live check - the page shows in a browser how cases are, and what has changed a moment ago """
__pysys_purpose__ = r""" A shop in a container ships some orders wrong, another case goes silent, and a third fails with words that a
	browser must not run. The page needs no network but the receiver, and no request of it fails. """

import pathlib
import shutil

from playwright.sync_api import expect, sync_playwright
from pysys.constants import *

from pysys_orch.livecheck import Case, LiveCheck, State
from testcases.livecheck.shop import Checkout, ShopTest

NASTY = '<script>document.title = "run"</script>'
MOMENT = 15_000  # milliseconds


class Payment(Case):
	async def run(self, *, is_paid):
		assert is_paid, NASTY


class PySysTest(ShopTest):
	def execute(self):
		app = LiveCheck('shop')
		app.add_case(Checkout, max_consecutive_failures=1000)
		app.add_case(Payment, max_consecutive_failures=2)
		app.add_case(Payment, name='Silent', warn_stalled_after=1)
		self.live = self.startLiveCheck(app=app)
		self.shop = self.open(self.live, WRONG_EVERY='10', ORDERS='40')
		self.live.waitForCount(Checkout, n=40)
		self.live.waitUntil(lambda: self.live.case('Silent').status is State.STALL, what='silence')
		self.pay('p-1', is_paid=True)
		with sync_playwright() as playwright:
			chromium = shutil.which('chromium')
			if chromium is None:
				self.abort(BLOCKED, 'There is no chromium on the PATH: scripts/test installs it')
			# Those who run in a container are root, where it has no sandbox.
			browser = playwright.chromium.launch(executable_path=chromium, args=['--no-sandbox'])
			try:
				self.look(browser.new_page(viewport={'width': 1280, 'height': 900}))
			finally:
				browser.close()

	def pay(self, order, **kwargs):
		self.live.call(self.live.case('Payment').trigger(order, **kwargs))

	def look(self, page):
		problems, hosts = [], set()
		page.on('pageerror', lambda error: problems.append(str(error)))
		page.on('console', lambda said: problems.append(said.text) if said.type == 'error' else None)
		page.on('request', lambda request: hosts.add(request.url.split('/')[2]))
		page.on('requestfailed', lambda request: problems.append(f'{request.url} failed'))
		page.goto(self.live.url)

		def case(name):
			return page.locator(f'article[data-case="{name}"]')

		expect(page.locator('article[data-case]')).to_have_count(3, timeout=MOMENT)
		expect(page.locator('body')).to_have_attribute('data-live', 'yes', timeout=MOMENT)
		expect(case('Payment')).to_have_attribute('data-state', 'PASS')
		expect(case('Silent')).to_have_attribute('data-state', 'STALL')
		expect(case('Silent')).to_have_attribute('data-condition', 'stalled')
		expect(case('Silent').locator('[data-why]')).to_contain_text('no test for')
		expect(case('Checkout').locator('[data-signal="order_sent"]')).to_be_visible()
		expect(case('Checkout').locator('[data-failure="10"]')).to_have_count(1)
		page.screenshot(path=pathlib.Path(self.output, 'before.png'), full_page=True)

		# What happens now is seen without anybody asking.
		self.pay('p-2', is_paid=False)
		expect(case('Payment')).to_have_attribute('data-state', 'FAIL', timeout=MOMENT)
		expect(case('Payment')).to_have_attribute('data-condition', 'healthy')
		self.pay('p-3', is_paid=False)
		expect(case('Payment')).to_have_attribute('data-condition', 'failing', timeout=MOMENT)
		case('Payment').locator('details.failures > summary').click()
		failure = case('Payment').locator('[data-failure="p-3"]')
		failure.locator('summary').click()
		expect(failure.locator('[data-traceback]')).to_contain_text('assert is_paid, NASTY', timeout=MOMENT)
		expect(failure).to_contain_text(NASTY)
		page.screenshot(path=pathlib.Path(self.output, 'after.png'), full_page=True)
		self.title, self.problems, self.hosts = page.title(), problems, hosts

	def validate(self):
		self.assertThat('problems == []', problems=self.problems)
		self.assertThat('"run" != title', title=self.title)
		self.assertThat('hosts == {host}', hosts=self.hosts, host=self.live.url.rpartition('/')[2])
		for name in ('before.png', 'after.png'):
			self.assertThat('size > 10_000', size=pathlib.Path(self.output, name).stat().st_size)
