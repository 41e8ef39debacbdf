"""Masters that are pods: restarted, and emptied, wherever whoever does that is killed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from clients.kubernetes import KubernetesError
from stacks.automation import StackRunner
from stacks.migration import readers
from stacks.migration.acts.election import LOWEST_NUMBER_MIN, raise_election_numbers
from stacks.migration.acts.masters import has_led, reset_target_masters
from stacks.migration.bounds import Bounds
from stacks.migration.errors import ActFailedError
from stacks.migration.guards import tables
from stacks.migration.guards.masters import masters_restartable, target_masters_resettable
from stacks.migration.hosts.kubernetes import DeclaredSet, KubernetesMasters
from stacks.migration.phases import BACK, FORWARD, Direction
from stacks.migration.world import World
from stacks.topology import Color, Standing
from tests.stacks.migration.fake_cluster import OTHERS, FakeCluster
from tests.stacks.migration.fake_group import Group, situation
from tests.stacks.migration.fake_masters import SITUATION, Masters, world_of
from tests.stacks.migration.fake_world import KilledError

HERE = Color.GREEN
NAMES = tuple(f"{HERE}-masters-{index}" for index in range(3))
CLAIMS = tuple(f"state-{name}" for name in NAMES)


def say_nothing(_: str) -> None:
    """For acts that nobody listens to."""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    return make(monkeypatch)


def make(monkeypatch: pytest.MonkeyPatch, kill_at: int | None = None) -> FakeCluster:
    """One that runs, and whose masters have come to their first numbers."""
    group = Group(HERE, numbers={}, number_next=0)
    made = FakeCluster(group, kill_at=kill_at)
    monkeypatch.setattr(readers, "candidates", group.candidates)
    # Nothing here takes time.
    monkeypatch.setattr("stacks.migration.waiting._PAUSE_S", 0.0)
    assert group.numbers == {0: 0, 1: 1, 2: 2}
    return made


async def test_a_restart_ends_that_pod_alone_and_waits_for_its_successor(
    cluster: FakeCluster,
) -> None:
    before = {name: pod["metadata"]["uid"] for name, pod in cluster.pods.items()}

    await cluster.host().restart(1, say_nothing)

    assert cluster.writes == [f"evict {NAMES[1]}"]
    assert cluster.ended == [before[NAMES[1]]]
    after = {name: pod["metadata"]["uid"] for name, pod in cluster.pods.items()}
    assert {name for name in NAMES if after[name] != before[name]} == {NAMES[1]}
    assert cluster.wanted["status"]["readyReplicas"] == 3
    # Its log is the same.
    assert cluster.group.knows == {0, 1, 2}


async def test_a_pod_that_its_budget_keeps_is_waited_for_and_left_alone(
    cluster: FakeCluster,
) -> None:
    cluster.keeps = True
    with pytest.raises(ActFailedError, match="the disruption budget of green-masters keeps pod"):
        await cluster.host(ready_s=0.01).restart(1, say_nothing)
    assert cluster.ended == []


async def test_a_reset_empties_every_member_while_none_runs_and_nothing_else(
    cluster: FakeCluster,
) -> None:
    before = dict(cluster.claims)

    assert await cluster.host().reset(say_nothing) == CLAIMS

    deleted = [f"delete {name}" for name in CLAIMS]
    assert cluster.writes == ["scale green-masters to 0", *deleted, "scale green-masters to 3"]
    assert {name for name, uid in cluster.claims.items() if before[name] != uid} == set(CLAIMS)
    assert {*OTHERS, *CLAIMS} == cluster.claims.keys()
    assert cluster.wanted["status"]["readyReplicas"] == 3
    assert not cluster.group.knows


async def test_numbers_are_raised_with_every_pod_wherever_the_runner_was_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(1, await _chances(monkeypatch, raise_election_numbers) + 1):
        cluster = make(monkeypatch, kill_at=number)
        with pytest.raises(KilledError):
            await raise_election_numbers(cluster.world(), situation(1), say_nothing)

        found = await raise_election_numbers(cluster.world(), situation(2), say_nothing)

        assert found.failed is None
        assert set(cluster.pods) == set(NAMES), f"killed at {number}"
        assert min(cluster.group.numbers.values()) >= LOWEST_NUMBER_MIN
        assert cluster.group.knows == {0, 1, 2}
        # No more than one at a time, and no claim.
        assert all(write.startswith("evict ") for write in cluster.writes)


@pytest.mark.parametrize("begun", [2, 1], ids=["resumed", "begun-anew"])
async def test_all_forget_wherever_the_runner_was_killed(
    monkeypatch: pytest.MonkeyPatch, begun: int
) -> None:
    for number in range(1, await _chances(monkeypatch, reset_target_masters) + 1):
        cluster = make(monkeypatch, kill_at=number)
        with pytest.raises(KilledError):
            await reset_target_masters(cluster.world(), situation(1), say_nothing)

        # Also where the journal of the one that was killed is not read.
        await reset_target_masters(cluster.world(), situation(begun), say_nothing)

        assert set(cluster.pods) == set(NAMES), f"killed at {number}"
        assert cluster.wanted["spec"]["replicas"] == 3
        assert not await has_led(cluster.world(), HERE), f"killed at {number}"
        assert {*OTHERS, *CLAIMS} == cluster.claims.keys()
        assert all(cluster.claims[name] == f"uid-of-{name}" for name in OTHERS)


async def _chances(monkeypatch: pytest.MonkeyPatch, act: Any) -> int:
    cluster = make(monkeypatch)
    await act(cluster.world(), situation(1), say_nothing)
    return 2 * len(cluster.writes)


async def test_masters_that_led_nobody_keep_their_claims(cluster: FakeCluster) -> None:
    cluster.group.knows.clear()
    found = await reset_target_masters(cluster.world(), situation(1), say_nothing)
    assert "skipped" in found.numbers
    assert cluster.writes == []


async def test_as_many_are_wanted_again_as_are_declared(cluster: FakeCluster) -> None:
    cluster.wanted["spec"]["replicas"] = 1
    cluster.wanted["metadata"]["generation"] += 1
    cluster.settle()
    assert set(cluster.pods) == {NAMES[0]}

    await cluster.host().start(say_nothing)

    assert cluster.wanted["status"]["readyReplicas"] == 3


async def test_a_statefulset_that_the_stack_did_not_make_is_left_alone(
    cluster: FakeCluster,
) -> None:
    declared = DeclaredSet(cluster.name, "mesos", 3, "uid-on-another-cluster")
    host = KubernetesMasters(cluster, declared, ready_s=0.5)
    for call in (host.reset, host.start):
        with pytest.raises(ActFailedError, match="is this the cluster where the stack runs"):
            await call(say_nothing)
    assert cluster.writes == []


# What is looked at before anything is stopped


async def test_a_right_that_lacks_is_named_and_nothing_is_tried(cluster: FakeCluster) -> None:
    assert (await cluster.host().examine()).ok
    cluster.denied = frozenset({f"delete persistentvolumeclaims {CLAIMS[1]}"})
    found = await cluster.host().examine()
    assert not found.ok
    assert found.said == f"green-masters in mesos: may not {next(iter(cluster.denied))}"
    assert cluster.writes == []


async def test_a_pod_that_does_not_serve_is_told_of_before_others_are_restarted(
    cluster: FakeCluster,
) -> None:
    cluster.pods[NAMES[2]]["metadata"]["deletionTimestamp"] = "now"
    found = await cluster.host().examine()
    assert not found.ok
    assert "2 of 3 pods are ready" in found.said


def test_the_edge_that_restarts_masters_asks_first_whether_it_may() -> None:
    assert masters_restartable in tables.OPENING[2, Direction.FORWARD]
    assert target_masters_resettable in tables.OPENING[2, Direction.BACK]
    # And no other edge needs to be asked.
    needing = {"raise election numbers", "reset target masters"}
    edges = {
        (edge, direction)
        for direction, table in ((Direction.FORWARD, FORWARD), (Direction.BACK, BACK))
        for edge, steps in table.items()
        if needing & {step.name for step in steps}
    }
    assert edges == {(2, Direction.FORWARD), (2, Direction.BACK)}


@pytest.mark.parametrize(
    ("bootstrapped", "denied", "words"),
    [
        ((), frozenset[str](), "3 pods of green-masters can be restarted and emptied"),
        ((), frozenset({f"get pods {NAMES[0]}"}), f"may not get pods {NAMES[0]}"),
        ((Color.GREEN,), frozenset[str](), "take green out of cluster.masters.bootstrapped"),
        ((Color.BLUE,), frozenset[str](), "3 pods of green-masters can be restarted and emptied"),
    ],
)
async def test_the_guard_says_what_could_not_be_done_later(
    cluster: FakeCluster, bootstrapped: tuple[Color, ...], denied: frozenset[str], words: str
) -> None:
    cluster.denied = denied

    async def masters_host(_: Color) -> KubernetesMasters:
        return cluster.host()

    async def kept() -> frozenset[Color]:
        return frozenset(bootstrapped)

    world = world_of(Masters(()), Masters(()), masters_host=masters_host, bootstrapped=kept)
    for guard in (masters_restartable, target_masters_resettable):
        found = await guard(world, SITUATION)
        assert found.ok is (words.startswith("3 pods"))
        assert words in found.said


# From a stack's state


class Runner:
    """A stack's runner on Kubernetes, of which state and configuration are asked."""

    def __init__(self, resources: list[dict[str, Any]]) -> None:
        self.resources = resources

    def outputs(self) -> dict[str, Any]:
        return {"secrets_dir": "/run/secrets/mesos-platform", "green_masters": ["m:1"] * 3}

    def deployment(self) -> dict[str, Any]:
        return {"resources": self.resources}

    def get_config(self) -> Any:
        return SimpleNamespace(kubernetes=SimpleNamespace(ready_timeout_s=1))


def declared(uid: str) -> dict[str, Any]:
    kind = "kubernetes:apps/v1:StatefulSet"
    metadata = {"name": "green-masters", "namespace": "mesos", "uid": uid}
    return {
        "type": kind,
        "urn": f"urn:pulumi:dev::mesos-platform::any${kind}::green-masters",
        "outputs": {"metadata": metadata, "spec": {"replicas": 3.0}},
    }


def world_by(tmp_path: Path, *resources: dict[str, Any]) -> World:
    runner = cast("StackRunner", Runner(list(resources)))
    return World(runner, Standing(), tmp_path, Bounds())


def test_a_statefulset_is_read_from_the_state_whole() -> None:
    found = DeclaredSet.of({"resources": [declared("u")]}, "green-masters")
    assert found == DeclaredSet("green-masters", "mesos", 3, "u")
    assert found.claims == CLAIMS


async def test_a_state_without_the_masters_says_so(tmp_path: Path) -> None:
    async with world_by(tmp_path) as world:
        with pytest.raises(ActFailedError, match="hold a StatefulSet green-masters"):
            await world.masters_host(Color.GREEN)


async def test_whoever_is_no_pod_is_refused_before_anything_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    async with world_by(tmp_path, declared("u")) as world:
        with pytest.raises(KubernetesError, match="whose service account token is mounted"):
            await world.masters_host(Color.GREEN)
