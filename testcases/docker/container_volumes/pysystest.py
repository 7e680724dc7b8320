__pysys_title__ = r""" Docker - files and folders of the host are shared with a container, for the same user """
__pysys_purpose__ = r""" """

import os
import pathlib

from pysys.basetest import BaseTest
from pysys.constants import *

from pysys_orch.docker import DockerContainer, DockerImage

SCRIPT = 'cat /in/file /one.txt; echo from the container > /in/answer; mkdir /in/folder; touch /in/folder/inside'


class PySysTest(BaseTest):
	def execute(self):
		image = DockerImage.fromExisting(self, 'pysys-orch-test/busybox:1')
		single = pathlib.Path(self.output, 'single file')
		single.write_text('and a single file\n')
		# With docker's own parser of arguments and without it; names may hold what is special to it.
		for name, extra in [('api', None), ('client', ['--hostname=here'])]:
			folder = pathlib.Path(self.output, f'a folder, "{name}":1' if extra is None else f'a folder, {name}')
			folder.mkdir()
			(folder / 'file').write_text(f'the folder of {name}\n')
			container = DockerContainer.fromImage(image, name)
			returned = container.volumeFromHost(str(folder), '/in').volumeFromHost(str(single), '/one.txt')
			self.assertThat('returned is container', returned=returned, container=container)
			container.run(['sh', '-c', SCRIPT], extraArgs=extra, foreground=True)

			said = pathlib.Path(self.output, f'docker_run_{name}.out').read_text()
			self.assertThat('said == expected', said=said, expected=f'the folder of {name}\nand a single file\n')
			self.assertThat('answer == "from the container\\n"', answer=(folder / 'answer').read_text())
			# Or else the next run could not remove what it finds in the output directory.
			for each in ('answer', 'folder', 'folder/inside'):
				status = (folder / each).stat()
				self.assertThat('(uid, gid) == me', uid=status.st_uid, gid=status.st_gid, me=(os.getuid(), os.getgid()), path=each)
