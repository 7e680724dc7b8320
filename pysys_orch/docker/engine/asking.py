"""How an engine is asked, and what its refusals mean.

Every call has a time limit; every failure is one of `pysys_orch.errors`.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from pysys_orch.docker.engine.address import without_credentials
from pysys_orch.docker.engine.model import read_stamp
from pysys_orch.docker.engine.transport import (
    CONNECTION_ERRORS,
    Response,
    Transport,
)
from pysys_orch.errors import (
    ConflictError,
    EngineAnswerError,
    EngineUnreachableError,
    NotFoundError,
    SwarmInactiveError,
)

Json = dict[str, Any]

#: Seconds for which an engine may be silent.
ANSWER_TIMEOUT = 60.0  # removing a large container takes many seconds on a busy disk

_FIRST_REFUSAL = 400
_OF_A_SWARM = (
    "/configs",
    "/networks/create",
    "/nodes",
    "/secrets",
    "/services",
    "/swarm",
    "/tasks",
)
# What Podman 4 answers with status 500, and Docker and Podman 5 with 409.
_PODMAN_CONFLICT = "container state improper"
_UNKNOWN_TO_PODMAN = ("/configs", "/nodes", "/services", "/swarm", "/tasks")
# What engines answer that do not manage a swarm, the former without more words.
_NOT_ACCEPTABLE = 406
_UNAVAILABLE = 503
_NO_SWARM = re.compile("not (in|part of) a swarm|not a swarm manager|be unlocked")


class Asking:
    """Asks one Docker Engine. Threads may share it.

    Attributes:
        endpoint: Where it is, without credentials.
        version: Its version, such as ``26.1.5``.
        is_podman: Whether it is Podman, which knows no swarm.
        is_local: Whether it is on this machine, behind a socket.
    """

    def __init__(
        self,
        transport: Transport,
        host: str,
        version: str,
        api_version: str,
        *,
        is_podman: bool = False,
    ) -> None:
        self._transport = transport
        self._address = host
        self._prefix = f"/v{api_version}"
        self.endpoint = without_credentials(host)
        self.version = version
        self.is_podman = is_podman
        self.is_local = host.startswith(("unix://", "npipe://"))

    def close(self) -> None:
        """End the connections that are kept for later; it may still be used."""
        self._transport.close()

    def client_address(self) -> dict[str, str]:
        """Return what a docker client needs in its environment to find this engine.

        Nothing where that is a matter of certificates or keys: the client finds these
        by its own environment.
        """
        if not self._transport.is_plain:
            return {}
        return {"DOCKER_HOST": self._address}

    def now(self) -> datetime:
        """Return the present by the engine's clock, in UTC."""
        return read_stamp(self.info()["SystemTime"])

    def info(self) -> Json:
        """Return what the engine tells about itself."""
        told: Json = self._get("ask the engine about itself", "/info")
        return told

    def list_labelled(self, path: str, labels: list[str]) -> list[Json]:
        """Return what carries all of *labels*, of containers also those that ended.

        Args:
            path: ``/containers/json``, ``/volumes`` or ``/networks``.
            labels: Each as ``key=value``.
        """
        filters = json.dumps({"label": labels})
        words = f"list {path.split('/')[1]}"
        listed = self._get(words, path, {"filters": filters, "all": 1})
        found: list[Json] = listed["Volumes"] if path == "/volumes" else listed
        return found or []

    # Requests -----------------------------------------------------------------

    def _get(self, words: str, path: str, parameters: Json | None = None) -> Any:  # noqa: ANN401
        return json.loads(self._fetch(words, "GET", path, parameters))

    def _post(
        self,
        words: str,
        path: str,
        parameters: Json | None = None,
        body: Json | None = None,
        *,
        timeout: float = ANSWER_TIMEOUT,
    ) -> Any:  # noqa: ANN401 -- JSON
        answer = self._fetch(words, "POST", path, parameters, body, timeout=timeout)
        return json.loads(answer or "null")

    def _fetch(
        self,
        words: str,
        method: str,
        path: str,
        parameters: Json | None = None,
        body: Json | None = None,
        *,
        timeout: float = ANSWER_TIMEOUT,
    ) -> bytes:
        """Send a request, and return all of the answer."""
        answer = self._ask(words, method, path, parameters, body, timeout=timeout)
        with self._speaking(words, timeout):
            return answer.body()

    def _ask(
        self,
        words: str,
        method: str,
        path: str,
        parameters: Json | None = None,
        body: Json | None = None,
        *,
        timeout: float = ANSWER_TIMEOUT,
    ) -> Response:
        """Send a request; say what became of it, in *words*, if it fails."""
        query = f"?{urlencode(parameters)}" if parameters else ""
        target = f"{self._prefix}{quote(path, safe='/:@')}{query}"
        data = None if body is None else json.dumps(body).encode()
        with self._speaking(words, timeout):
            answer = self._transport.send(method, target, body=data, timeout=timeout)
            if answer.status < _FIRST_REFUSAL:
                return answer
            said = answer.body()
        refusal = _refusal(words, answer.status, said)
        if self.is_podman and path.startswith(_UNKNOWN_TO_PODMAN):
            product = f"Podman {self.version}"
            raise SwarmInactiveError(self.endpoint, product=product)
        if path.startswith(_OF_A_SWARM) and _says_no_swarm(refusal):
            works = "Worker nodes" in refusal.explanation
            raise SwarmInactiveError(self.endpoint, works=works)
        raise refusal

    @contextlib.contextmanager
    def _speaking(self, words: str, timeout: float) -> Iterator[None]:
        """Say what was wanted, in *words*, when the connection fails."""
        try:
            yield
        except CONNECTION_ERRORS as failure:
            cause = f"could not {words}: {cause_of(failure, timeout)}"
            raise EngineUnreachableError(self.endpoint, cause) from None


def _refusal(request: str, status: int, said: bytes) -> EngineAnswerError:
    try:
        words = str(json.loads(said)["message"])
    except (ValueError, KeyError, TypeError):
        words = said.decode("utf-8", "replace")
    if _PODMAN_CONFLICT in words:
        status = 409
    known = {404: NotFoundError, 409: ConflictError}.get(status, EngineAnswerError)
    return known(request, status, " ".join(words.split()) or "no reason given")


def _says_no_swarm(refusal: EngineAnswerError) -> bool:
    """Return whether an engine refuses since it does not manage a swarm."""
    if refusal.status == _NOT_ACCEPTABLE:
        return True
    return refusal.status == _UNAVAILABLE and bool(
        _NO_SWARM.search(refusal.explanation)
    )


def cause_of(failure: BaseException, timeout: float) -> str:
    """Say in a few words why a request got no answer."""
    words = str(failure)
    if "timed out" in words.lower():
        return f"no answer within {timeout:g} s"
    for cause in (
        "Connection refused",
        "No such file or directory",
        "Permission denied",
        "Name or service not known",
        "Connection reset",
        "Connection aborted",
    ):
        if cause in words:
            return cause.lower()
    return words.strip().rpartition("\n")[2][:200] or type(failure).__name__
