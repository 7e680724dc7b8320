"""What is written down of a container, without the secrets that are in URLs."""

from __future__ import annotations

import re
from collections.abc import Mapping

# As far as the last @ before the path: a password may have one, too.
_USERINFO = re.compile(r"://[^\s/?#\"'<>]*@")


def without_userinfo(found: object) -> object:
    """Return what JSON has, with the userinfo of URLs masked wherever there is one.

    Args:
        found: Anything, as an inspection; it stays as it is.

    Example:
        >>> from pysys_orch.docker.engine.masking import without_userinfo
        >>> without_userinfo({"Env": ["DB=postgresql://me:secret@db/name"]})
        {'Env': ['DB=postgresql://***@db/name']}
    """
    if isinstance(found, str):
        return _USERINFO.sub("://***@", found)
    if isinstance(found, Mapping):
        return {name: without_userinfo(each) for name, each in found.items()}
    if isinstance(found, list | tuple):
        return [without_userinfo(each) for each in found]
    return found
