"""What calls a test's own code may want errors itself, and not as outcomes."""

from __future__ import annotations

from contextvars import ContextVar

#: Whether what is called here is to raise its errors, since its caller decides what
#: becomes of them. Otherwise they are outcomes of the test at once.
IS_RAISED: ContextVar[bool] = ContextVar("IS_RAISED", default=False)
