"""Any service that takes JSON: a webhook, and a template of what it wants to hear."""

from __future__ import annotations

import json
from string import Template

from pysys_orch.errors import ConfigError
from pysys_orch.escalation.fitting import (
    body_limit,
    fitted,
    json_body,
    readable,
)
from pysys_orch.escalation.incident import Answer, Event, Request, Verdict
from pysys_orch.escalation.transport import judge_status

#: Sends all there is.
DEFAULT_TEMPLATE = """{
    "key": "${key}",
    "action": "${action}",
    "summary": "${summary}",
    "details": "${details}",
    "link": "${link}",
    "tags": "${tags}"
}"""

_TAGS = "${tags}"


class Webhook:
    """A webhook that takes JSON.

    In the texts of a template, ``${key}``, ``${action}``, ``${summary}``,
    ``${details}``, ``${link}`` and ``${tags}`` stand for what an event says. A text
    that is ``${tags}`` and nothing else becomes an object. What else begins with a
    dollar is left as it is, but two of them are one.

    Args:
        url: Where to. It is taken for a secret, all of it.
        template: JSON.
        origin: Where the template comes from, such as the name of its file.
        max_body: The most that the service takes, in bytes.

    Raises:
        ConfigError: The template is no JSON.
    """

    name = "webhook"

    def __init__(
        self,
        url: str,
        template: str = DEFAULT_TEMPLATE,
        *,
        origin: str = "the template of the webhook",
        max_body: int = 28_000,
    ) -> None:
        self._url = url
        self._template = _parsed(template, origin)
        self._max_body = max_body

    def __repr__(self) -> str:
        return f"{type(self).__name__}(url=…)"

    def request(self, event: Event, *, budget: float = 1.0) -> Request:
        """Return what tells it about an event; the same for the same arguments.

        Args:
            event: The event.
            budget: How much of the size that it takes may be used, from 0 to 1.
        """
        limit = body_limit(self._max_body, budget)
        fitting = fitted(readable(event), limit, self._body)
        return Request(url=self._url, body=self._body(fitting))

    def judge(self, event: Event, answer: Answer) -> Verdict:
        """Say what an answer means."""
        del event  # they are all alike
        return judge_status(answer)

    def _body(self, event: Event) -> bytes:
        texts = {
            "key": event.key,
            "action": str(event.action),
            "summary": event.summary,
            "details": event.details,
            "link": event.link,
            "tags": ", ".join(
                f"{name}={it}" for name, it in sorted(event.tags.items())
            ),
        }
        return json_body(_filled(self._template, event, texts))


def _parsed(template: str, origin: str) -> object:
    """Read a template.

    Raises:
        ConfigError: It is no JSON.
    """
    try:
        found: object = json.loads(template)
        json_body(found)
    except json.JSONDecodeError as failure:
        where = f"line {failure.lineno}, column {failure.colno}"
        message = f"{origin} is no JSON: {failure.msg} ({where})"
        raise ConfigError(message) from failure
    except (ValueError, RecursionError) as failure:
        # NaN and such, which Python reads and JSON does not know; or 1,000 brackets.
        message = f"{origin} is not JSON that others can read: {failure}"
        raise ConfigError(message) from failure
    return found


def _filled(template: object, event: Event, texts: dict[str, str]) -> object:
    match template:
        case str() if template == _TAGS:
            return dict(event.tags)
        case str():
            return Template(template).safe_substitute(texts)
        case list():
            return [_filled(each, event, texts) for each in template]
        case dict():
            return {
                name: _filled(each, event, texts) for name, each in template.items()
            }
    return template
