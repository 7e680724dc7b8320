"""What live checks raise.

```text
OrchError
└── LiveCheckError
    ├── MessageError            what came from outside is nothing that is understood
    ├── LiveCheckTestFailed     something that has to hold did not
    ├── LiveCheckTestRaised     a test raised something else
    ├── LiveCheckTestTimeout    a signal did not come in time
    ├── LiveCheckTestSkipped    a test is not to run, or is not to go on
    └── SuiteFailed             too many tests of a case failed
        ├── SuiteStalled            no test of a case came for too long
        └── ServiceDown             a service did not answer
```
"""

from __future__ import annotations

from pysys_orch.errors import OrchError


class LiveCheckError(OrchError):
    """The root of what live checks raise."""


class MessageError(LiveCheckError):
    """What came from outside is no signal, no execution and no report."""


class LiveCheckTestFailed(LiveCheckError):  # noqa: N818 -- the seed's name
    """Something that has to hold did not; its cause is the AssertionError."""


class LiveCheckTestRaised(LiveCheckError):  # noqa: N818 -- the seed's name
    """A test raised what is no AssertionError; that is its cause."""


class LiveCheckTestTimeout(LiveCheckError):  # noqa: N818 -- the seed's name
    """A signal did not come in time."""


class LiveCheckTestSkipped(LiveCheckError):  # noqa: N818 -- the seed's name
    """A test is not to run: it is expired, or its case is not active."""


class SuiteFailed(LiveCheckError):  # noqa: N818 -- the seed's name
    """Too many tests of a case failed."""


class SuiteStalled(SuiteFailed):
    """No test of a case came for too long."""


class ServiceDown(SuiteFailed):
    """A service did not answer, however often it was asked."""
