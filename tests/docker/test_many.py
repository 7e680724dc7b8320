"""Many tests and many containers at once: each gets its own, and all of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pysys_orch.docker.engine.client import ApiEngine
from tests.conftest import BUSYBOX
from tests.docker.owned import owned_by, running
from tests.nested import NestedProject

TESTS = 40
LINES = 300

#: Logs on both streams, then serves its own id.
SERVE = f"""\
n=0
while [ $n -lt {LINES} ]; do
    echo "$ID says $n"
    echo "$ID warns $n" >&2
    n=$((n + 1))
done
mkdir /tmp/www
echo "$ID" >/tmp/www/id
exec httpd -f -p 8080 -h /tmp/www
"""
PAIR = f"""
    import json, urllib.request
    script = pathlib.Path(self.input, 'serve.sh').read_text()
    names = []
    for role in ('left', 'right'):
        id = f'{{self.descriptor.id}}-{{role}}'
        container = self.docker.container('{BUSYBOX}', role, ports=[8080])
        container.setEnv(ID=id).run(['sh', '-c', script]).log(id)
        container.waitForHttp(8080, '/id')
        url = f'http://127.0.0.1:{{container.getExternalPort(8080)}}/id'
        with urllib.request.urlopen(url, timeout=10) as answer:
            served = answer.read().decode().strip()
        self.assertThat('served == id', served=served, id=id)
        names.append(container.getName())
    pathlib.Path(self.input, 'names.json').write_text(json.dumps(names))
"""

CONTAINERS = 200
FLOOD_LINES = 300
FLOOD_WIDTH = 1000
#: How much larger the run may become by reading 200 logs. It was 17 MB where these are
#: empty, 50 MB with 100 MB of them, 55 MB with 200 MB, and 60 MB with 400 MB.
MORE_MEMORY_MB = 100

#: Waits until somebody opens the pipe, so that all begin at once.
FLOOD = f"""\
: </go/pipe
n=0
while [ $n -lt {FLOOD_LINES} ]; do
    echo "$ID says $n $PADDING"
    echo "$ID warns $n $PADDING" >&2
    n=$((n + 1))
done
"""
AT_ONCE = f"""
    import concurrent.futures, json
    def memory(key):
        lines = pathlib.Path('/proc/self/status').read_text().splitlines()
        words = next(line for line in lines if line.startswith(key)).split()
        return int(words[1]) / 1024
    script = pathlib.Path(self.input, 'flood.sh').read_text()
    pipe = pathlib.Path(self.output, 'pipe')
    os.mkfifo(pipe)
    def begin(number):
        env = {{'ID': f'c{{number}}', 'PADDING': 'x' * {FLOOD_WIDTH}}}
        container = self.docker.container('{BUSYBOX}', f'c{{number}}', env=env)
        container.volumeFromHost(self.output, '/go')
        return container.run(['sh', '-c', script])
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        containers = list(pool.map(begin, range({CONTAINERS})))
    before = memory('VmRSS')
    for number, container in enumerate(containers):
        container.log(f'c{{number}}')
    go = os.open(pipe, os.O_RDWR)
    for container in containers:
        container.waitForExit(timeout=120)
    os.close(go)
    facts = {{'before': before, 'peak': memory('VmHWM')}}
    pathlib.Path(self.input, 'memory.json').write_text(json.dumps(facts))
"""


def expected(id: str, verb: str, lines: int, ending: str = "") -> str:  # noqa: A002
    """Return what one stream of a container's log must hold."""
    return "".join(f"{id} {verb} {number}{ending}\n" for number in range(lines))


@pytest.mark.docker
@pytest.mark.engine20
@pytest.mark.timeout(300)
def test_forty_tests_in_four_threads_do_not_get_into_each_others_way(
    engine: ApiEngine, tmp_path: Path
) -> None:
    """Each reaches its own containers, by names and ports that nobody else has."""
    nested = NestedProject(tmp_path)
    for number in range(TESTS):
        nested.test(f"pair_{number:02}", PAIR, **{"serve.sh": SERVE})
    with running(nested, "-j4") as (process, owner):
        assert process.wait(240) == 0, nested.said()

    results = nested.results()
    assert {each.outcome for each in results.values()} == {"PASSED"}
    assert len(results) == TESTS
    names = [
        name
        for test in results
        for name in json.loads((tmp_path / test / "names.json").read_text())
    ]
    assert len(set(names)) == len(names) == 2 * TESTS
    for test, result in results.items():
        for role in ("left", "right"):
            id_ = f"{test}-{role}"
            out, err = (result.output / f"{id_}.{end}" for end in ("out", "err"))
            assert out.read_text() == expected(id_, "says", LINES)
            assert err.read_text() == expected(id_, "warns", LINES)
    assert owned_by(engine, owner) == []


@pytest.mark.docker
@pytest.mark.engine20
@pytest.mark.timeout(300)
def test_two_hundred_logs_at_once_are_complete_in_bounded_memory(
    engine: ApiEngine, tmp_path: Path
) -> None:
    """A soak test may log as much as it likes."""
    nested = NestedProject(tmp_path)
    nested.test("at_once", AT_ONCE, **{"flood.sh": FLOOD})
    with running(nested) as (process, owner):
        assert process.wait(280) == 0, nested.said()

    output = nested.results()["at_once"].output
    padding = f" {'x' * FLOOD_WIDTH}"
    wrong = []
    for number in range(CONTAINERS):
        for verb, end in (("says", "out"), ("warns", "err")):
            text = (output / f"c{number}.{end}").read_text()
            if text != expected(f"c{number}", verb, FLOOD_LINES, padding):
                wrong.append(f"c{number}.{end}: {text.count(chr(10))} lines")
    shutil.rmtree(output)  # 120 MB that nobody wants to keep
    assert wrong == []
    memory = json.loads((tmp_path / "at_once" / "memory.json").read_text())
    assert memory["peak"] - memory["before"] < MORE_MEMORY_MB, memory
    assert owned_by(engine, owner) == []
