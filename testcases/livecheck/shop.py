"""What the tests beside it share: a shop in a container, and what is to hold of it."""

from pysys.constants import *

from pysys_orch.docker import DockerTestHelper
from pysys_orch.livecheck import Case, LiveCheckTest, Signal

# Nothing but a shell and busybox's wget: any language will do.
SHOP = r"""
post() { wget -q -O /dev/null --post-data "$2" "$LIVECHECK_URL/$1" || echo "could not post $2"; }
order=0
while [ $order -lt ${ORDERS:-1000000} ]; do
	order=$((order + 1))
	paid=$order
	[ "$((order % ${WRONG_EVERY:-1000000}))" != 0 ] || paid=0
	post trigger '{"case": "Checkout", "id": "'$order'", "kwargs": {"amount": '$order'}}'
	post signal '{"case_name": "Checkout", "signal_name": "order_sent", "key": "'$order'", "value": '$paid'}'
	post signal '{"case_name": "Checkout", "signal_name": "order_shipped", "key": "'$order'", "value": "by ship"}'
	echo "shipped $order"
done
exec sleep 3600
"""


class Checkout(Case):
	order_sent: Signal[int]
	order_shipped: Signal[str]

	async def run(self, *, amount):
		paid = await self.order_sent.wait(timeout=30)
		assert paid == amount, f'{paid} was paid instead of {amount}'
		await self.order_shipped.wait(timeout=30)


class ShopTest(DockerTestHelper, LiveCheckTest):
	def open(self, live, **env):
		"""Opens a shop in a container."""
		env = {'LIVECHECK_URL': live.urlForContainers, **env}
		shop = self.docker.container('pysys-orch-test/busybox:1', 'shop', env=env)
		return shop.run(['sh', '-c', SHOP]).log('shop')

	def assertJudged(self, live, outcome, expr, **options):
		"""Checks what becomes of the test, and takes it back: that is what is tested here."""
		if self.getOutcome().isFailure():
			self.abort(BLOCKED, 'Something else has failed before')
		self.assertLiveCheck(live, **options)
		found, reason = self.getOutcome(), self.getOutcomeReason()
		self.addOutcome(PASSED, 'This is what was to come of it', override=True)
		self.assertThat('found == outcome', found=found, outcome=outcome)
		self.assertThat('re.search(expr, reason)', expr=expr, reason=reason)
