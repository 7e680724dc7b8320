"""Names are a pure function of their owner, and nothing that looks alike is ours."""

from __future__ import annotations

import json
import os
import re
import string
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys_orch.docker.engine.model import Found, Kind, Resource
from pysys_orch.docker.engine.ownership import (
    KEEP_LABEL,
    LEASE_LABEL,
    OWNER_LABEL,
    RUN_LABEL,
    TEST_LABEL,
    Domain,
    Owner,
    Verdict,
    cache_tag,
    disowned,
    is_cache_tag,
    is_kept,
    is_lease,
    judge,
    lease_name,
    lease_of,
    owner_labels,
    owner_of,
    resource_name,
    start_of_process,
    this_domain,
    this_owner,
    unique_name,
)
from pysys_orch.testing import ManualClock
from pysys_orch.testing.clock import FIRST_STAMP as NOW

OWNER = Owner(scope="42782f", pid=9677, start=15174315)
OTHER = Owner(scope="42782f", pid=9678, start=15174315)
KEY = "po996i-42782f-7gt-918kr"
DOMAIN = Domain(boot="b5", pid_namespace="pid:[4026531836]", host="ci-3", user=1000)
FIVE_MINUTES = timedelta(minutes=5)
DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

# The largest numbers are those of systems without /proc: ids of 32 bits, and the time
# of day in hundredths of a second.
owners = st.builds(
    Owner,
    scope=st.text(string.hexdigits[:16], min_size=6, max_size=6),
    pid=st.integers(0, 2**32),
    start=st.integers(0, 10**13),
)
texts = st.text(max_size=80)
numbers = st.integers(0, 36**6)


# Names --------------------------------------------------------------------------------


@given(owners, texts, texts, numbers)
def test_a_name_is_a_dns_label(
    owner: Owner, test_id: str, role: str, number: int
) -> None:
    """A container is found under its name by its neighbours, whatever its test's id."""
    name = resource_name(owner, test_id, role, number)
    assert DNS_LABEL.fullmatch(name)
    assert len(name) <= 63


@given(owners, texts, texts, numbers)
def test_a_name_gives_its_owner_back(
    owner: Owner, test_id: str, role: str, number: int
) -> None:
    """What lost its labels is collected all the same."""
    name = resource_name(owner, test_id, role, number)
    assert Owner.parse(name) == owner
    assert Owner.parse(f"/{name}") == owner, "as the engine lists a container"
    assert Owner.parse(f"{name}_web.1.x7") == owner, "as a stack names its tasks"
    assert Owner.parse(f"{name}:latest") == owner, "as an image's tag"


@given(owners, owners, texts, texts, numbers)
def test_names_of_different_owners_differ(
    one: Owner, other: Owner, test_id: str, role: str, number: int
) -> None:
    """Two runs of one project at once never clash."""
    names = {resource_name(each, test_id, role, number) for each in (one, other)}
    assert len(names) == len({one, other})


@given(owners, st.lists(st.tuples(texts, texts), min_size=2, max_size=5), numbers)
def test_names_with_different_numbers_differ(
    owner: Owner, things: list[tuple[str, str]], first: int
) -> None:
    """Whatever tests and roles are called, counting keeps their things apart."""
    names = [
        resource_name(owner, test_id, role, first + offset)
        for offset, (test_id, role) in enumerate(things)
    ]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("test_id", "role", "number", "name"),
    [
        ("ingest_01~Fast", "broker", 12, f"{KEY}-ingest-01-fast-broker-c"),
        ("", "redis", 0, f"{KEY}-redis-0"),
        ("Älter", "", 36, f"{KEY}-lter-10"),
        ("", "", 1, f"{KEY}-1"),
        ("__", "..", 1, f"{KEY}-1"),
        (
            "a_very_long_group_of_tests_number_01",
            "image",
            35,
            f"{KEY}-y-long-group-of-tests-number-01-image-z",
        ),
    ],
)
def test_a_name_stays_the_same_from_version_to_version(
    test_id: str, role: str, number: int, name: str
) -> None:
    """A new version collects what an old one left, and people recognise their tests."""
    assert resource_name(OWNER, test_id, role, number) == name


def test_a_key_stays_the_same_from_version_to_version() -> None:
    """The key is what is filtered for, and what older versions left."""
    assert OWNER.key == KEY
    assert OTHER.key == "po0mav-42782f-7gu-918kr"


@given(owners)
def test_a_key_is_as_short_as_it_says(owner: Owner) -> None:
    """It leaves room for what a person wants to read."""
    assert re.fullmatch(r"[a-z0-9-]{1,31}", owner.key)
    assert Owner.parse(owner.key) == owner


@pytest.mark.parametrize(
    "name",
    [
        "",
        "po",
        "po-cafe01-web-1",
        "postgres",
        "postgres-cafe01-1-2",
        "podman-cafe01-7gt-91q0xr",
        "pods-42782f-7gt-918kr",
        "po-cache/42782f",
        "poabcd-cafe01-web-1",
        "portal-abcdef-1-2",
        "my-po996i-42782f-7gt-918kr",
        "po996i_42782f_7gt_918kr",
        "po996i-42782f-7gt",
        "po996i-42782f-7gt-918krx",
        "PO996I-42782F-7GT-918KR",
        "library/po996i-42782f-7gt-918kr",
        "po996i-42782f-7gt-918kr\n",
        "po\uff1996i-42782f-7gt-918kr",
        "pysys-tests",
        "pysys123-web",
        "pysys9677-120000-996i42782f918k-beef",
        "x/pysys9677-120000-996i42782f918kr-beef",
    ],
)
def test_what_merely_looks_alike_is_not_ours(name: str) -> None:
    """Nobody else's things are ever touched."""
    assert Owner.parse(name) is None


@pytest.mark.parametrize("position", range(len(KEY)))
def test_a_key_with_one_character_changed_is_not_ours(position: int) -> None:
    """The check digits tell a coincidence from a key."""
    for each in string.ascii_lowercase + string.digits + "-_.":
        changed = KEY[:position] + each + KEY[position + 1 :]
        if changed != KEY:
            assert Owner.parse(changed) is None, changed


@given(st.text(string.ascii_lowercase + string.digits + "-", max_size=40))
def test_a_word_after_our_prefix_is_not_ours(rest: str) -> None:
    """A name that begins as ours do is still somebody else's."""
    assert Owner.parse(f"po{rest}") is None


@given(owners, st.integers(0, 16**4 - 1))
def test_a_unique_name_gives_its_owner_back(owner: Owner, draw: int) -> None:
    """What is named before its test is known is collected as all the rest."""
    owner = replace(owner, pid=owner.pid % 10**7)
    name = unique_name(owner, NOW, f"{draw:04x}")
    assert Owner.parse(name) == owner
    assert Owner.parse(f"{name}.properties") == owner
    assert DNS_LABEL.fullmatch(name)
    assert len(name) <= 44


def test_a_unique_name_begins_as_it_always_did() -> None:
    """Scripts that look for ``pysys``, the process id and the time go on working."""
    stamp = datetime(2024, 2, 29, 23, 59, 58)  # noqa: DTZ001 -- local time, for people
    name = unique_name(OWNER, stamp, "beef")
    assert name == "pysys9677-235958-996i42782f918kr-beef"


def test_equal_domains_have_equal_scopes_and_others_do_not() -> None:
    """Each of the four facts keeps two runners apart whose other facts agree."""
    others = [
        replace(DOMAIN, boot="b6"),
        replace(DOMAIN, pid_namespace="pid:[4026532836]"),
        replace(DOMAIN, host="ci-4"),
        replace(DOMAIN, user=1001),
    ]
    assert replace(DOMAIN).scope == DOMAIN.scope == "707975"
    assert len({DOMAIN.scope, *(other.scope for other in others)}) == 5


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        (cache_tag("0123456789abcdef" * 4, "f" * 64), True),
        ("po-cache/0123456789abcdef01234567:" + "f" * 32, True),
        ("po-cache/0123456789abcdef01234567:latest", False),
        ("po-cache/mine:" + "f" * 32, False),
        ("my/po-cache/0123456789abcdef01234567:" + "f" * 32, False),
        ("po-cache/0123456789abcdef01234567:" + "f" * 33, False),
        ("redis:7", False),
    ],
)
def test_only_our_own_cache_tags_are_known_as_such(
    name: str,
    is_one: bool,
) -> None:
    """An image that a user calls nearly the same is never aged."""
    assert is_cache_tag(name) is is_one


# Labels -------------------------------------------------------------------------------


def found(
    kind: Kind, name: str, labels: dict[str, str] | None = None, age: float = 0
) -> Found:
    resource = Resource(kind=kind, id=f"id-of-{name}", name=name)
    created = NOW - timedelta(seconds=age)
    return Found(resource=resource, created=created, labels=labels or {})


def labels_of(
    owner: Owner, *, lease: float = 300, keep: bool = False
) -> dict[str, str]:
    facts = {"host": "ci-3", "user": "me"}
    return owner_labels(owner, test_id="t1", lease=lease, facts=facts, keep=keep)


@pytest.mark.parametrize("kind", Kind)
def test_everything_of_ours_is_known_by_its_name_alone(kind: Kind) -> None:
    """What is made by compose or swarm has no labels of ours."""
    assert owner_of(found(kind, resource_name(OWNER, "t", "r", 1))) == OWNER


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.IMAGE])
def test_a_label_tells_the_owner_whatever_the_name(kind: Kind) -> None:
    """A user may give a container any name, also one that another run's would have."""
    assert owner_of(found(kind, "redis", labels_of(OWNER))) == OWNER
    name = resource_name(OTHER, "t", "r", 1)
    assert owner_of(found(kind, name, labels_of(OWNER))) == OWNER


@pytest.mark.parametrize("kind", Kind)
def test_a_label_that_is_not_ours_gives_no_owner(kind: Kind) -> None:
    """Somebody else may use the same label for something else."""
    assert owner_of(found(kind, "redis", {RUN_LABEL: "nightly"})) is None


def test_an_image_is_known_by_its_tag_alone() -> None:
    """An image inherits the labels of what it was made from; that is not its owner."""
    assert owner_of(found(Kind.IMAGE, "product:1", labels_of(OWNER))) is None
    tag = f"{resource_name(OWNER, 't', 'image', 1)}:latest"
    assert owner_of(found(Kind.IMAGE, tag, labels_of(OTHER))) == OWNER


def test_a_container_of_a_committed_image_does_not_inherit_its_owner() -> None:
    """A person may go on working with an image that a test left, undisturbed."""
    inherited = {**labels_of(OWNER, keep=True), **disowned()}
    mine = found(Kind.CONTAINER, "playground", inherited)
    assert owner_of(mine) is None
    assert not is_kept(mine)


def test_a_disowned_label_does_not_hide_whose_name_it_is() -> None:
    """What compose starts from a committed image is known by its name as ever."""
    name = resource_name(OWNER, "t", "stack", 1)
    composed = {**disowned(), "com.docker.compose.project": name}
    assert owner_of(found(Kind.CONTAINER, "web", composed)) == OWNER
    assert owner_of(found(Kind.CONTAINER, f"{name}-web-1", disowned())) == OWNER


@pytest.mark.parametrize(
    "label",
    [
        "com.docker.compose.project",
        "com.docker.stack.namespace",
        "com.docker.swarm.service.name",
    ],
)
def test_a_part_belongs_to_the_owner_of_the_whole(label: str) -> None:
    """Whatever compose and swarm call their parts, these go with the whole."""
    name = resource_name(OWNER, "t", "stack", 1)
    assert owner_of(found(Kind.CONTAINER, "chosen", {label: name})) == OWNER
    assert owner_of(found(Kind.CONTAINER, "chosen", {label: "somebody"})) is None


def test_labels_tell_people_and_machines_whose_a_thing_is() -> None:
    """The labels are a promise: people filter by them, other versions read them."""
    assert labels_of(OWNER, keep=True) == {
        RUN_LABEL: KEY,
        OWNER_LABEL: '{"host": "ci-3", "lease": "300", "pid": "9677", "user": "me"}',
        TEST_LABEL: "t1",
        KEEP_LABEL: "true",
    }
    assert (RUN_LABEL, OWNER_LABEL, TEST_LABEL, KEEP_LABEL) == (
        "orch.run",
        "orch.owner",
        "orch.test",
        "orch.keep",
    )


def test_only_what_says_so_is_kept() -> None:
    """The next run removes everything but what somebody wants to look at."""
    assert is_kept(found(Kind.CONTAINER, "c", labels_of(OWNER, keep=True)))
    assert not is_kept(found(Kind.CONTAINER, "c", labels_of(OWNER)))
    assert not is_kept(found(Kind.CONTAINER, "c"))


def test_a_lease_is_told_from_what_merely_sounds_like_one() -> None:
    """A test about leases may call its volumes what it likes."""
    lease = {**labels_of(OWNER), LEASE_LABEL: "300"}
    assert is_lease(found(Kind.VOLUME, lease_name(OWNER, 40), lease))
    assert Owner.parse(lease_name(OWNER, 40)) == OWNER
    assert not is_lease(found(Kind.VOLUME, lease_name(OWNER, 40), labels_of(OWNER)))
    named = resource_name(OWNER, "t", "data", 1)
    assert not is_lease(found(Kind.VOLUME, named, lease))


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (json.dumps({"lease": "60"}), 60.0),
        (json.dumps({"lease": 60.5}), 60.5),
        (json.dumps({"pid": "1"}), 300.0),
        ("not JSON", 300.0),
        ("[]", 300.0),
        ("null", 300.0),
        ("{", 300.0),
        (json.dumps({"lease": "soon"}), 300.0),
        (json.dumps({"lease": None}), 300.0),
        ('{"lease": NaN}', 300.0),
        ('{"lease": "inf"}', 300.0),
        ('{"lease": 1e300}', 300.0),
    ],
)
def test_a_lease_is_as_long_as_its_owner_says(label: str, expected: float) -> None:
    """What cannot be read counts as not said: a strange label stops no collection."""
    each = found(Kind.VOLUME, "v", {OWNER_LABEL: label})
    assert lease_of(each, FIVE_MINUTES) == timedelta(seconds=expected)


# Judging ------------------------------------------------------------------------------

HERE = Owner(scope=DOMAIN.scope, pid=9677, start=500)
ELSEWHERE = Owner(scope="abcdef", pid=9677, start=500)
BLIND = replace(DOMAIN, boot="")  # where there is no /proc
NEAR = Owner(scope=BLIND.scope, pid=9677, start=500)


@pytest.mark.parametrize(
    ("owner", "domain", "start", "silence", "expected"),
    [
        pytest.param(HERE, DOMAIN, 500, 1e6, (True, "process 9677 runs"), id="runs"),
        pytest.param(HERE, DOMAIN, None, 0, (False, "process 9677 ended"), id="ended"),
        pytest.param(
            HERE,
            DOMAIN,
            501,
            0,
            (False, "process 9677 ended, its number was given to another"),
            id="recycled",
        ),
        pytest.param(
            ELSEWHERE,
            DOMAIN,
            500,
            300,
            (True, "it was last seen 300 s ago, its lease is 300 s"),
            id="elsewhere-in-lease",
        ),
        pytest.param(
            ELSEWHERE,
            DOMAIN,
            500,
            301,
            (False, "it was last seen 301 s ago, its lease is 300 s"),
            id="elsewhere-out-of-lease",
        ),
        pytest.param(
            ELSEWHERE,
            DOMAIN,
            None,
            -60,
            (True, "it was last seen -60 s ago, its lease is 300 s"),
            id="elsewhere-seen-while-we-looked",
        ),
        pytest.param(
            NEAR,
            BLIND,
            None,
            10,
            (True, "it was last seen 10 s ago, its lease is 300 s"),
            id="no-kernel-to-ask-in-lease",
        ),
        pytest.param(
            NEAR,
            BLIND,
            500,
            301,
            (False, "it was last seen 301 s ago, its lease is 300 s"),
            id="no-kernel-to-ask-out-of-lease",
        ),
    ],
)
def test_an_owner_is_judged_by_the_kernel_or_else_by_its_lease(
    owner: Owner,
    domain: Domain,
    start: int | None,
    silence: float,
    expected: tuple[bool, str],
) -> None:
    """A process id alone proves nothing; a run that we cannot see gets its time."""
    alive, reason = expected
    verdict = judge(
        owner,
        domain=domain,
        start_of={9677: start}.get,
        seen=NOW - timedelta(seconds=silence),
        lease=FIVE_MINUTES,
        now=NOW,
    )
    assert verdict == Verdict(alive=alive, reason=reason)


# This machine -------------------------------------------------------------------------


def test_this_process_is_alive_by_its_own_judgement() -> None:
    """A run never collects itself."""
    domain = this_domain()
    me = this_owner(domain)
    assert me == this_owner(this_domain()), "asked twice"
    assert (me.pid, me.start) == (os.getpid(), start_of_process(os.getpid()))
    verdict = judge(
        me,
        domain=domain,
        start_of=start_of_process,
        seen=datetime.min.replace(tzinfo=UTC),
        lease=FIVE_MINUTES,
        now=NOW,
    )
    assert verdict.alive


def test_another_process_is_another_owner() -> None:
    """Two runs that are started in the same instant are told apart."""
    program = (
        "from pysys_orch.docker.engine.ownership import this_domain, this_owner;"
        "print(this_owner(this_domain()).key)"
    )
    environment = {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    keys = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.strip()
        for _ in range(2)
    }
    others = [Owner.parse(key) for key in keys]
    assert len(keys) == 2
    assert {each.scope for each in others if each} == {this_domain().scope}


def test_a_process_that_ended_has_no_start_even_before_its_parent_noticed() -> None:
    """A zombie does nothing any more, so what it owned is garbage."""
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE
    ) as process:
        assert start_of_process(process.pid) is not None
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        assert state[0] == "Z"
        assert start_of_process(process.pid) is None
    assert start_of_process(process.pid) is None


def test_a_program_may_have_any_name(tmp_path: Path) -> None:
    """Brackets and blanks in a program's name do not hide when it was started."""
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/cat")
    pipe = subprocess.PIPE
    with subprocess.Popen([program], stdin=pipe, stdout=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        # It has its name before it answers.
        process.stdin.write(b"x")
        process.stdin.flush()
        assert process.stdout.read(1) == b"x"
        assert "a) R 1 (b" in Path(f"/proc/{process.pid}/comm").read_text()
        start = start_of_process(process.pid)
        assert start is not None
        assert start >= (start_of_process(os.getpid()) or 0)


def test_where_there_is_no_proc_an_owner_is_told_apart_by_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Names work the same on systems that do not tell when a process was started."""
    monkeypatch.setattr(
        "pysys_orch.docker.engine.ownership.start_of_process", lambda _pid: None
    )
    clock = ManualClock(stamp=NOW)
    first = this_owner(BLIND, clock)
    clock.advance(0.01)
    second = this_owner(BLIND, clock)
    assert first.pid == second.pid == os.getpid()
    assert second.start == first.start + 1
    assert Owner.parse(resource_name(first, "t", "r", 1)) == first
