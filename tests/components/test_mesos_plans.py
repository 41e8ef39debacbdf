"""Laws of the plans for what masters hold: they converge, do it once, and leave others alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.mesos.model import DrainState, Machine, MaintenanceSchedule, MaintenanceStatus, Window
from clients.mesos.model import Quota as QuotaValue
from components.errors import AlreadyThereError, UnknownAgentError
from components.mesos import drain, quota, schedule, weight
from components.mesos.drain import DrainSpec, ObservedAgent, Presence
from tests.components.worlds import settle

ROLES = st.sampled_from(["a", "b", "c"])
SCALARS: Any = st.dictionaries(st.sampled_from(["cpus", "mem"]), st.integers(0, 3).map(float))
law = settings(deadline=None, max_examples=150)


# Quota

QUOTA = st.builds(QuotaValue, ROLES, SCALARS)
QUOTA_SPECS = st.builds(
    quota.QuotaSpec, QUOTA.filter(lambda q: bool(q.limits)), st.booleans(), st.just(value=True)
)
QUOTA_WORLDS: Any = st.lists(
    QUOTA.filter(lambda q: bool(q.limits)), unique_by=lambda q: q.role
).map(lambda found: {q.role: q for q in found})


def set_quota(world: dict[str, QuotaValue], call: quota.UpdateQuota) -> dict[str, QuotaValue]:
    rest = {role: value for role, value in world.items() if role != call.quota.role}
    is_cleared = not call.quota.limits and not call.quota.guarantees
    return rest if is_cleared else {**rest, call.quota.role: call.quota}


@law
@given(st.none() | QUOTA_SPECS, st.none() | QUOTA_SPECS, QUOTA_WORLDS)
def test_quota_converges_and_leaves_other_roles_alone(
    old: quota.QuotaSpec | None, new: quota.QuotaSpec | None, world: dict[str, QuotaValue]
) -> None:
    after = settle(quota.plan, set_quota, old, new, world)
    ours = {spec.quota.role for spec in (old, new) if spec}
    if new is not None:
        assert quota.equal(after[new.quota.role], new.quota)
        assert quota.plan(new, new, after) == ()
    elif old is not None:
        assert old.quota.role not in after
    assert {r: q for r, q in after.items() if r not in ours} == {
        r: q for r, q in world.items() if r not in ours
    }


def test_a_quota_of_somebody_else_is_not_taken_over_unasked() -> None:
    new = quota.QuotaSpec(QuotaValue("dev", {"cpus": 2.0}))
    there = {"dev": QuotaValue("dev", {"cpus": 1.0})}
    with pytest.raises(AlreadyThereError, match="cpus ≤ 1"):
        quota.plan(None, new, there)
    assert quota.plan(None, new, {"dev": new.quota}) == ()
    assert len(quota.plan(None, replace(new, adopt=True), there)) == 1


# Weights

WEIGHTS = st.sampled_from([0.5, 1.0, 2.0, 3.0])
WEIGHT_SPECS = st.builds(weight.WeightSpec, ROLES, WEIGHTS, st.just(value=True))


def set_weight(world: dict[str, float], call: weight.UpdateWeight) -> dict[str, float]:
    return {**world, call.role: call.weight}


@law
@given(st.none() | WEIGHT_SPECS, st.none() | WEIGHT_SPECS, st.dictionaries(ROLES, WEIGHTS))
def test_weights_converge_and_leave_other_roles_alone(
    old: weight.WeightSpec | None, new: weight.WeightSpec | None, world: dict[str, float]
) -> None:
    after = settle(weight.plan, set_weight, old, new, world)
    if new is not None:
        assert after.get(new.role, 1.0) == new.weight
        assert weight.plan(new, new, after) == ()
    if old is not None and (new is None or new.role != old.role):
        assert after.get(old.role, 1.0) == 1.0
    ours = {spec.role for spec in (old, new) if spec}
    assert {r: w for r, w in after.items() if r not in ours} == {
        r: w for r, w in world.items() if r not in ours
    }


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_a_weight_that_masters_refuse_is_refused_here(value: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        weight.WeightSpec("dev", value)


def test_a_weight_of_somebody_else_is_not_taken_over_unasked() -> None:
    with pytest.raises(AlreadyThereError, match="saw 3"):
        weight.plan(None, weight.WeightSpec("dev", 2.0), {"dev": 3.0})


# The maintenance schedule

NAMES = ["h1", "H2", "h3", "h4"]


@st.composite
def schedules(draw: st.DrawFn) -> MaintenanceSchedule:
    """Windows over some of the machines, each in one."""
    chosen = draw(st.lists(st.sampled_from(NAMES), unique=True))
    cut = draw(st.integers(0, len(chosen)))
    start = draw(st.integers(1, 2))
    windows = [
        Window(tuple(Machine(name) for name in part), start + number, draw(st.none() | st.just(5)))
        for number, part in enumerate((chosen[:cut], chosen[cut:]))
        if part
    ]
    return MaintenanceSchedule(tuple(windows))


@st.composite
def observed_schedules(draw: st.DrawFn) -> schedule.Observed:
    """A schedule of which some machines are down."""
    found = draw(schedules())
    machines = [machine for window in found.windows for machine in window.machines]
    down = draw(st.lists(st.sampled_from(machines), unique=True)) if machines else []
    return schedule.Observed(found, MaintenanceStatus(down=tuple(down)))


SCHEDULE_SPECS = st.builds(schedule.ScheduleSpec, schedules(), st.just(value=True))


def write_schedule(world: schedule.Observed, call: schedule.UpdateSchedule) -> schedule.Observed:
    dropped = {m.key for m in world.status.down} - schedule.machines(call.schedule)
    assert not dropped, "a master refuses to drop a machine that is down"
    return schedule.Observed(call.schedule, world.status)


@law
@given(st.none() | SCHEDULE_SPECS, st.none() | SCHEDULE_SPECS, observed_schedules())
def test_the_schedule_converges_and_never_drops_a_machine_that_is_down(
    old: schedule.ScheduleSpec | None,
    new: schedule.ScheduleSpec | None,
    world: schedule.Observed,
) -> None:
    after = settle(schedule.plan, write_schedule, old, new, world)
    declared = MaintenanceSchedule() if new is None else new.schedule
    down = {machine.key for machine in world.status.down}
    assert schedule.machines(after.schedule) == schedule.machines(declared) | down
    assert schedule.plan(new or old, new, after) == ()
    provider = schedule.ScheduleProvider()
    if new is not None:
        assert provider.seen(new, after) == provider.expected(new)


def test_a_schedule_of_somebody_else_is_not_replaced_unasked() -> None:
    there = schedule.Observed(MaintenanceSchedule((Window((Machine("h9"),), 1),)))
    new = schedule.ScheduleSpec(MaintenanceSchedule((Window((Machine("h1"),), 1),)))
    with pytest.raises(AlreadyThereError, match="h9"):
        schedule.plan(None, new, there)
    # Nor are the same machines taken out of their windows.
    for other in (Window((Machine("h1"),), 2), Window((Machine("h1"),), 1, 5)):
        overlapping = schedule.Observed(MaintenanceSchedule((other,)))
        with pytest.raises(AlreadyThereError, match=f"h1 from {other.start_ns} ns"):
            schedule.plan(None, new, overlapping)
        assert schedule.plan(None, replace(new, adopt=True), overlapping) != ()
    # What was written before a crash is ours again.
    assert schedule.plan(None, new, schedule.Observed(new.schedule)) == ()


# Drains

AGENT = "x-S1"
GRACES = st.none() | st.just(3.0)
DRAIN_SPECS = st.builds(DrainSpec, st.just(AGENT), GRACES, st.booleans())
OBSERVED_AGENTS = st.sampled_from(
    [
        ObservedAgent(Presence.REGISTERED),
        ObservedAgent(Presence.REGISTERED, None, deactivated=True),
        ObservedAgent(Presence.REGISTERED, DrainState.DRAINING, deactivated=True),
        ObservedAgent(Presence.REGISTERED, DrainState.DRAINED, deactivated=True),
        ObservedAgent(Presence.RECOVERED),
    ]
)


def change_agent(world: ObservedAgent, call: drain.Call) -> ObservedAgent:
    """A master's answer to a call; what it would refuse fails the test."""
    match call:
        case drain.DrainAgent():
            assert world.presence is Presence.REGISTERED
            assert world.drain is None, "a second drain drops the grace period"
            return ObservedAgent(world.presence, DrainState.DRAINING, deactivated=True)
        case drain.AwaitDrained():
            return ObservedAgent(Presence.REGISTERED, DrainState.DRAINED, deactivated=True)
        case drain.MarkGone():
            return ObservedAgent(Presence.ABSENT)
        case drain.Reactivate():
            assert world.deactivated, "Agent is not deactivated"
            assert world.drain is not DrainState.DRAINING, "Agent is still in the DRAINING state"
            return ObservedAgent(Presence.REGISTERED)


@law
@given(st.none() | DRAIN_SPECS, DRAIN_SPECS, OBSERVED_AGENTS)
def test_a_drain_converges_and_is_asked_for_once(
    old: DrainSpec | None, new: DrainSpec, world: ObservedAgent
) -> None:
    after = settle(drain.plan, change_agent, old, new, world)
    assert drain.plan(new, new, after) == ()
    gone = after.presence is Presence.ABSENT
    assert gone is new.mark_gone
    assert gone or after.drain is DrainState.DRAINED


@law
@given(DRAIN_SPECS, OBSERVED_AGENTS)
def test_a_deleted_drain_reactivates_its_agent_unless_it_is_gone(
    old: DrainSpec, world: ObservedAgent
) -> None:
    after = settle(drain.plan, change_agent, old, None, world)
    if old.mark_gone:
        assert after == world
    else:
        assert not after.deactivated


def test_an_unknown_agent_is_not_drained() -> None:
    absent = ObservedAgent(Presence.ABSENT)
    with pytest.raises(UnknownAgentError, match="x-S1"):
        drain.plan(None, DrainSpec(AGENT), absent)
    assert drain.plan(DrainSpec(AGENT), None, absent) == ()


@pytest.mark.parametrize("words", ["yes", "true", "gone"])
def test_an_agent_is_marked_gone_only_by_the_words_for_it(words: str) -> None:
    spec = {"agent_id": AGENT, "max_grace_period_s": None, "mark_gone": words, "timeout_s": 1}
    provider = drain.DrainProvider()
    with pytest.raises(ValueError, match="never comes back"):
        provider.read_spec(spec)
    assert provider.read_spec({**spec, "mark_gone": "never comes back"}).mark_gone
