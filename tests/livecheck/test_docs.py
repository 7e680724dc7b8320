"""What the documentation says about live checks is true."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from pysys_orch.livecheck import (
    Case,
    Condition,
    LiveCheck,
    Signal,
    State,
    models,
    options,
)
from pysys_orch.livecheck.intake import signals_of
from pysys_orch.livecheck.thresholds import FIGURES, thresholds_of
from tests.livecheck.receiving import Site, serve
from tests.nested import NestedProject

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "livecheck.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
FILES = {each.split("\n")[0][2:]: each for each in BLOCKS if each.startswith("# ")}


class Checkout(Case):
    """As in the examples."""

    order_sent: Signal[dict[str, object]]
    order_shipped: Signal[str]


@pytest.mark.parametrize(
    ("charged", "outcome", "words"),
    [
        (3, "PASSED", "Checkout: 10 of 10 tests passed"),
        (4, "FAILED", "the first order-0: FAIL: "),
    ],
)
def test_the_first_example_can_be_copied(
    tmp_path: Path, charged: int, outcome: str, words: str
) -> None:
    """Both of its files; and it fails for a shop that is wrong."""
    project = NestedProject(tmp_path, plugin=False)
    (tmp_path / "shop").mkdir()
    for name, text in FILES.items():
        said = text.replace("'amount': 3}\n", f"'amount': {charged}}}\n")
        # Who waits for passes that do not come would wait for a minute.
        said = said.replace("Checkout, 'PASS', 10", "Checkout, None, 10")
        (tmp_path / "shop" / name).write_text(said)
    project.run()
    result = project.results()["shop"]
    assert result.outcome == outcome, project.said()
    assert words in result.reason


def test_the_example_without_pysys_runs() -> None:
    """And prints what it should."""
    (program,) = [each for each in BLOCKS if "asyncio.run(main())" in each]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(program, "livecheck.md", "exec"), {"__name__": "example"})
    assert printed.getvalue() == "PASS\n"


def test_all_examples_are_python_or_json() -> None:
    """Signals are signals."""
    assert len(BLOCKS) == 4
    for each in BLOCKS:
        ast.parse(each)
    (event,) = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    app = LiveCheck()
    app.add_case(Checkout)
    assert signals_of(json.loads(event), app.cases)


def test_what_a_container_posts_is_a_test_that_passes() -> None:
    """With nothing but the three lines of the shell."""
    posted = re.findall(r"--post-data '(.*?)' \$LIVECHECK_URL(/\w+)", TEXT)
    module: dict[str, Any] = {"__name__": "example"}
    exec(compile(FILES["pysystest.py"], "livecheck.md", "exec"), module)

    async def scene(site: Site) -> None:
        for said, path in posted:
            assert (await site.post(path, said.encode()))[0] == 200
        assert await site.app.wait_idle(20)
        assert [report["state"] for report in site.reports] == ["PASS"]

    assert len(posted) == 3
    serve(scene, module["Checkout"])


def test_the_example_of_the_readme_imports_what_it_uses() -> None:
    """As far as that is needed to define it."""
    text = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (block,) = [each for each in blocks if "startLiveCheck" in each]
    exec(compile(block, "README.md", "exec"), {"__name__": "example"})


def test_the_thresholds_are_thresholds() -> None:
    """As a user would copy them."""
    (said,) = re.findall(r"number; .*?: `(\{.*?\})`", TEXT)
    assert len(thresholds_of(ast.literal_eval(said), {"Checkout": ["order_shipped"]}))


def test_each_option_hook_state_and_header_is_documented() -> None:
    """In the reference."""
    told = set(re.findall(r"`([\w-]+)(?:\(.*?\))?`", TEXT))
    hooks = {each for each in vars(Case) if each.startswith("on_")}
    headers = {
        models.HEADER_ID,
        models.HEADER_NAME,
        models.HEADER_TIMESTAMP,
        models.HEADER_EXPIRES,
    }
    states = {each.value for each in State}
    conditions = {each.value for each in Condition}
    assert {
        *options.Options.__annotations__,
        *hooks,
        *headers,
        *states,
        *conditions,
    } <= told


def test_each_figure_is_documented() -> None:
    """The times by one percentile, and the other percentiles."""
    told = set(re.findall(r"`(\w+)`", TEXT))
    plain = {each for each in FIGURES if not re.search(r"_(p90|p99|max)_ms$", each)}
    assert plain <= told
    assert {"_p90_", "_p99_", "_max_"} <= told


def test_the_defaults_are_the_defaults() -> None:
    """Of plain numbers, where there is one option in a row."""
    rows = re.findall(r"\| `(\w+)` \| ([\d.]+|True|False|None) \|", TEXT)
    assert len(rows) > 10
    for name, default in rows:
        assert getattr(Case, name) == ast.literal_eval(default), name
