"""Rollouts as values: what must hold at every step, whatever fails and wherever it stops."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.marathon import MarathonClient
from components.errors import RolloutError
from components.marathon.rollout import (
    Create,
    Decision,
    Delete,
    Done,
    Memory,
    Move,
    Observed,
    RolledBack,
    RolloutSpec,
    Scale,
    Standing,
    Strategy,
    Undo,
    Version,
    Wait,
    decide,
)
from components.marathon.rollout_driver import Rollout
from tests.clients.scripted import Scripted

law = settings(deadline=None, max_examples=200)
TICK_S = 10.0
SPECS = st.builds(
    RolloutSpec,
    strategy=st.sampled_from(Strategy),
    instances=st.integers(1, 12),
    batch=st.integers(1, 4),
    minimum_healthy=st.sampled_from([0.5, 0.8, 1.0]),
    soak_s=st.sampled_from([0.0, 30.0]),
    ready_timeout_s=st.just(100.0),
)


@dataclass(frozen=True)
class World:
    """Two versions; the new one's instances become healthy up to `works`, those of the old one up
    to `old_works` (None: all).

    As in Marathon, a deployment whose instances do not become healthy never ends. `before` and
    `old_before` are what undoing it comes back to.
    """

    old: Standing | None
    new: Standing | None
    works: int
    traffic: Version = Version.OLD
    before: Standing | None = None
    old_works: int | None = None
    old_before: Standing | None = None

    def healthy(self) -> int:
        return sum(s.healthy for s in (self.old, self.new) if s is not None)

    def settle(self) -> World:
        """Time passes: instances become healthy, and deployments of those that do end."""
        return replace(
            self, old=_settled(self.old, self.old_works), new=_settled(self.new, self.works)
        )

    def act(self, decision: Decision) -> World:
        world = self
        match decision.action:
            case Create(instances):
                world = replace(self, new=Standing(instances, 0), before=None)
            case Scale(version, instances):
                world = self._scale(version, instances)
            case Move(to):
                world = replace(self, traffic=to)
            case Undo(Version.NEW):
                world = replace(self, new=self.before)
            case Undo(Version.OLD):
                assert self.old is not None
                assert self.old.is_locked
                # What was there before worked.
                works = self.old_before and self.old_before.instances
                world = replace(self, old=self.old_before, old_works=works)
            case Delete(version):
                gone = self.old if version is Version.OLD else self.new
                assert gone is not None
                assert not gone.is_locked
                world = replace(self, **{str(version): None})
            case _:
                pass
        return world

    def _scale(self, version: Version, instances: int) -> World:
        was = self.old if version is Version.OLD else self.new
        assert was is not None
        assert not was.is_locked
        kept = "before" if version is Version.NEW else "old_before"
        now = Standing(instances, min(instances, was.healthy))
        return replace(self, **{str(version): now, kept: was})


def _settled(standing: Standing | None, works: int | None) -> Standing | None:
    if standing is None:
        return None
    healthy = standing.instances if works is None else min(standing.instances, works)
    return Standing(standing.instances, healthy, is_locked=healthy < standing.instances)


def walk(
    spec: RolloutSpec, world: World, *, forget: frozenset[int] = frozenset()
) -> tuple[World, list[Decision]]:
    """Decide and act until the end; memory is lost before the steps in `forget`."""
    memory, decisions = Memory(), list[Decision]()
    for number in range(1000):
        if number in forget and memory.failed is None:
            memory = Memory(traffic=memory.traffic)
        decision = decide(spec, memory, Observed(world.old, world.new), number * TICK_S)
        decisions.append(decision)
        if isinstance(decision.action, Done | RolledBack):
            return world, decisions
        memory = decision.memory
        before = world.healthy()
        world = world.act(decision)
        if not isinstance(decision.action, Wait | Create):
            assert world.healthy() >= min(before, spec.minimum), decision
        world = world.settle()
    message = f"no end: {decisions[-3:]}"
    raise AssertionError(message)


@law
@given(SPECS, st.frozensets(st.integers(0, 60), max_size=5))
def test_a_version_that_works_is_alone_in_the_end(
    spec: RolloutSpec, forget: frozenset[int]
) -> None:
    start = World(Standing(spec.instances, spec.instances), None, works=spec.instances)
    world, decisions = walk(spec, start, forget=forget)
    assert isinstance(decisions[-1].action, Done)
    assert world.old is None
    assert world.new == Standing(spec.instances, spec.instances)
    assert world.traffic is Version.NEW
    assert all(decision.reason for decision in decisions)
    if spec.strategy is Strategy.BLUE_GREEN:
        scaled = [d for d in decisions if d.action == Scale(Version.OLD, 0)]
        assert not scaled, "blue stays whole until it goes"


@law
@given(SPECS, st.data())
def test_a_version_that_does_not_work_goes_and_the_old_one_is_whole(
    spec: RolloutSpec, data: st.DataObject
) -> None:
    works = data.draw(st.integers(0, spec.instances - 1))
    start = World(Standing(spec.instances, spec.instances), None, works=works)
    world, decisions = walk(spec, start)
    assert isinstance(decisions[-1].action, RolledBack)
    assert world.new is None
    assert world.old == Standing(spec.instances, spec.instances)
    assert world.traffic is Version.OLD
    assert "healthy after 100 s" in decisions[-1].reason


@law
@given(SPECS)
def test_a_first_version_needs_nobodys_place(spec: RolloutSpec) -> None:
    world, decisions = walk(spec, World(None, None, works=spec.instances))
    assert decisions[0].action == Create(spec.instances)
    assert isinstance(decisions[-1].action, Done)
    assert world.new == Standing(spec.instances, spec.instances)


@st.composite
def sick(draw: st.DrawFn, instances: int) -> World:
    """An old version whose deployment never ends: what created it, or what made it larger."""
    there = draw(st.integers(1, instances))
    healthy = draw(st.integers(0, there - 1))
    kept = draw(st.integers(0, healthy))
    before = Standing(kept, kept) if kept else None
    old = Standing(there, healthy, is_locked=True)
    return World(old, None, instances, old_works=healthy, old_before=before)


@law
@given(SPECS, st.data(), st.frozensets(st.integers(0, 60), max_size=5))
def test_an_old_version_that_never_becomes_healthy_is_replaced_all_the_same(
    spec: RolloutSpec, data: st.DataObject, forget: frozenset[int]
) -> None:
    world, decisions = walk(spec, data.draw(sick(spec.instances)), forget=forget)
    assert isinstance(decisions[-1].action, Done)
    assert world.old is None
    assert world.new == Standing(spec.instances, spec.instances)
    assert world.traffic is Version.NEW


@law
@given(SPECS, st.data())
def test_a_roll_out_that_was_interrupted_is_turned_round_although_the_new_version_is_sick(
    spec: RolloutSpec, data: st.DataObject
) -> None:
    # Declared again, the former version is the new one: some of it is there and works.
    there = data.draw(st.integers(1, spec.instances))
    start = replace(data.draw(sick(spec.instances)), new=Standing(there, there))
    world, decisions = walk(spec, start)
    assert isinstance(decisions[-1].action, Done)
    assert world.old is None
    assert world.new == Standing(spec.instances, spec.instances)


@law
@given(SPECS, st.integers(1, 12))
def test_an_old_version_that_lies_down_without_a_deployment_holds_nobody_up(
    spec: RolloutSpec, there: int
) -> None:
    memory, new = Memory(), Standing(spec.steps[0], spec.steps[0])
    for number in range(1000):
        seen = Observed(Standing(there, 0), new)
        decision = decide(spec, memory, seen, number * TICK_S)
        memory = decision.memory
        match decision.action:
            case Scale(Version.NEW, instances):
                new = Standing(instances, instances)
            case Delete(Version.OLD):
                break
            case _:
                assert isinstance(decision.action, Wait | Move), decision
    assert new == Standing(spec.instances, spec.instances)


def test_what_created_a_sick_version_is_undone_once_and_after_its_time() -> None:
    spec = RolloutSpec(Strategy.ROLLING, 3, ready_timeout_s=100)
    sick = Observed(Standing(3, 0, is_locked=True), None)
    first = decide(spec, Memory(), sick, 0)
    assert first.action == Wait()
    assert decide(spec, first.memory, sick, 99).action == Wait()
    undone = decide(spec, first.memory, sick, 100)
    assert undone.action == Undo(Version.OLD)
    following = decide(spec, undone.memory, sick, 110)
    assert following.action == Wait()
    # It goes on after that, too: nobody waits for it a third time.
    assert decide(spec, following.memory, sick, 210).action == Create(1)


def test_a_deployment_of_a_version_that_is_whole_is_waited_for_and_never_undone() -> None:
    spec = RolloutSpec(Strategy.ROLLING, 3, ready_timeout_s=100)
    whole = Observed(Standing(3, 3, is_locked=True), None)
    memory = decide(spec, Memory(), whole, 0).memory
    assert decide(spec, memory, whole, 10_000).action == Wait()


def test_healthy_instances_of_a_sick_version_stay_until_the_new_one_gets_the_requests() -> None:
    spec = RolloutSpec(Strategy.BLUE_GREEN, 3, soak_s=0, ready_timeout_s=100)
    half, whole = Standing(3, 1, is_locked=True), Standing(3, 3)
    memory = decide(spec, Memory(), Observed(half, None), 0).memory
    begun = decide(spec, memory, Observed(half, None), 100)
    assert begun.action == Create(3)
    moved = decide(spec, begun.memory, Observed(half, whole), 110)
    assert moved.action == Move(Version.NEW)
    assert decide(spec, moved.memory, Observed(half, whole), 120).action == Undo(Version.OLD)


def test_what_fails_more_than_its_budget_goes_back() -> None:
    spec = RolloutSpec(Strategy.CANARY, 10, failures_max=0.05)
    old, new = Standing(9, 9), Standing(1, 1)
    decision = decide(spec, Memory(), Observed(old, new, failures=0.2), 0)
    assert decision.action == Scale(Version.OLD, 10)
    assert "20.0% of requests fail, 5.0% may" in decision.reason
    assert decide(spec, Memory(), Observed(old, new, failures=0.01), 0).memory.failed is None
    unjudged = replace(spec, failures_max=None)
    assert decide(unjudged, Memory(), Observed(old, new, failures=0.2), 0).memory.failed is None


def test_a_running_deployment_is_waited_for() -> None:
    spec = RolloutSpec(Strategy.ROLLING, 3)
    locked = Observed(Standing(3, 3, is_locked=True), None)
    assert isinstance(decide(spec, Memory(), locked, 0).action, Wait)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"instances": 0}, "at least one"),
        ({"shares": (0.5, 0.1, 1.0)}, "rise to 1"),
        ({"shares": (0.5,)}, "rise to 1"),
        ({"minimum_healthy": 2}, "between 0 and 1"),
        ({"failures_max": 5}, "share of failures between 0 and 1"),
    ],
)
def test_what_could_not_be_carried_out_is_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(RolloutSpec(Strategy.CANARY, 3), **fields)


class TwoApps(Scripted):
    """A Marathon with two apps that follow every request at once, up to `works`."""

    def __init__(self, works: int) -> None:
        self.works = works
        self.apps: dict[str, int] = {"a-blue": 2}
        keys = {
            f"{method} /v2/apps/{name}": [self.answer]
            for method in ("GET", "PUT", "DELETE")
            for name in ("a-blue", "a-green")
        }
        leader = httpx.Response(200, json={"leader": "127.0.0.1:8080"})
        super().__init__(**{"GET /v2/leader": [leader], "POST /v2/apps": [self.answer], **keys})

    def answer(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.rpartition("/")[2]
        body = self.asked[-1][1]
        if request.method == "GET":
            if name not in self.apps:
                return httpx.Response(404, json={"message": "no such app"})
            count = self.apps[name]
            running = min(count, self.works) if name == "a-green" else count
            app = {"id": f"/{name}", "instances": count, "tasksRunning": running}
            return httpx.Response(200, json={"app": app})
        if request.method == "DELETE":
            del self.apps[name]
        else:
            self.apps[str(body.get("id", name)).strip("/")] = body["instances"]
        return httpx.Response(200, json={"deploymentId": "d", "version": "v"})


async def run_rollout(marathon: TwoApps, kept: list[Decision]) -> None:
    seconds = iter(range(10_000))

    async def keep(decision: Decision) -> None:
        kept.append(decision)

    spec = RolloutSpec(Strategy.ROLLING, 2, soak_s=1, ready_timeout_s=5)
    transport = httpx.MockTransport(marathon)
    async with MarathonClient(["127.0.0.1:8080"], transport=transport) as client:
        rollout = Rollout(
            client,
            spec,
            "/a-blue",
            {"id": "/a-green", "cmd": "x"},
            clock=lambda: float(next(seconds)),
            keep=keep,
            poll_s=0,
        )
        await rollout.run(Memory(), timeout_s=30)


async def test_the_driver_does_what_is_decided() -> None:
    marathon, kept = TwoApps(works=2), list[Decision]()
    await run_rollout(marathon, kept)
    assert marathon.apps == {"a-green": 2}
    assert marathon.writes == [
        "POST /v2/apps",
        "PUT /v2/apps/a-blue",
        "PUT /v2/apps/a-green",
        "DELETE /v2/apps/a-blue",
    ]
    assert isinstance(kept[-1].action, Done)


async def test_the_driver_takes_back_what_does_not_work() -> None:
    marathon, kept = TwoApps(works=1), list[Decision]()
    with pytest.raises(RolloutError, match="1 of 2 healthy after 5 s"):
        await run_rollout(marathon, kept)
    assert marathon.apps == {"a-blue": 2}
