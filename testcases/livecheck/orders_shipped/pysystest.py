__pysys_title__ = r""" Live check - a container that posts its signals with busybox wget passes """
__pysys_purpose__ = r""" It reaches the receiver at the gateway of its network, with the token in the URL; without the token
	it answers nothing there but 401. """

import json
import pathlib
import urllib.error
import urllib.request

from pysys.constants import *

from testcases.livecheck.shop import Checkout, ShopTest

ORDERS = 50


class PySysTest(ShopTest):
	def execute(self):
		self.live = self.startLiveCheck(cases=[Checkout])
		self.open(self.live, ORDERS=str(ORDERS))
		network = self.docker.network()
		env = {'LIVECHECK_URL': self.live.urlFor(network), 'ORDERS': '1'}
		elsewhere = self.docker.container('pysys-orch-test/busybox:1', 'elsewhere', env=env, network=network)
		elsewhere.run(['sh', '-c', 'wget -q -O - $LIVECHECK_URL/cases']).log('elsewhere')
		elsewhere.waitForExit()
		self.live.waitForCount(Checkout, 'PASS', ORDERS)
		self.live.waitForIdle()
		address = self.live.urlForContainers.rpartition('@')[2]
		try:
			urllib.request.urlopen(f'http://{address}/cases', timeout=10)
		except urllib.error.HTTPError as failure:
			self.status = failure.code

	def validate(self):
		self.assertLiveCheck(self.live, thresholds={'Checkout.executed': f'=={ORDERS}', '*.runtime_p99_ms': '<10000'})
		self.assertGrep('shop.out', 'could not post', contains=False)
		self.assertThat('status == 401', status=self.status)
		cases = json.loads(pathlib.Path(self.output, 'elsewhere.out').read_text())['cases']
		self.assertThat('names == ["Checkout"]', names=[each['name'] for each in cases])
		self.assertLineCount('livecheck/Checkout.jsonl', '"state": "PASS"', condition=f'=={ORDERS}')
