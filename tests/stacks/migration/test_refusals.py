"""What stops a migration before it changes anything, and what resume makes of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from stacks.errors import ResourceFailedError
from stacks.migration import journal
from stacks.migration.errors import (
    ContractError,
    JournalError,
    PlanError,
    StateChangedError,
)
from stacks.migration.journal import Kind, Outcome
from stacks.migration.phases import Step
from stacks.migration.service import MigrationService, StandIn
from stacks.steps import Op, UpResult
from stacks.steps import Step as StackStep
from stacks.topology import Position, Standing
from tests.stacks.migration.fake_world import (
    FakeStack,
    FakeWork,
    KilledError,
    resources_at,
)
from tests.stacks.migration.rig import GROUPS, PLANNED, Rig


@pytest.mark.parametrize(
    ("op", "name"),
    [
        (Op.DELETE, "blue-zookeeper-0"),
        (Op.CREATE, "green-agents-0"),
        (Op.UPDATE, "clients-traffic-0"),
        (Op.REPLACE, "green-zookeeper-0"),
        (Op.UPDATE, "secrets"),
    ],
)
def test_a_preview_beyond_its_contract_changes_nothing(rig: Rig, op: Op, name: str) -> None:
    rig.stack.extra = (StackStep(op, f"urn::{name}", "a:Type", name),)

    with pytest.raises(ContractError, match=f"{op} {name}"):
        asyncio.run(rig.service.start(1))

    assert rig.stack.updates == 0
    assert rig.stack.standing.position == Position(0)
    assert rig.stack.config == rig.stack.standing


def test_a_refused_removal_leaves_no_permit_behind(rig: Rig) -> None:
    rig.run_to(2)
    rig.kill_at = "2 -> 3:update to 2/moved:after"
    with pytest.raises(KilledError):
        asyncio.run(rig.service.start(3))
    rig.stack.extra = (StackStep(Op.DELETE, "urn::x", "a:Type", "blue-zookeeper-0"),)

    with pytest.raises(ContractError):
        asyncio.run(rig.service.resume())

    assert rig.stack.config == rig.stack.standing
    assert rig.stack.permit is None


def test_an_update_that_ends_elsewhere_is_noticed(rig: Rig) -> None:
    class Deaf(FakeStack):
        def up(self, plan_file: Path | None = None) -> UpResult:
            del plan_file
            return UpResult({}, {}, ())

    rig.stack = Deaf(rig.stack.standing)
    rig.work = FakeWork(rig.stack)

    with pytest.raises(StateChangedError, match="another configuration"):
        asyncio.run(rig.service.start(1))


def test_resume_makes_up_for_a_resource_that_is_missing(rig: Rig) -> None:
    rig.run_to(1)
    rig.kill_at = "1 -> 2:guards:before"
    with pytest.raises(KilledError):
        asyncio.run(rig.service.start(2))
    del rig.stack.resources["blue-agents-0"]

    asyncio.run(rig.service.resume())

    assert rig.stack.resources == resources_at(rig.stack.standing)


def test_resume_touches_nothing_where_nothing_was_begun(rig: Rig) -> None:
    with pytest.raises(PlanError, match="nothing to resume"):
        asyncio.run(rig.service.resume())

    assert rig.stack.updates == 0


@pytest.mark.parametrize("edge", [0, 2, 5])
def test_validate_works_behind_the_last_update_of_an_edge(rig: Rig, edge: int) -> None:
    rig.run_to(3 if edge == 5 else edge)
    if edge == 5:
        asyncio.run(rig.service.move_group("traffic"))
        rig.run_to(5)
    rig.kill_at = f"{edge} -> {edge + 1}:update to {edge + 1}:after"
    with pytest.raises(KilledError):
        asyncio.run(rig.service.start(edge + 1))

    assert asyncio.run(rig.service.validate()).failed is None


def test_resume_keeps_the_lag_that_the_run_was_given(rig: Rig) -> None:
    rig.kill_at = "0 -> 1:backup:after"
    service = MigrationService(
        rig.folder,
        "test",
        stand_in=StandIn(rig.stack, rig.work),
        checkpoint=rig.checkpoint,
        lag_p99_ms=400.0,
    )
    with pytest.raises(KilledError):
        asyncio.run(service.start(1))

    assert journal.tell(rig.service.history()).asked == {"lag_p99_ms": 400.0}


def test_a_state_that_changed_since_the_preview_is_refused(rig: Rig) -> None:
    def change() -> None:
        rig.stack.resources["somebody-else"] = "here"

    rig.stack.on_preview = change

    with pytest.raises(StateChangedError):
        asyncio.run(rig.service.start(1))

    assert rig.stack.updates == 0


def test_a_failed_creation_can_be_walked_back(rig: Rig) -> None:
    def fail(when: str) -> None:
        if when == "gate":
            name, reason = "green-zookeeper-0", "port 1 is taken"
            raise ResourceFailedError(name, reason)

    rig.stack.during_up = fail
    with pytest.raises(ResourceFailedError):
        asyncio.run(rig.service.start(1))
    rig.stack.during_up = lambda _: None

    asyncio.run(rig.service.rollback())

    assert rig.stack.standing == Standing(groups=GROUPS)


def test_a_failed_creation_is_walked_back_by_a_resume_of_the_way_back(rig: Rig) -> None:
    def fail(when: str) -> None:
        if when == "gate" and rig.stack.config.position == Position(1):
            name, reason = "green-zookeeper-0", "port 1 is taken"
            raise ResourceFailedError(name, reason)

    rig.stack.during_up = fail
    with pytest.raises(ResourceFailedError):
        asyncio.run(rig.service.start(1))
    rig.kill_at = PLANNED
    with pytest.raises(KilledError):
        asyncio.run(rig.service.rollback())

    asyncio.run(rig.service.resume())

    assert rig.stack.standing == Standing(groups=GROUPS)


def test_a_cancelled_run_is_written_down_and_resumed(rig: Rig) -> None:
    async def scenario() -> None:
        task = asyncio.ensure_future(rig.service.start(2))

        def cancel(step: Step, when: str) -> None:
            if (step.name, when) == ("soak", "begin"):
                task.cancel()

        rig.work.within = cancel
        with pytest.raises(asyncio.CancelledError):
            await task

    rig.work.pause_s = 0.0
    asyncio.run(scenario())

    outcomes = {r.outcome for r in rig.service.history()[-2:]}
    assert outcomes == {Outcome.INTERRUPTED}
    rig.work.within = lambda _step, _when: None
    asyncio.run(rig.service.resume())
    assert rig.stack.standing.position == Position(2)


def test_a_stack_moved_by_hand_is_refused_until_resume_accepts_it(rig: Rig) -> None:
    rig.run_to(1)
    rig.stack.standing = rig.stack.config = rig.stack.standing.at(Position(0))
    rig.stack.resources = resources_at(rig.stack.standing)

    with pytest.raises(JournalError, match="position 1"):
        asyncio.run(rig.service.start())

    asyncio.run(rig.service.resume())
    assert rig.stack.standing.position == Position(1)
    assert any(record.kind is Kind.REPAIRED for record in rig.service.history())


def test_a_configuration_that_points_elsewhere_is_told(rig: Rig) -> None:
    rig.stack.config = rig.stack.standing.at(Position(1))

    with pytest.raises(PlanError, match="expected the configuration"):
        asyncio.run(rig.service.start())


def test_advance_takes_one_transition(rig: Rig) -> None:
    asyncio.run(rig.service.advance())

    assert rig.stack.standing.position == Position(1)


def test_validate_changes_nothing(rig: Rig) -> None:
    found = asyncio.run(rig.service.validate())

    assert found.evidence[0].ok
    assert rig.service.history() == ()
    assert rig.stack.updates == 0
