"""What is left of a container when a test has failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.nested import NestedProject

SECRET = "s3cret-of-the-url"


@pytest.mark.docker
@pytest.mark.usefixtures("engine")
def test_no_token_of_a_url_is_written_down(tmp_path: Path) -> None:
    """Neither from its environment nor from its arguments: the rest of them is."""
    url = f"http://livecheck:{SECRET}@127.0.0.1:1"
    project = NestedProject(tmp_path)
    project.test(
        "fails",
        f"""
web = self.docker.container('pysys-orch-test/busybox:1', 'web', env={{'URL': {url!r}}})
web.run(['true', {url!r}], foreground=True)
self.addOutcome(FAILED, 'to have its evidence')
""",
    )
    project.run()
    result = project.results()["fails"]
    assert result.outcome == "FAILED", result
    text = (result.output / "web.inspect.json").read_text(encoding="utf-8")
    assert SECRET not in text
    assert text.count("http://***@127.0.0.1:1") >= 2
