"""Every error that this package raises on purpose.

```text
OrchError
├── ConfigError               fix what you wrote: an argument, a property, a file
├── StateError                make the file or database usable, or name another one
└── DockerError               something about an engine or what runs on it
    ├── EngineUnreachableError    start an engine, or say where it is
    ├── EngineAnswerError         the engine said no
    │   ├── NotFoundError             it is not there (any more)
    │   └── ConflictError             it is in use, or the name is taken
    ├── SwarmInactiveError        make the engine a manager of a swarm
    ├── ContainerGoneError        it died or was removed while somebody waited for it
    ├── WaitTimeoutError          it did not happen in time
    ├── FaultError                a fault could not be made, or not be healed
    └── CleanupError              some of what was to be removed or healed is not
```

A message fits on one line and says what, which value, and what to do: PySys shows it
as the reason of a test's outcome.
"""

from __future__ import annotations

from collections.abc import Sequence


class OrchError(Exception):
    """The root of all errors of this package."""


class ConfigError(OrchError):
    """What the caller wrote cannot work: an argument, a property or a file."""


class StateError(OrchError):
    """What is to outlive a run cannot be read or written."""


class DockerError(OrchError):
    """The root of what can go wrong with an engine or with what runs on it."""


class EngineUnreachableError(DockerError):
    """No Docker Engine answered.

    Attributes:
        endpoint: Where an engine was expected, without credentials.
        cause: What happened there.
    """

    def __init__(self, endpoint: str, cause: str) -> None:
        self.endpoint = endpoint
        self.cause = cause
        super().__init__(
            f"no Docker Engine answers at {endpoint} ({cause}): "
            "start one, or set DOCKER_HOST"
        )


class EngineAnswerError(DockerError):
    """The engine refused a request.

    Attributes:
        request: What was asked for, in words.
        status: The HTTP status, 4xx or 5xx.
        explanation: The engine's own words.
    """

    def __init__(self, request: str, status: int, explanation: str) -> None:
        self.request = request
        self.status = status
        self.explanation = explanation
        super().__init__(f"{request}: {explanation} (HTTP {status})")


class NotFoundError(EngineAnswerError):
    """What was asked for is not there, or not any more."""


class ConflictError(EngineAnswerError):
    """What was asked for is in use, or its name is taken."""


class SwarmInactiveError(DockerError):
    """The engine manages no swarm.

    Attributes:
        endpoint: Where the engine is, without credentials.
        works: Whether it takes part in a swarm that others manage.
        product: What it is, with its version, if such engines know no swarm at all.
    """

    def __init__(
        self, endpoint: str, *, works: bool = False, product: str = ""
    ) -> None:
        self.endpoint = endpoint
        self.works = works
        self.product = product
        if product:
            words = (
                f"{product} at {endpoint} knows no swarm: services, secrets, configs "
                "and stacks need a Docker Engine"
            )
        elif works:
            words = (
                f"the engine at {endpoint} only works in a swarm: speak to a manager "
                "of it"
            )
        else:
            words = (
                f"the engine at {endpoint} takes part in no swarm: run `docker swarm "
                "init`, or set the property swarm=init of DockerRunnerPlugin"
            )
        super().__init__(words)


class ContainerGoneError(DockerError):
    """A container died or was removed while somebody waited for it."""


class WaitTimeoutError(DockerError):
    """What was waited for did not happen in time."""


class FaultError(DockerError):
    """A fault could not be brought into force here, or could not be healed."""


class CleanupError(DockerError):
    """Some of what was to be removed is still there, or to be healed still in force.

    Attributes:
        failures: One for each thing that is left.
        verb: What could not be done to them: "removed", "healed".
    """

    def __init__(self, failures: Sequence[Exception], verb: str = "removed") -> None:
        self.failures = tuple(failures)
        self.verb = verb
        words = "; ".join(str(failure) for failure in self.failures)
        super().__init__(f"{len(self.failures)} could not be {verb}: {words}")
