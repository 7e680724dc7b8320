"""Garbage is chosen by a pure plan, and removed by a sweep that does not give up."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys_orch.clock import SystemClock
from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.collect import (
    PARALLEL_REMOVALS,
    Doomed,
    Policy,
    Report,
    look,
    plan_collection,
    sweep,
)
from pysys_orch.docker.engine.model import Found, Kind, Resource
from pysys_orch.docker.engine.ownership import (
    CACHE_LABEL,
    LEASE_LABEL,
    RUN_LABEL,
    Domain,
    Owner,
    cache_tag,
    lease_name,
    owner_labels,
    owner_of,
    resource_name,
    start_of_process,
    this_domain,
)
from pysys_orch.errors import (
    ConflictError,
    DockerError,
    EngineAnswerError,
    EngineUnreachableError,
    NotFoundError,
)
from pysys_orch.testing import ManualClock, MemoryEngine
from pysys_orch.testing.clock import FIRST_STAMP as NOW
from tests.conftest import BUSYBOX

DOMAIN = Domain(boot="b5", pid_namespace="pid:[4026531836]", host="ci-3", user=1000)
DEAD = Owner(scope=DOMAIN.scope, pid=11, start=1)
DEAD_TOO = Owner(scope=DOMAIN.scope, pid=12, start=1)
ALIVE = Owner(scope=DOMAIN.scope, pid=13, start=1)
ELSEWHERE = Owner(scope="abcdef", pid=11, start=1)
POLICY = Policy(
    domain=DOMAIN,
    start_of={ALIVE.pid: ALIVE.start}.get,
    lease=timedelta(minutes=5),
    retention=timedelta(days=7),
)
DIGEST = "0123456789abcdef" * 4
CACHED = cache_tag(DIGEST, DIGEST)


def labels_of(
    owner: Owner, *, keep: bool = False, lease: float = 300
) -> dict[str, str]:
    return owner_labels(owner, test_id="t", lease=lease, facts={}, keep=keep)


def found(
    kind: Kind,
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
    age: timedelta = timedelta(0),
) -> Found:
    return Found(
        resource=Resource(kind=kind, id=name, name=name),
        created=NOW - age,
        labels=labels or {},
    )


def named(owner: Owner, role: str, number: int = 0) -> str:
    return resource_name(owner, "t", role, number)


def planned(listing: Iterable[Found], policy: Policy = POLICY) -> list[str]:
    plan = plan_collection(listing, now=NOW, policy=policy)
    return [each.resource.name for each in plan]


# The plan -----------------------------------------------------------------------------


def test_things_are_removed_in_the_order_that_an_engine_accepts() -> None:
    """What uses something goes before what is used; within a kind it goes by name."""
    listing = [
        found(kind, named(DEAD, role)) for kind in reversed(Kind) for role in "ba"
    ]
    plan = plan_collection(listing, now=NOW, policy=POLICY)
    expected = [(kind, named(DEAD, role)) for kind in Kind for role in "ab"]
    assert [(each.resource.kind, each.resource.name) for each in plan] == expected
    assert list(Kind) == [
        "service",
        "container",
        "network",
        "volume",
        "secret",
        "config",
        "image",
        "swarm",
    ]


def test_leases_go_last() -> None:
    """A collection that is cut short leaves the sign by which another takes it up."""
    lease = found(
        Kind.VOLUME,
        lease_name(DEAD, 0),
        labels={**labels_of(DEAD), LEASE_LABEL: "300"},
    )
    image = found(Kind.IMAGE, f"{named(DEAD, 'image')}:latest")
    volume = found(Kind.VOLUME, named(DEAD, "z"))
    assert planned([lease, image, volume]) == [
        volume.resource.name,
        image.resource.name,
        lease.resource.name,
    ]


def test_the_reason_is_told_of_each_thing() -> None:
    """Who finds something gone can read why."""
    listing = [
        found(Kind.VOLUME, named(DEAD, "v")),
        found(Kind.VOLUME, named(ELSEWHERE, "v"), age=timedelta(hours=1)),
        found(Kind.IMAGE, CACHED, age=timedelta(days=7.5)),
        found(Kind.VOLUME, named(ALIVE, "v")),
    ]
    policy = replace(POLICY, known=(ALIVE,))
    plan = plan_collection(listing, now=NOW, policy=policy)
    assert {each.resource.name: each.reason for each in plan} == {
        named(DEAD, "v"): "process 11 ended",
        named(ELSEWHERE, "v"): "it was last seen 3600 s ago, its lease is 300 s",
        CACHED: "unused for 7.5 days",
        named(ALIVE, "v"): "its run ends",
    }


def test_what_a_living_run_owns_stays() -> None:
    """Two runs at once never collect each other."""
    # A swarm may be in use by whoever lives, whoever has begun it.
    kinds = [kind for kind in Kind if kind is not Kind.SWARM]
    listing = [
        found(kind, named(owner, "r")) for kind in Kind for owner in (ALIVE, DEAD)
    ]
    assert planned(listing) == [named(DEAD, "r")] * len(kinds)


def test_what_is_not_ours_stays_however_much_it_looks_like_it() -> None:
    """Nothing without our labels or the grammar of our names is touched, ever."""
    foreign = ["postgres", "po-cafe01-web-1", "podman-1", f"{DEAD.key}x", ""]
    listing = [
        found(kind, name, age=timedelta(days=1000)) for kind in Kind for name in foreign
    ]
    listing += [
        found(Kind.CONTAINER, "web", labels={RUN_LABEL: "nightly"}),
        found(Kind.IMAGE, "po-cache/mine:latest", age=timedelta(days=1000)),
        found(Kind.IMAGE, "sha256:" + DIGEST, age=timedelta(days=1000)),
    ]
    assert planned(listing) == []


@given(
    st.lists(
        st.builds(
            found,
            st.sampled_from(Kind),
            st.text(max_size=70),
            labels=st.dictionaries(st.text(max_size=20), st.text(max_size=70)),
            age=st.timedeltas(timedelta(days=-1), timedelta(days=4000)),
        )
    )
)
def test_whatever_an_engine_holds_of_others_stays(listing: list[Found]) -> None:
    """No name, label or age of somebody else's things makes them garbage."""
    assert planned(listing) == []


def test_a_label_says_more_than_a_name() -> None:
    """A living run may call its container as a dead one's would have been called."""
    of_dead, of_living = labels_of(DEAD), labels_of(ALIVE)
    listing = [
        found(Kind.CONTAINER, named(DEAD, "a"), labels=of_living),
        found(Kind.CONTAINER, named(ALIVE, "b"), labels=of_dead),
        found(Kind.CONTAINER, "chosen", labels=of_dead),
    ]
    assert planned(listing) == ["chosen", named(ALIVE, "b")]


def test_an_image_is_never_garbage_by_its_label() -> None:
    """A product's image that was built from a test's image is the product's."""
    labels = labels_of(DEAD)
    own = f"{named(DEAD, 'image')}:latest"
    listing = [
        found(Kind.IMAGE, "product:1", labels=labels),
        found(Kind.IMAGE, f"sha256:{DIGEST}", labels=labels),
        found(Kind.IMAGE, own, labels=labels_of(ALIVE)),
    ]
    assert planned(listing) == [own]


def test_what_is_kept_stays_until_somebody_asks_for_it() -> None:
    """What ``-XdockerKeep=true`` kept is there after any number of further runs."""
    kept = labels_of(DEAD, keep=True)
    listing = [
        found(Kind.CONTAINER, named(DEAD, "c"), labels=kept),
        found(Kind.NETWORK, named(DEAD, "n"), labels=kept),
        found(Kind.VOLUME, named(DEAD, "v"), labels=labels_of(DEAD)),
    ]
    assert planned(listing) == [named(DEAD, "v")]
    assert planned(listing, replace(POLICY, known=(DEAD,))) == [named(DEAD, "v")]
    assert planned(listing, replace(POLICY, take_kept=True)) == [
        named(DEAD, "c"),
        named(DEAD, "n"),
        named(DEAD, "v"),
    ]


def test_the_images_of_what_is_kept_stay_as_well() -> None:
    """A kept container can be entered, committed and started again."""
    image, other = (f"{named(each, 'image')}:latest" for each in (DEAD, DEAD_TOO))
    listing = [
        found(Kind.CONTAINER, "c", labels=labels_of(DEAD, keep=True)),
        found(Kind.IMAGE, image),
        found(Kind.IMAGE, other),
    ]
    assert planned(listing) == [other]
    assert planned(listing, replace(POLICY, take_kept=True)) == ["c", other, image]


def test_a_cached_image_goes_by_its_last_use() -> None:
    """Builds hit the cache for as long as somebody uses it."""
    week = timedelta(days=7)
    tags = [cache_tag(DIGEST, f"{number}" * 64) for number in range(3)]
    listing = [
        found(Kind.IMAGE, tags[0], age=week),
        found(Kind.IMAGE, tags[1], age=week + timedelta(seconds=1)),
        found(Kind.IMAGE, tags[2], age=timedelta(0)),
        found(Kind.IMAGE, "redis:7", age=timedelta(days=1000)),
    ]
    assert planned(listing) == [tags[1]]
    no_cache = replace(POLICY, retention=timedelta(0))
    assert planned(listing, no_cache) == tags[:2]


def test_what_a_build_left_without_a_tag_goes_by_age() -> None:
    """A cache that moved on does not fill the disk with what it left."""
    old, mine = timedelta(days=8), {CACHE_LABEL: DIGEST[:24]}
    listing = [
        found(Kind.IMAGE, "sha256:aa", labels=mine, age=old),
        found(Kind.IMAGE, "sha256:bb", labels=mine),
        found(Kind.IMAGE, "sha256:cc", age=old),
        found(Kind.IMAGE, "product:1", labels=mine, age=old),
    ]
    assert planned(listing) == ["sha256:aa"]


def test_an_owner_elsewhere_is_judged_by_its_latest_sign_of_life() -> None:
    """A long test on another host keeps its oldest container."""
    hour = timedelta(hours=1)
    old = found(Kind.CONTAINER, named(ELSEWHERE, "c"), age=hour)
    lease = found(Kind.VOLUME, lease_name(ELSEWHERE, 7), age=timedelta(minutes=1))
    assert planned([old, lease]) == []
    assert planned([old]) == [old.resource.name]


def test_an_owner_elsewhere_has_the_lease_that_it_claims() -> None:
    """Each run says for itself how long it may be silent."""
    age = timedelta(minutes=4)
    name = named(ELSEWHERE, "c")
    short = found(Kind.CONTAINER, name, labels=labels_of(ELSEWHERE, lease=60), age=age)
    long = found(
        Kind.CONTAINER,
        name,
        labels=labels_of(ELSEWHERE, lease=7200),
        age=timedelta(hours=1),
    )
    assert planned([short]) == [name]
    assert planned([long]) == []
    assert planned([short, long]) == [], "the longest counts"


def test_an_empty_engine_needs_no_collection() -> None:
    """Nothing comes of nothing."""
    assert planned([]) == []


# The sweep ----------------------------------------------------------------------------


class Bench:
    """An engine in memory with garbage on it, and a clock that nobody waits for."""

    def __init__(self, engine: MemoryEngine | None = None) -> None:
        self.clock = ManualClock()
        self.engine = engine or MemoryEngine(self.clock)

    def add(self, kind: Kind, role: str, *uses: Resource) -> Resource:
        return self.engine.add(kind, named(DEAD, role), uses=uses)

    def plan(self) -> list[Doomed]:
        now = self.engine.now()
        return plan_collection(self.engine.listing(), now=now, policy=POLICY)

    def sweep(self, *, patience: float = 5.0) -> Report:
        return sweep(self.engine, self.plan(), clock=self.clock, patience=patience)

    def left(self) -> set[str]:
        return {str(each.resource) for each in self.engine.listing()}


@pytest.fixture
def bench() -> Bench:
    return Bench()


def refusal(words: str, status: int = 500) -> EngineAnswerError:
    return EngineAnswerError("remove it", status, words)


def in_use() -> ConflictError:
    return ConflictError("remove it", 409, "volume is in use - [c]")


def test_a_sweep_removes_everything_in_the_plan_and_says_so(bench: Bench) -> None:
    """Containers go before what they use, so nothing has to be tried again."""
    used = [bench.add(kind, "used") for kind in (Kind.NETWORK, Kind.VOLUME, Kind.IMAGE)]
    secret = bench.add(Kind.SECRET, "secret")
    for number in range(20):
        bench.add(Kind.CONTAINER, f"c{number}", *used)
    bench.add(Kind.SERVICE, "service", secret, used[0])
    plan = bench.plan()
    report = bench.sweep()
    assert bench.left() == set()
    assert report.removed == tuple(plan)
    assert report.failures == ()
    assert bench.clock.instant() == 0, "it did not wait"


def test_a_sweep_goes_on_after_failures_and_reports_them_all(bench: Bench) -> None:
    """One thing that cannot be removed does not protect all the others."""
    stuck = [bench.add(Kind.CONTAINER, role) for role in "ab"]
    for resource in stuck:
        bench.engine.refuse(resource, *[refusal(f"no way, {resource.name}")] * 100)
    bench.add(Kind.CONTAINER, "c")
    bench.add(Kind.VOLUME, "v")
    report = bench.sweep()
    assert bench.left() == {str(each) for each in stuck}
    assert [str(each) for each in report.failures] == [
        f"remove it: no way, {each.name} (HTTP 500)" for each in stuck
    ]
    removed = {each.resource.name for each in report.removed}
    assert removed == {named(DEAD, "c"), named(DEAD, "v")}


def test_what_is_in_use_is_tried_again_until_it_is_free(bench: Bench) -> None:
    """An engine lets go of a volume only some time after its last container went."""
    volume = bench.add(Kind.VOLUME, "v")
    bench.engine.refuse(volume, in_use(), in_use(), in_use())
    report = bench.sweep()
    assert bench.left() == set()
    assert len(report.removed) == 1
    assert bench.clock.instant() == pytest.approx(0.3)


def test_what_stays_in_use_is_given_up_in_time(bench: Bench) -> None:
    """A volume that a person's container mounts does not hold up the end of a run."""
    volume = bench.add(Kind.VOLUME, "v")
    bench.engine.add(Kind.CONTAINER, "somebody's", uses=[volume])
    report = bench.sweep(patience=2.0)
    assert [type(each) for each in report.failures] == [ConflictError]
    assert "volume is in use" in str(report.failures[0])
    assert report.removed == ()
    assert bench.clock.instant() == pytest.approx(2.0)


def test_with_no_patience_everything_is_tried_once(bench: Bench) -> None:
    """Who has no time to wait still gets an answer for each thing."""
    volume = bench.add(Kind.VOLUME, "v")
    bench.engine.refuse(volume, in_use())
    assert len(bench.sweep(patience=0.0).failures) == 1
    assert bench.sweep(patience=0.0).failures == ()


def test_nobody_is_silent_while_an_engine_makes_its_list() -> None:
    """A lease is as old as it was when the engine was asked."""

    class BusyEngine(MemoryEngine):
        def listing(self, *, dated: bool = True) -> list[Found]:
            found = super().listing(dated=dated)
            clock.advance(301.0)
            return found

    clock = ManualClock()
    busy = BusyEngine(clock)
    elsewhere = Owner(scope="f0f0f0", pid=11, start=1)
    busy.add(Kind.CONTAINER, named(elsewhere, "c"), labels=labels_of(elsewhere))
    listing, now = look(busy)
    assert plan_collection(listing, now=now, policy=POLICY) == []
    assert len(plan_collection(listing, now=busy.now(), policy=POLICY)) == 1


def test_patience_begins_anew_with_each_kind() -> None:
    """After a hundred containers there is still time to wait for their network."""

    class SlowEngine(MemoryEngine):
        def remove(self, resource: Resource) -> None:
            if resource.kind is Kind.CONTAINER:
                slow.clock.advance(6.0)
            super().remove(resource)

    slow = Bench(SlowEngine())
    network = slow.add(Kind.NETWORK, "n")
    slow.add(Kind.CONTAINER, "c", network)
    slow.engine.refuse(network, refusal("has active endpoints", 403))
    assert slow.sweep().failures == ()
    assert slow.left() == set()


@pytest.mark.parametrize(
    "answer",
    [
        NotFoundError("remove it", 404, "No such container: c"),
        NotFoundError("remove it", 404, "reference does not exist"),
        refusal("No such volume: v"),
    ],
    ids=str,
)
def test_what_somebody_else_removed_counts_as_removed(
    bench: Bench, answer: DockerError
) -> None:
    """The answers of real engines when two collectors are at work at once."""
    kind = Kind.VOLUME if "volume" in str(answer) else Kind.CONTAINER
    bench.engine.refuse(bench.add(kind, "c"), answer)
    report = bench.sweep()
    assert (len(report.removed), report.failures) == (1, ())
    assert bench.clock.instant() == 0, "it did not wait"


@pytest.mark.parametrize("times", [1, 3, 1000])
def test_what_somebody_else_is_removing_is_waited_for_and_then_counts_as_removed(
    bench: Bench, times: int
) -> None:
    """Its network can go only after it, but it needs no second collector."""
    container = bench.add(Kind.CONTAINER, "c")
    words = f"removal of container {container.id} is already in progress"
    bench.engine.refuse(container, *[ConflictError("remove it", 409, words)] * times)
    report = bench.sweep()
    assert (len(report.removed), report.failures) == (1, ())
    assert bench.clock.instant() == pytest.approx(min(times * 0.1, 5.0), abs=0.11)


def test_a_swarm_network_that_is_gone_counts_as_removed(bench: Bench) -> None:
    """Engine 26.1 says so with HTTP 500."""
    network = bench.add(Kind.NETWORK, "n")
    bench.engine.refuse(network, refusal(f"network {network.id} not found"))
    report = bench.sweep()
    assert (len(report.removed), report.failures) == (1, ())


@pytest.mark.parametrize(
    "words",
    [
        "unlinkat /var/lib/docker/overlay2/abc: no such file or directory",
        "error while removing network: network driver not found",
    ],
)
def test_a_missing_part_of_something_does_not_mean_that_it_is_gone(
    bench: Bench, words: str
) -> None:
    """What an engine failed to remove is reported, whatever it stumbled over."""
    network = bench.add(Kind.NETWORK, "n")
    bench.engine.refuse(network, *[refusal(words)] * 100)
    report = bench.sweep()
    assert report.removed == ()
    assert [str(each) for each in report.failures] == [f"remove it: {words} (HTTP 500)"]


class MuteEngine(MemoryEngine):
    """An engine that does not answer removals, which takes a minute to find out."""

    def __init__(self) -> None:
        self.minutes = ManualClock()
        super().__init__(self.minutes)
        self.asked = 0

    def remove(self, resource: Resource) -> None:
        self.asked += 1
        self.minutes.advance(60.0)
        raise EngineUnreachableError("unix:///x.sock", f"could not remove {resource}")


def test_an_engine_that_went_away_is_not_asked_about_each_thing() -> None:
    """The end of a run takes a minute then, not hours; and it says what is left."""
    mute = MuteEngine()
    bench = Bench(mute)
    for number in range(200):
        bench.add(Kind.CONTAINER, f"c{number}")
    bench.add(Kind.NETWORK, "n")
    bench.add(Kind.VOLUME, "v")
    report = sweep(mute, bench.plan(), clock=mute.minutes)
    assert report.removed == ()
    assert len(report.failures) == 202
    assert all(isinstance(each, EngineUnreachableError) for each in report.failures)
    assert mute.asked <= PARALLEL_REMOVALS


def test_an_engine_that_comes_back_is_asked_again(bench: Bench) -> None:
    """One connection that broke does not end a collection."""
    gone = EngineUnreachableError("unix:///x.sock", "connection reset")
    for number in range(20):
        bench.engine.refuse(bench.add(Kind.CONTAINER, f"c{number}"), gone)
    bench.add(Kind.VOLUME, "v")
    assert bench.sweep().failures == ()
    assert bench.left() == set()


def test_nothing_to_remove_takes_nothing(bench: Bench) -> None:
    """A clean engine costs no threads and no time."""
    before = threading.active_count()
    assert bench.sweep() == Report()
    assert threading.active_count() == before
    assert bench.clock.instant() == 0


def test_removals_are_made_in_parallel_but_not_without_limit() -> None:
    """Eight at once take a fifth of the time, more would take no less."""
    together = threading.Barrier(PARALLEL_REMOVALS)
    busy, most = threading.Semaphore(PARALLEL_REMOVALS), []

    class CountingEngine(MemoryEngine):
        def remove(self, resource: Resource) -> None:
            most.append(busy.acquire(blocking=False))
            try:
                together.wait(timeout=30.0)
                super().remove(resource)
            finally:
                busy.release()

    bench = Bench(CountingEngine())
    for number in range(3 * PARALLEL_REMOVALS):
        bench.add(Kind.CONTAINER, f"c{number}")
    assert bench.sweep().failures == ()
    assert all(most)
    assert bench.left() == set()


def test_two_sweeps_at_once_both_succeed(bench: Bench) -> None:
    """No lock is needed between two runs that collect the same garbage."""
    used = [bench.add(kind, "used") for kind in (Kind.NETWORK, Kind.VOLUME, Kind.IMAGE)]
    for number in range(40):
        bench.add(Kind.CONTAINER, f"c{number}", *used)
    plan, start = bench.plan(), threading.Barrier(2)

    def collect() -> Report:
        start.wait(timeout=30.0)
        return sweep(bench.engine, plan, clock=bench.clock)

    with ThreadPoolExecutor(2) as pool:
        sweeps = [pool.submit(collect) for _ in range(2)]
        reports = [each.result(timeout=60.0) for each in sweeps]
    assert [report.failures for report in reports] == [(), ()]
    assert [report.removed for report in reports] == [tuple(plan)] * 2
    assert bench.left() == set()
    assert len(bench.engine.removed) == len(plan), "each thing was removed once"


@pytest.mark.docker
@pytest.mark.engine20
def test_collectors_at_once_all_succeed_on_a_real_engine(
    engine: ApiEngine, owner: Owner
) -> None:
    """Whatever a real engine answers to three at once, nothing is left, no error."""

    def name(role: str) -> str:
        return resource_name(owner, "three_at_once", role, next(numbers))

    numbers, labels = itertools.count(), labels_of(owner)
    image = f"{name('image')}:latest"
    engine.tag_image(BUSYBOX, image)
    for _ in range(5):
        network, volume, container = name("network"), name("volume"), name("container")
        engine.create_network(network, labels, {})
        engine.create_volume(volume, labels)
        host = {"NetworkMode": network, "Binds": [f"{volume}:/data"]}
        body = {"Image": image, "Cmd": ["sleep", "600"], "HostConfig": host}
        engine.start_container(engine.create_container(container, body))
    policy = Policy(
        domain=this_domain(),
        start_of=start_of_process,
        lease=timedelta(minutes=5),
        retention=timedelta(days=7),
        known=(owner,),
    )
    listing = [each for each in engine.listing() if owner_of(each) == owner]
    plan = plan_collection(listing, now=engine.now(), policy=policy)
    start = threading.Barrier(3)

    def collect() -> Report:
        start.wait(timeout=30.0)
        return sweep(engine, plan, clock=SystemClock())

    with ThreadPoolExecutor(3) as pool:
        sweeps = [pool.submit(collect) for _ in range(3)]
        reports = [each.result(timeout=60.0) for each in sweeps]
    assert [report.failures for report in reports] == [()] * 3
    assert [len(report.removed) for report in reports] == [16] * 3
    assert [each for each in engine.listing() if owner_of(each) == owner] == []
