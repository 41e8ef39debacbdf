"""What is asked of nobody holds for everybody: guards do not hold there, and acts fail."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from clients.mesos.model import Agents, Drain, DrainState, Frameworks, State, Tasks
from stacks.migration import journal
from stacks.migration.acts import Act, agents, election, ensembles
from stacks.migration.errors import ActFailedError
from stacks.migration.executor import Situation
from stacks.migration.guards import Guard
from stacks.migration.guards.agents import source_agents_empty
from stacks.migration.guards.ensembles import audit_equal, owned_by_source, owned_by_target
from stacks.migration.guards.frameworks import clients_write
from stacks.migration.guards.masters import (
    projection_kept,
    projection_off,
    target_masters_apart,
)
from stacks.migration.phases import Direction
from stacks.migration.planner import walk
from stacks.migration.readers import RECOVERED
from stacks.migration.world import World
from stacks.topology import Placement, Position, Standing
from sync_engine.client import AuditReport, ProjectionKind, Side, SubtreeAudit
from tests.stacks.migration.fake_masters import (
    SITUATION,
    Masters,
    agent,
    listed,
    task,
    world_of,
)

KEPT = SimpleNamespace(kind=ProjectionKind.PERSISTENT, fenced=True, leader="g:1", number=1)
OFF = SimpleNamespace(kind=ProjectionKind.OFF, fenced=False, leader=None, number=None)
ON_A, ON_B = (SimpleNamespace(owner=side, flipping=False) for side in Side)


def with_engine(
    *, projections: Mapping[str, Any] | None = None, subtrees: Mapping[str, Any] | None = None
) -> World:
    status = SimpleNamespace(projections=projections or {}, subtrees=subtrees or {})
    compared = SubtreeAudit(znodes=1, digest_a="d", digest_b="d", equal=True)
    audited = dict.fromkeys(status.subtrees, compared)
    report = AuditReport(equal=True, at=0, seconds=0, subtrees=audited)

    async def tell() -> SimpleNamespace:
        return status

    async def audit(*, timeout_s: float) -> AuditReport:
        del timeout_s
        return report

    async def engine() -> SimpleNamespace:
        return SimpleNamespace(status=tell, audit=audit)

    return world_of(Masters(("b:1",)), Masters(("g:1",)), engine=engine)


@pytest.mark.parametrize(
    ("guard", "rules"),
    [
        (projection_kept, {"projections": {"masters": KEPT}}),
        (projection_off, {"projections": {"masters": OFF}}),
        (owned_by_source, {"subtrees": {"frameworks-sample": ON_A}}),
        (owned_by_target, {"subtrees": {"frameworks-sample": ON_B}}),
        (audit_equal, {"subtrees": {"frameworks-sample": ON_A}}),
    ],
)
async def test_a_guard_on_the_engine_does_not_hold_where_its_rules_say_nothing(
    guard: Guard, rules: dict[str, Any]
) -> None:
    assert (await guard(with_engine(**rules), SITUATION)).ok

    found = await guard(with_engine(), SITUATION)

    assert not found.ok
    assert "in the engine's rules" in found.said


@pytest.mark.parametrize(
    "act",
    [
        election.raise_election_numbers, election.project_leader, election.persist_projection,
        election.drop_projection, election.fence_election, election.keep_fenced,
        election.lift_fence, ensembles.flip_frameworks, ensembles.flip_frameworks_back,
    ],
)  # fmt: skip
async def test_an_act_on_the_engine_fails_where_its_rules_say_nothing(act: Act) -> None:
    with pytest.raises(ActFailedError, match="in its rules"):
        await act(with_engine(), SITUATION, lambda _: None)


async def test_a_client_group_that_the_stack_does_not_export_is_missed() -> None:
    standing = Standing(position=Position(3), groups={"traffic": Placement.SOURCE})
    transition = walk(3, Direction.FORWARD, Position(3))
    situation = Situation(standing, transition, journal.tell(()), "m")
    world = world_of(Masters(("b:1",)), Masters(("g:1",)), groups=dict)

    found = await clients_write(world, situation)

    assert not found.ok
    assert "traffic" in found.said


async def test_masters_that_do_not_tell_the_size_of_their_log_are_counted() -> None:
    class Green(Masters):
        async def metrics(self, _: str) -> dict[str, float]:
            return {RECOVERED: 1.0}

    masters = ("g:1", "g:2", "g:3")
    quorum = {"quorum": "1"}
    world = world_of(Masters(("b:1",)), Green(masters, dict.fromkeys(masters, quorum)))

    found = await target_masters_apart(world, SITUATION)

    assert not found.ok
    assert "a log of 3 replicas with quorum 1" in found.said


def with_agents(*addresses: str, tasks: Tasks | None = None, drained: bool = False) -> World:
    drain = Drain(DrainState.DRAINED, None, mark_gone=False) if drained else None
    found = Agents(tuple(agent(n, a, drain=drain) for n, a in enumerate(addresses)), ())
    state = State(found, tasks or Tasks((), (), ()), Frameworks((), ()))
    return world_of(
        Masters(("b:1",), cluster=state, known=found),
        Masters(("g:1",)),
        agents=listed(blue=("s:1", "s:2"), green=("t:1",)),
    )


async def test_agents_that_are_away_are_not_empty_while_tasks_are_out_of_reach() -> None:
    lost = Tasks((), (task("y", "sample", 7),), ())

    found = await source_agents_empty(with_agents("s:1", "t:1", tasks=lost), SITUATION)

    assert not found.ok
    assert "task y is unreachable" in found.said
    assert (await source_agents_empty(with_agents("s:1", "s:2", tasks=lost), SITUATION)).ok
    assert (await source_agents_empty(with_agents("s:1", "t:1"), SITUATION)).ok


async def test_an_agent_that_is_lost_while_it_drains_is_not_drained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = with_agents("s:1", drained=True)

    async def both(*_: object) -> tuple[str, ...]:
        return "agent-0", "agent-1"

    monkeypatch.setattr(agents, "registered_ids", both)

    with pytest.raises(ActFailedError, match="1 agents of blue are not drained"):
        await agents.drain_source(world, SITUATION, lambda _: None)
    with pytest.raises(ActFailedError, match="1 agents of green still take no offers"):
        await agents.reactivate_target(world, SITUATION, lambda _: None)


async def test_deactivations_are_not_carried_without_an_inventory() -> None:
    transition = walk(2, Direction.FORWARD, Position(2))
    situation = Situation(Standing(position=Position(2)), transition, journal.tell(()), "m")

    with pytest.raises(ActFailedError, match="expected an inventory"):
        await agents.replay_deactivations(with_agents("s:1"), situation, lambda _: None)
