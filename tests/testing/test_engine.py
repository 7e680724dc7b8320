"""`MemoryEngine` keeps its promises: the same assertions hold on a real engine."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pysys_orch.clock import SystemClock
from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.collect import (
    Doomed,
    Engine,
    Policy,
    Report,
    plan_collection,
    sweep,
)
from pysys_orch.docker.engine.command import ContainerSpec
from pysys_orch.docker.engine.model import Found, Kind, Resource
from pysys_orch.docker.engine.ownership import (
    CACHE_LABEL,
    SERVICE_ID_LABEL,
    Owner,
    cache_tag,
    owner_of,
    resource_name,
    start_of_process,
    this_domain,
)
from pysys_orch.docker.engine.servicespec import File, ServiceSpec, service_body
from pysys_orch.docker.engine.swarm import remove_service, running_tasks
from pysys_orch.errors import (
    ConfigError,
    ConflictError,
    EngineAnswerError,
    NotFoundError,
)
from pysys_orch.testing import ManualClock, MemoryEngine
from tests.conftest import BUSYBOX
from tests.docker.owned import eventually

LABELS = {"orch.contract": "a", "empty": ""}
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
HERE = this_domain()


class Bench(ABC):
    """Something to make things on, for one owner."""

    engine: Engine
    owner: Owner

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def name(self, role: str) -> str:
        return resource_name(self.owner, "contract", role, next(self._numbers))

    def find(self, resource: Resource) -> Found | None:
        for each in self.engine.listing():
            if each.resource == resource:
                return each
        return None

    @abstractmethod
    def network(self) -> Resource: ...

    @abstractmethod
    def volume(self) -> Resource: ...

    @abstractmethod
    def image(self, tag: str = "", *, label: str = "orch.contract") -> Resource:
        """Make an image that has nothing but this one tag, and this label."""

    @abstractmethod
    def container(self, *uses: Resource, running: bool = True) -> Resource: ...

    @abstractmethod
    def file(self, kind: Kind) -> Resource:
        """Make a secret or config."""

    @abstractmethod
    def service(self, *uses: Resource) -> Resource:
        """Make a service whose one task runs, and uses these secrets and configs."""

    @abstractmethod
    def tag(self, image: Resource, name: str) -> Resource: ...

    @abstractmethod
    def digest(self, image: Resource) -> Resource:
        """Return what an image is called that has no tag."""


class MemoryBench(Bench):
    """What people test with."""

    def __init__(self) -> None:
        super().__init__()
        self.owner = Owner(scope=HERE.scope, pid=2**22 + 1, start=1)
        self._memory = self.engine = MemoryEngine(ManualClock(instant=100.0))

    def network(self) -> Resource:
        return self._memory.add(Kind.NETWORK, self.name("network"), labels=LABELS)

    def volume(self) -> Resource:
        return self._memory.add(Kind.VOLUME, self.name("volume"), labels=LABELS)

    def image(self, tag: str = "", *, label: str = "orch.contract") -> Resource:
        tag = tag or f"{self.name('image')}:1"
        made = self._memory.add(Kind.IMAGE, f"{tag}-new", labels={label: "a"})
        self._memory.tag(made, tag)
        self._memory.remove(made)
        return replace(made, id=tag, name=tag)

    def container(self, *uses: Resource, running: bool = True) -> Resource:
        name = self.name("container")
        return self._memory.add(
            Kind.CONTAINER, name, labels=LABELS, uses=uses, running=running
        )

    def file(self, kind: Kind) -> Resource:
        return self._memory.add(kind, self.name(kind), labels=LABELS)

    def service(self, *uses: Resource) -> Resource:
        name = self.name("service")
        service = self._memory.add(Kind.SERVICE, name, labels=LABELS, uses=uses)
        labels = {**LABELS, SERVICE_ID_LABEL: service.id}
        self._memory.add(Kind.CONTAINER, f"{name}.1.id", labels=labels)
        return service

    def tag(self, image: Resource, name: str) -> Resource:
        return self._memory.tag(image, name)

    def digest(self, image: Resource) -> Resource:
        digest = self._memory.digest(image)
        return Resource(kind=Kind.IMAGE, id=digest, name=digest)


class RealBench(Bench):
    """What they test for."""

    def __init__(self, engine: ApiEngine, owner: Owner) -> None:
        super().__init__()
        self.owner = owner
        self._api = self.engine = engine

    def network(self) -> Resource:
        name = self.name("network")
        return Resource(
            kind=Kind.NETWORK, id=self._api.create_network(name, LABELS, {}), name=name
        )

    def volume(self) -> Resource:
        name = self.name("volume")
        self._api.create_volume(name, LABELS)
        return Resource(kind=Kind.VOLUME, id=name, name=name)

    def image(self, tag: str = "", *, label: str = "orch.contract") -> Resource:
        tag = tag or f"{self.name('image')}:1"
        # The number makes it a new image, which shares nothing with any other.
        body = {"Image": BUSYBOX, "Env": [f"NUMBER={next(self._numbers)}"]}
        made = self._api.create_container(self.name("template"), body)
        self._api.commit_container(made, tag, {label: "a"})
        self._api.remove(Resource(kind=Kind.CONTAINER, id=made, name=made))
        return Resource(kind=Kind.IMAGE, id=tag, name=tag)

    def container(self, *uses: Resource, running: bool = True) -> Resource:
        host: dict[str, object] = {}
        body = {
            "Image": BUSYBOX,
            "Cmd": ["sleep", "600"],
            "Labels": LABELS,
            "HostConfig": host,
        }
        for each in uses:
            match each.kind:
                case Kind.NETWORK:
                    host["NetworkMode"] = each.name
                case Kind.VOLUME:
                    host["Binds"] = [f"{each.name}:/data"]
                case _:
                    body["Image"] = each.name
        name = self.name("container")
        made = self._api.create_container(name, body)
        if running:
            self._api.start_container(made)
        return Resource(kind=Kind.CONTAINER, id=made, name=name)

    def file(self, kind: Kind) -> Resource:
        name = self.name(kind)
        make = {Kind.SECRET: self._api.create_secret}.get(kind, self._api.create_config)
        return Resource(kind=kind, id=make(name, b"text", LABELS), name=name)

    def service(self, *uses: Resource) -> Resource:
        name = self.name("service")
        container = ContainerSpec(
            name=name, image=BUSYBOX, command=("sleep", "600"), labels=LABELS
        )
        files = tuple(
            File(kind=each.kind, id=each.id, name=each.name, target=f"/{each.name}")
            for each in uses
        )
        spec = ServiceSpec(container=container, files=files)
        service = self._api.create_service(service_body(spec))
        eventually(
            lambda: running_tasks(self._api.list_tasks(service)), what="its task runs"
        )
        return Resource(kind=Kind.SERVICE, id=service, name=name)

    def tag(self, image: Resource, name: str) -> Resource:
        self._api.tag_image(image.id, name)
        return Resource(kind=Kind.IMAGE, id=name, name=name)

    def digest(self, image: Resource) -> Resource:
        digest = self._api.inspect_image(image.id)["Id"]
        return Resource(kind=Kind.IMAGE, id=digest, name=digest)


@pytest.fixture(
    params=[
        "memory",
        pytest.param("real", marks=[pytest.mark.docker, pytest.mark.engine20]),
    ]
)
def bench(request: pytest.FixtureRequest) -> Bench:
    if request.param == "memory":
        return MemoryBench()
    # Asked for late, so that without an engine the other half is tested all the same.
    return RealBench(
        request.getfixturevalue("engine"), request.getfixturevalue("owner")
    )


@pytest.fixture
def cached(bench: Bench) -> Iterator[Resource]:
    """Return a tag of the cache, which nobody owns, and take it off at the end."""
    digits = f"{SystemClock().stamp().timestamp() * 1e6:064.0f}"
    name = cache_tag(digits[::-1], digits[::-1])
    resource = Resource(kind=Kind.IMAGE, id=name, name=name)
    yield resource
    with suppress(NotFoundError):
        bench.engine.remove(resource)


def test_what_is_made_is_listed_with_its_name_and_labels(bench: Bench) -> None:
    """A collection sees what it has to decide on."""
    for resource in (bench.network(), bench.volume(), bench.container()):
        found = bench.find(resource)
        assert found is not None, resource
        assert found.labels == LABELS
        assert owner_of(found) == bench.owner


def test_what_is_made_has_the_engine_s_time_in_utc(bench: Bench) -> None:
    """Ages are right even if the clocks of two hosts differ."""
    before = bench.engine.now().replace(microsecond=0)  # some kinds count in seconds
    made = [bench.network(), bench.volume(), bench.image(), bench.container()]
    after = bench.engine.now()
    assert before.utcoffset() == timedelta(0)
    for resource in made:
        found = bench.find(resource)
        assert found is not None, resource
        assert found.created.utcoffset() == timedelta(0)
        assert before <= found.created <= after


def test_an_image_is_listed_once_for_each_of_its_tags(bench: Bench) -> None:
    """Each tag is a thing of its own: one may be a test's, the other a person's."""
    image = bench.image()
    other = bench.tag(image, f"{bench.name('other')}:2")
    digests = {bench.digest(image), bench.digest(other)}
    assert len(digests) == 1
    assert bench.find(image)
    assert bench.find(other)
    assert bench.find(digests.pop()) is None


def test_a_tag_says_when_a_cached_image_was_used_last(
    bench: Bench, cached: Resource
) -> None:
    """Who tags an image again keeps it from ageing."""
    before = bench.engine.now().replace(microsecond=0)
    bench.tag(bench.image(), cached.name)
    first = bench.find(cached)
    assert first is not None
    assert before <= first.created
    bench.tag(cached, cached.name)
    second = bench.find(cached)
    assert second is not None
    assert first.created <= second.created <= bench.engine.now()


def test_a_tag_can_be_given_to_another_image(bench: Bench) -> None:
    """The image that had it is left without, and is listed if it is of our builds."""
    tag = f"{bench.name('image')}:1"
    ours = bench.digest(bench.image(tag, label=CACHE_LABEL))
    others = bench.digest(bench.image(tag))
    last = bench.image(tag)
    try:
        found = bench.find(ours)
        assert found is not None
        assert CACHE_LABEL in found.labels
        assert bench.find(others) is None
        assert bench.find(last)
    finally:
        bench.engine.remove(ours)
        bench.engine.remove(others)
    assert bench.find(ours) is None


def test_a_running_container_is_killed_and_removed(bench: Bench) -> None:
    """Nobody has to stop it first."""
    container = bench.container()
    bench.engine.remove(container)
    assert bench.find(container) is None


def test_a_thing_can_be_removed_by_its_name(bench: Bench) -> None:
    """Who knows no id can still clean up."""
    for resource in (bench.network(), bench.container(running=False)):
        bench.engine.remove(replace(resource, id=resource.name))
        assert bench.find(resource) is None


def test_a_network_with_a_running_container_is_refused(bench: Bench) -> None:
    """Containers have to go first."""
    network = bench.network()
    container = bench.container(network)
    with pytest.raises(EngineAnswerError, match="has active endpoints") as refusal:
        bench.engine.remove(network)
    assert refusal.value.status == 403
    assert not isinstance(refusal.value, ConflictError | NotFoundError)
    assert bench.find(network)
    bench.engine.remove(container)
    bench.engine.remove(network)
    assert bench.find(network) is None


def test_a_network_whose_container_does_not_run_is_removed(bench: Bench) -> None:
    """The container can then not be started any more."""
    network = bench.network()
    bench.container(network, running=False)
    bench.engine.remove(network)
    assert bench.find(network) is None


@pytest.mark.parametrize("running", [True, False])
def test_a_volume_in_use_is_refused(bench: Bench, *, running: bool) -> None:
    """It does not matter whether its container runs."""
    volume = bench.volume()
    container = bench.container(volume, running=running)
    with pytest.raises(ConflictError, match="volume is in use") as refusal:
        bench.engine.remove(volume)
    assert container.id in refusal.value.explanation
    assert refusal.value.status == 409
    bench.engine.remove(container)
    bench.engine.remove(volume)
    assert bench.find(volume) is None


@pytest.mark.parametrize("running", [True, False])
def test_the_last_tag_of_an_image_in_use_is_refused(
    bench: Bench, *, running: bool
) -> None:
    """An image stays as long as any container is made of it."""
    image = bench.image()
    container = bench.container(image, running=running)
    with pytest.raises(ConflictError, match="is using its referenced image") as refusal:
        bench.engine.remove(image)
    assert f'remove repository reference "{image.name}"' in refusal.value.explanation
    assert container.id[:12] in refusal.value.explanation
    assert refusal.value.status == 409
    bench.engine.remove(container)
    bench.engine.remove(image)
    assert bench.find(image) is None


@pytest.mark.parametrize("running", [True, False])
def test_an_image_in_use_is_refused_by_its_digest(
    bench: Bench, *, running: bool
) -> None:
    """What our builds left without a tag stays while somebody's container needs it."""
    image = bench.image()
    bench.container(image, running=running)
    state = "running" if running else "stopped"
    words = f"image is being used by {state} container"
    with pytest.raises(ConflictError, match=words):
        bench.engine.remove(bench.digest(image))
    assert bench.find(image)


def test_one_of_two_tags_of_an_image_in_use_is_taken_off(bench: Bench) -> None:
    """A test's own tag goes with the test, whoever else uses the image."""
    image = bench.image()
    other = bench.tag(image, f"{bench.name('other')}:2")
    bench.container(image)
    bench.engine.remove(image)
    assert bench.find(image) is None
    assert bench.find(other)


def test_an_image_with_tags_in_two_repositories_is_refused_by_its_digest(
    bench: Bench,
) -> None:
    """Nobody loses an image because somebody else's leftovers are removed."""
    image = bench.image()
    other = bench.tag(image, f"{bench.name('other')}:2")
    words = "image is referenced in multiple repositories"
    with pytest.raises(ConflictError, match=words):
        bench.engine.remove(bench.digest(image))
    assert bench.find(image)
    assert bench.find(other)


def test_with_its_last_tag_an_image_is_gone(bench: Bench) -> None:
    """Nothing without a name is left behind."""
    image = bench.image()
    digest = bench.digest(image)
    bench.engine.remove(image)
    with pytest.raises(NotFoundError, match="No such image"):
        bench.engine.remove(digest)


def test_what_is_gone_already_is_not_found(bench: Bench) -> None:
    """Who comes second can tell that from a failure."""
    words = {
        Kind.CONTAINER: "No such container: {}",
        Kind.NETWORK: "network {} not found",
        Kind.IMAGE: "No such image: {}",
    }
    for resource in (bench.container(running=False), bench.network(), bench.image()):
        bench.engine.remove(resource)
        with pytest.raises(NotFoundError) as refusal:
            bench.engine.remove(resource)
        assert refusal.value.explanation == words[resource.kind].format(resource.id)
        assert refusal.value.status == 404
        assert str(resource) in refusal.value.request


def test_a_volume_that_is_gone_already_is_no_failure(bench: Bench) -> None:
    """An engine that is told to force it does not say that there was none."""
    volume = bench.volume()
    bench.engine.remove(volume)
    bench.engine.remove(volume)
    assert bench.find(volume) is None


def test_a_collection_leaves_nothing_of_an_owner_that_ended(bench: Bench) -> None:
    """What uses each other is removed at one go, and what is not owned stays."""
    network, volume, image = bench.network(), bench.volume(), bench.image()
    for running in (True, False):
        bench.container(network, volume, image, running=running)
    policy = Policy(
        domain=HERE,
        start_of=start_of_process,
        lease=timedelta(minutes=5),
        retention=timedelta(days=7),
        known=(bench.owner,),
    )
    mine = [each for each in bench.engine.listing() if owner_of(each) == bench.owner]
    plan = plan_collection(mine, now=bench.engine.now(), policy=policy)
    report = sweep(bench.engine, plan, clock=SystemClock())
    assert report.failures == ()
    assert report.removed == tuple(plan)
    assert [
        each for each in bench.engine.listing() if owner_of(each) == bench.owner
    ] == []


# Of a swarm ---------------------------------------------------------------------------


@pytest.fixture
def swarming(bench: Bench, request: pytest.FixtureRequest) -> Bench:
    if isinstance(bench, RealBench):
        request.getfixturevalue("swarm")
    return bench


def test_what_is_made_in_a_swarm_is_listed(swarming: Bench) -> None:
    """A collection sees what it has to decide on."""
    made = [swarming.file(Kind.SECRET), swarming.file(Kind.CONFIG), swarming.service()]
    for resource in made:
        found = swarming.find(resource)
        assert found is not None, resource
        assert found.labels == LABELS
        assert owner_of(found) == swarming.owner


def test_a_service_that_is_removed_leaves_its_containers(swarming: Bench) -> None:
    """They would run on for ten seconds; who removes it removes them."""
    service, other = swarming.service(), swarming.service()
    engine = swarming.engine
    assert engine.starting_tasks(service.id) == 0
    (container,) = engine.task_containers(service.id)
    assert container.name.startswith(f"{service.name}.1.")
    found = swarming.find(container)
    assert found is not None
    assert owner_of(found) == swarming.owner  # so a collection finds it without
    engine.remove(service)
    assert swarming.find(service) is None
    assert engine.task_containers(service.id) == [container]
    remove_service(engine, service, clock=SystemClock())
    assert engine.task_containers(service.id) == []
    assert swarming.find(container) is None
    assert len(engine.task_containers(other.id)) == 1
    remove_service(engine, other, clock=SystemClock())


def test_a_sweep_leaves_nothing_of_a_service(swarming: Bench) -> None:
    """What it used can be removed, too."""
    files = [swarming.file(Kind.SECRET), swarming.file(Kind.CONFIG)]
    service = swarming.service(*files)
    (container,) = swarming.engine.task_containers(service.id)
    plan = [Doomed(resource=each, reason="test") for each in (service, *files)]
    report = sweep(swarming.engine, plan, clock=SystemClock())
    assert report == Report(removed=tuple(plan))
    for each in (service, container, *files):
        assert swarming.find(each) is None


@pytest.mark.parametrize("kind", [Kind.SECRET, Kind.CONFIG])
def test_what_a_service_uses_is_refused(swarming: Bench, kind: Kind) -> None:
    """Services have to go first."""
    used = swarming.file(kind)
    service = swarming.service(used)
    with pytest.raises(EngineAnswerError) as refusal:
        swarming.engine.remove(used)
    assert refusal.value.status == 400
    assert refusal.value.explanation == (
        f"rpc error: code = InvalidArgument desc = {kind} '{used.name}' is in use by "
        f"the following service: {service.name}"
    )
    remove_service(swarming.engine, service, clock=SystemClock())
    swarming.engine.remove(used)
    assert swarming.find(used) is None


@pytest.mark.parametrize("kind", [Kind.SERVICE, Kind.SECRET, Kind.CONFIG])
def test_what_a_swarm_lost_is_not_found(swarming: Bench, kind: Kind) -> None:
    """It is the same as with what is no part of a swarm."""
    gone = swarming.service() if kind is Kind.SERVICE else swarming.file(kind)
    remove_service(swarming.engine, gone, clock=SystemClock())
    with pytest.raises(NotFoundError, match=f"^.*{kind} {gone.id} not found"):
        swarming.engine.remove(gone)


# What only the fake has ---------------------------------------------------------------


@pytest.fixture
def memory() -> MemoryEngine:
    return MemoryEngine()


def test_a_network_of_a_service_is_refused(memory: MemoryEngine) -> None:
    """In the words of engine 26.1 as manager of a swarm."""
    network = memory.add(Kind.NETWORK, "net")
    service = memory.add(Kind.SERVICE, "web", uses=[network])
    with pytest.raises(EngineAnswerError) as refusal:
        memory.remove(network)
    assert refusal.value.status == 400
    assert refusal.value.explanation == (
        "rpc error: code = FailedPrecondition desc = "
        f"network {network.id} is in use by service {service.id}"
    )


def test_scripted_refusals_come_in_order_and_then_all_is_normal(
    memory: MemoryEngine,
) -> None:
    """A test can play any engine's bad day."""
    volume, other = memory.add(Kind.VOLUME, "v"), memory.add(Kind.VOLUME, "w")
    script = [
        ConflictError("remove v", 409, "in use"),
        EngineAnswerError("remove v", 500, "out of order"),
    ]
    memory.refuse(volume, *script)
    memory.remove(other)
    for expected in script:
        with pytest.raises(EngineAnswerError) as refusal:
            memory.remove(volume)
        assert refusal.value is expected
    memory.remove(volume)
    assert memory.removed == (other, volume)


def test_two_of_one_name_cannot_be_made(memory: MemoryEngine) -> None:
    """A mistake in a test shows at once; but kinds have names of their own."""
    memory.add(Kind.NETWORK, "a")
    memory.add(Kind.VOLUME, "a")
    with pytest.raises(ConflictError, match="network a already exists"):
        memory.add(Kind.NETWORK, "a")


def test_what_is_not_there_cannot_be_used_or_tagged(memory: MemoryEngine) -> None:
    """A mistake in a test shows at once."""
    missing = Resource(kind=Kind.IMAGE, id="a:1", name="a:1")
    with pytest.raises(NotFoundError, match="No such image: a:1"):
        memory.add(Kind.CONTAINER, "c", uses=[missing])
    with pytest.raises(NotFoundError, match="No such image: a:1"):
        memory.tag(missing, "b:1")
    with pytest.raises(ConfigError, match="only an image has tags, got volume v"):
        memory.tag(memory.add(Kind.VOLUME, "v"), "b:1")


def test_things_are_as_old_as_a_test_wants_them() -> None:
    """Whatever goes by age is tested without waiting."""
    clock = ManualClock()
    memory = MemoryEngine(clock)
    memory.add(Kind.VOLUME, "old", created=LONG_AGO)
    memory.add(Kind.VOLUME, "new")
    clock.advance(60.0)
    ages = {
        each.resource.name: memory.now() - each.created for each in memory.listing()
    }
    assert ages["new"] == timedelta(minutes=1)
    assert ages["old"] == clock.stamp() - LONG_AGO
