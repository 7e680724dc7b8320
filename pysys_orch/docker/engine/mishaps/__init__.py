"""What can happen to containers: each looks, begins, and says whether it is in force.

How each is undone is a matter of `healing`, which also the reaper knows.
"""

from pysys_orch.docker.engine.mishaps.membership import Disconnect
from pysys_orch.docker.engine.mishaps.mishap import Mishap, Remedies, Target
from pysys_orch.docker.engine.mishaps.packets import Partition, Slow
from pysys_orch.docker.engine.mishaps.resources import Fill, Squeezed
from pysys_orch.docker.engine.mishaps.wholes import Kill, Pause, Restart, require_end

__all__ = [
    "Disconnect",
    "Fill",
    "Kill",
    "Mishap",
    "Partition",
    "Pause",
    "Remedies",
    "Restart",
    "Slow",
    "Squeezed",
    "Target",
    "require_end",
]
