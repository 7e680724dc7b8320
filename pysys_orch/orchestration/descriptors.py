"""Finds descriptions, and has PySys take each for a test."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pysys.config.descriptor import DescriptorLoader, TestDescriptor
from pysys.utils.fileutils import fromLongPathSafe

from pysys_orch.orchestration.documents import name_of

_OWN_TESTS = ("pysystest.", "run.py")
_TEST = "pysys_orch.orchestration.testcase.DescribedTest"


class OrchestrationLoader(DescriptorLoader):
    """Makes each ``*.orch.json``, ``*.orch.yaml`` or ``*.orch.yml`` a test.

    Either as ``<descriptor-loader-plugin>`` in the ``<pysysdirconfig>`` of a project or
    of a directory, or as the ``<descriptor-loader>`` of the project. What is in a
    directory that has a test of its own belongs to that test.

    Args:
        project: The project, if it is the loader and no plugin.
    """

    def __init__(self, project: Any = None, **kwargs: Any) -> None:
        if project is not None:
            super().__init__(project, **kwargs)

    def setup(self, project: Any, **kwargs: Any) -> None:
        """Be a plugin of a project."""
        del kwargs
        self.project = project

    def addDescriptorsFromDirectory(
        self,
        dir: str,  # noqa: A002 -- PySys calls it so
        subdirs: list[str],
        files: list[str],
        parentDirDefaults: Any,
        descriptors: list[Any],
        **kwargs: Any,
    ) -> bool:
        """Add a test for each description in a directory.

        Returns:
            False: others may find tests there, too.
        """
        del subdirs, kwargs
        if any(each.startswith(_OWN_TESTS) for each in files):
            return False
        for file in sorted(files):
            name = name_of(Path(file))
            if name is not None:
                path = fromLongPathSafe(os.path.join(dir, file))  # noqa: PTH118 -- long
                descriptors.append(_descriptor(path, name, parentDirDefaults))
        return False

    def _handleSubDirectory(
        self,
        dir: str,  # noqa: A002 -- PySys calls it so
        subdirs: list[str],
        files: list[str],
        descriptors: list[Any],
        parentDirDefaults: Any,
        **kwargs: Any,
    ) -> bool:
        self.addDescriptorsFromDirectory(
            dir, subdirs, files, parentDirDefaults, descriptors
        )
        handled: bool = super()._handleSubDirectory(
            dir, subdirs, files, descriptors, parentDirDefaults, **kwargs
        )
        return handled


def _descriptor(path: str, name: str, defaults: Any) -> Any:
    return TestDescriptor(
        file=path,
        id=defaults.id + name,
        title=f"Orchestration - {name}",
        groups=list(defaults.groups),
        modes=defaults.modes,
        classname=_TEST,
        module="PYTHONPATH",
        input=defaults.input,
        # Several tests share a directory.
        output=os.path.join(defaults.output, name),  # noqa: PTH118 -- PySys has texts
        reference=defaults.reference,
        traceability=defaults.traceability,
        executionOrderHint=defaults.executionOrderHint,
        skippedReason=defaults.skippedReason,
        userData={**defaults.userData, "orchestrationFile": path},
    )
