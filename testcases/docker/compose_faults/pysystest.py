__pysys_title__ = r""" Docker - what was done to one service of a composition is not in the way of scaling and starting another """
__pysys_purpose__ = r""" """

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerComposition

IMAGES = {'shop/web': 'pysys-orch-test/busybox:1'}


class PySysTest(BaseTest):
	def execute(self):
		shop = DockerComposition(self, 'shop/docker-compose.yml', IMAGES).up()
		store = shop.getContainer('store')
		store.kill()
		shop.scale('web', 2, timeout=20)
		shop.getContainer('web', 2).stop(timeout=0)
		shop.up(extraArgs=['--no-deps', 'web'], timeout=20)
		self.assertThat('state == "exited"', state=store.getState())
		# Asked for it, compose starts it again.
		shop.up(timeout=20)
		self.assertThat('states == ["running", "running"]', states=[shop.getContainer(each).getState() for each in ('web', 'store')])
