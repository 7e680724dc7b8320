__pysys_title__ = r""" Live check - a container that goes silent has stalled, though all its orders were shipped """
__pysys_purpose__ = r""" """

from pysys.constants import *

from pysys_orch.livecheck import LiveCheck, State
from testcases.livecheck.shop import Checkout, ShopTest

ORDERS = 5


class PySysTest(ShopTest):
	def execute(self):
		app = LiveCheck('shop')
		case = app.add_case(Checkout, warn_stalled_after=5)
		self.live = self.startLiveCheck(app=app)
		self.open(self.live, ORDERS=str(ORDERS))
		self.live.waitForCount(Checkout, State.PASS, ORDERS)
		self.live.waitUntil(lambda: case.status is State.STALL, what='silence')

	def validate(self):
		self.assertJudged(self.live, TIMEDOUT, r'^Checkout: stalled: no test for \d\S* s \(max=5\), see livecheck/Checkout.jsonl:\d+$')
