__pysys_title__ = r""" Live check - a container that answers wrong now and then fails, unless that is tolerated """
__pysys_purpose__ = r""" A threshold tolerates a tenth of wrong answers; a stricter one does not. """

from pysys.constants import *

from testcases.livecheck.shop import Checkout, ShopTest


class PySysTest(ShopTest):
	def execute(self):
		self.live = self.startLiveCheck(cases=[Checkout])
		self.open(self.live, WRONG_EVERY='10', ORDERS='40')
		self.live.waitForCount(Checkout, n=40)

	def validate(self):
		expr = r'^Checkout: 4 of 40 tests did not pass \(4 FAIL\); the first 10: FAIL: 0 was paid instead of 10, see livecheck/Checkout.jsonl:10$'
		self.assertJudged(self.live, FAILED, expr)
		self.assertLiveCheck(self.live, thresholds={'Checkout.failure_ratio': '<=0.1'})
		self.assertJudged(self.live, FAILED, 'failure_ratio < 0.1 does not hold: it is 0.1', thresholds={'Checkout.failure_ratio': '<0.1'})
