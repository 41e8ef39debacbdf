"""Which pod goes next, whose tasks move first, and which volumes are copied: over values."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.mesos.model import DrainState
from controllers.caretaker import copies, draining, rolling
from controllers.caretaker.cluster import Looked, Object
from controllers.caretaker.copies import Copy, LetGo, Make
from controllers.caretaker.draining import AgentPod
from controllers.caretaker.rolling import Done, Pod, Replace, Wait

SIZES = st.sampled_from([1, 3, 5])


def master(ordinal: int, *, current: bool = False, ready: bool = True, ending: bool = False) -> Pod:
    return Pod(f"m-{ordinal}", ordinal, f"uid-{ordinal}", current, ready, ending)


@st.composite
def groups(draw: st.DrawFn) -> tuple[list[Pod], int, str | None]:
    """Any group at any moment, whoever leads it."""
    size = draw(SIZES)
    there = draw(st.sets(st.integers(0, size - 1)))
    pods = [
        master(
            ordinal,
            current=draw(st.booleans()),
            ready=draw(st.booleans()),
            ending=draw(st.booleans()),
        )
        for ordinal in there
    ]
    return pods, size, draw(st.none() | st.sampled_from([f"m-{i}" for i in range(size)]))


@given(groups())
def test_no_step_takes_the_quorum_or_a_leader_before_its_followers(
    group: tuple[list[Pod], int, str | None],
) -> None:
    pods, size, leader = group

    step = rolling.next_step(pods, members=size, leader=leader)

    if isinstance(step, Done):
        assert len(pods) == size
        assert all(pod.is_current and pod.is_ready and not pod.is_ending for pod in pods)
    if isinstance(step, Replace):
        assert not step.pod.is_current
        others = [pod for pod in pods if pod.name != step.pod.name]
        assert len(others) == size - 1
        if step.pod.is_ready and size > 1:
            assert sum(pod.is_ready for pod in others) >= size // 2 + 1
            assert leader is not None
        if step.pod.name == leader and step.pod.is_ready:
            assert all(pod.is_current and pod.is_ready for pod in others)


@given(SIZES, st.data())
def test_a_roll_ends_with_every_pod_replaced_once_and_the_leader_last(
    size: int, data: st.DataObject
) -> None:
    pods = {index: master(index) for index in range(size)}
    leader = f"m-{data.draw(st.integers(0, size - 1))}"
    replaced: list[str] = []
    for _ in range(size + 1):
        step = rolling.next_step(list(pods.values()), members=size, leader=leader)
        if isinstance(step, Done):
            break
        assert isinstance(step, Replace), step
        replaced.append(step.pod.name)
        pods[step.pod.ordinal] = replace(step.pod, is_current=True)
    assert sorted(replaced) == [f"m-{index}" for index in range(size)]
    assert replaced[-1] == leader


def test_a_broken_old_pod_is_replaced_first_and_a_broken_new_one_stops_the_roll() -> None:
    broken = [master(0), master(1, ready=False), master(2)]
    step = rolling.next_step(broken, members=3, leader="m-2")
    assert isinstance(step, Replace)
    assert step.pod.name == "m-1"

    stuck = [master(0), master(1), master(2, current=True, ready=False)]
    step = rolling.next_step(stuck, members=3, leader="m-0")
    assert step == Wait("m-2 is new and not ready")


@st.composite
def fleets(draw: st.DrawFn) -> list[AgentPod]:
    """Agents before a roll, some of which somebody else drains."""
    return [
        AgentPod(
            Pod(f"a-{index}", 0, f"uid-{index}", is_current=draw(st.booleans()), is_ready=True),
            f"agent-{index}",
            draw(st.sampled_from([None, DrainState.DRAINED])),
        )
        for index in range(draw(st.integers(1, 5)))
    ]


@given(fleets())
def test_agents_go_one_by_one_after_their_tasks_and_others_drains_stay(
    fleet: list[AgentPod],
) -> None:
    agents = {one.pod.name: one for one in fleet}
    theirs = {one.agent_id for one in fleet if one.drain is DrainState.DRAINED}
    marked: str | None = None
    for _ in range(8 * len(fleet) + 1):
        step = draining.next_step(list(agents.values()), marked=marked)
        match step:
            case Done():
                break
            case draining.Mark(agent_id):
                assert marked is None
                marked = agent_id
            case draining.Unmark():
                marked = None
            case draining.Drain(agent_id):
                assert agent_id == marked
                name = next(n for n, one in agents.items() if one.agent_id == agent_id)
                agents[name] = replace(agents[name], drain=DrainState.DRAINED, is_deactivated=True)
            case draining.Reactivate(agent_id):
                assert agent_id not in theirs
                name = next(n for n, one in agents.items() if one.agent_id == agent_id)
                assert agents[name].pod.is_current
                agents[name] = replace(agents[name], drain=None, is_deactivated=False)
            case Replace(pod):
                # No task of it runs any more.
                assert agents[pod.name].drain is DrainState.DRAINED
                agents[pod.name] = replace(agents[pod.name], pod=replace(pod, is_current=True))
            case Wait(reason):
                pytest.fail(reason)
    assert marked is None
    assert all(one.pod.is_current for one in agents.values())
    drained = {one.agent_id for one in agents.values() if one.drain is DrainState.DRAINED}
    assert drained == theirs


@pytest.mark.parametrize(
    ("agent", "marked", "reason"),
    [
        (AgentPod(Pod("a", 0, "u", False, True)), None, "not registered"),
        (AgentPod(Pod("a", 0, "u", False, False), "x"), None, "a is not ready"),
        (AgentPod(Pod("a", 0, "u", False, True), "x", DrainState.DRAINING), None, "somebody"),
        (AgentPod(Pod("a", 0, "u", False, True), "x", DrainState.DRAINING), "x", "tasks of a end"),
        (AgentPod(Pod("a", 0, "u", True, True)), "x", "has not registered"),
        (AgentPod(Pod("a", 0, "u", True, False), "x"), "x", "new and not ready"),
    ],
)
def test_what_is_not_known_or_not_over_is_waited_for(
    agent: AgentPod, marked: str | None, reason: str
) -> None:
    step = draining.next_step([agent], marked=marked)

    assert isinstance(step, Wait)
    assert reason in step.reason


@pytest.mark.parametrize("marked", [None, "x"])
@pytest.mark.parametrize("known", [None, "x"])
def test_a_pod_in_which_no_agent_ever_ran_makes_room_for_a_mended_description(
    known: str | None, marked: str | None
) -> None:
    stuck = Pod("a", 0, "u", is_current=False, is_ready=False, has_run=False)
    serving = AgentPod(Pod("b", 0, "v", is_current=False, is_ready=True), "y")

    step = draining.next_step([serving, AgentPod(stuck, known)], marked=marked)

    assert step == Replace(stuck, "it is old, and its agent has not run")
    # Of the newest description, it is what somebody has to look at; once it goes, it goes.
    for other in (replace(stuck, is_current=True), replace(stuck, is_ending=True)):
        step = draining.next_step([serving, AgentPod(other, known)], marked=marked)
        assert isinstance(step, Wait)


def test_a_pod_whose_agent_ends_again_and_again_makes_room_once_masters_do_not_know_it() -> None:
    stuck = Pod("a", 0, "u", is_current=False, is_ready=False, keeps_ending=True)
    serving = AgentPod(Pod("b", 0, "v", is_current=False, is_ready=True), "y")

    step = draining.next_step([serving, AgentPod(stuck)], marked="x")

    assert step == Replace(
        stuck, "it is old, and its agent ends again and again, unknown to masters"
    )
    # While masters know it, its tasks may run; and what is newest is for somebody to look at.
    known, newest = AgentPod(stuck, "x"), AgentPod(replace(stuck, is_current=True))
    once, awaited = AgentPod(replace(stuck, keeps_ending=False)), AgentPod(stuck, is_awaited=True)
    for other in (known, newest, once, awaited):
        assert isinstance(draining.next_step([serving, other], marked=None), Wait)


_LOOPS: Object = {"waiting": {"reason": "CrashLoopBackOff"}}
_T = "2026-01-01T00:0{}:00Z"


def _ended(first: int, last: int) -> Object:
    return {"terminated": {"startedAt": _T.format(first), "finishedAt": _T.format(last)}}


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({"state": _LOOPS, "lastState": _ended(1, 1), "restartCount": 3}, True),
        # The first ones may pass by themselves.
        ({"state": _LOOPS, "lastState": _ended(1, 1), "restartCount": 2}, False),
        ({"state": _LOOPS, "lastState": _ended(1, 3), "restartCount": 9}, False),
        ({"state": {"running": {}}, "lastState": _ended(1, 1), "restartCount": 9}, False),
        ({"state": _LOOPS, "restartCount": 9}, False),
    ],
)
def test_a_container_that_ends_soon_after_several_starts_keeps_ending(
    container: Object, *, expected: bool
) -> None:
    metadata: Object = {"name": "a-x1", "uid": "u", "labels": {}}
    pod: Object = {"metadata": metadata, "spec": {}, "status": {"containerStatuses": [container]}}

    assert Looked([pod], "newest", None).pods[0].keeps_ending is expected


_CONTAINERS: list[tuple[list[Object], bool]] = [
    ([], False),
    ([{"state": {"waiting": {"reason": "PodInitializing"}}, "restartCount": 0}], False),
    ([{"state": {"waiting": {"reason": "ImagePullBackOff"}}, "lastState": {}}], False),
    ([{"state": {"running": {}}, "restartCount": 0}], True),
    ([{"state": {"waiting": {}}, "lastState": {"terminated": {}}}], True),
    ([{"state": {"waiting": {}}, "restartCount": 3}], True),
]


@pytest.mark.parametrize(("containers", "expected"), _CONTAINERS)
def test_a_container_that_was_ever_started_has_run(
    containers: list[Object], *, expected: bool
) -> None:
    metadata: Object = {"name": "a-x1", "uid": "u", "labels": {}}
    pod: Object = {"metadata": metadata, "spec": {}, "status": {"containerStatuses": containers}}

    assert Looked([pod], "newest", None).pods[0].has_run is expected


@st.composite
def shelves(draw: st.DrawFn) -> list[Copy]:
    """Copies of one claim, of any age and outcome."""
    ages = draw(st.lists(st.floats(0, 1e6), max_size=12, unique=True))
    return [
        Copy(f"c-{index}", "claim", 1e9 - age, draw(st.booleans()), draw(st.none() | st.just("no")))
        for index, age in enumerate(ages)
    ]


@given(shelves(), st.integers(1, 5), st.floats(60, 1e5))
def test_copies_are_made_on_time_and_the_newest_good_ones_stay(
    shelf: list[Copy], keep: int, every_s: float
) -> None:
    done = copies.calls(["claim"], shelf, now=1e9, every_s=every_s, keep=keep)

    good = sorted((c for c in shelf if c.is_ready), key=lambda c: -c.made_at)
    gone = {call.name for call in done if isinstance(call, LetGo)}
    assert {copy.name for copy in good} - gone == {copy.name for copy in good[:keep]}
    # What failed or is under way is nobody's to remove.
    assert gone <= {copy.name for copy in good}
    made = [call for call in done if isinstance(call, Make)]
    pending = any(not c.is_ready and c.error is None for c in shelf)
    fresh = bool(good) and 1e9 - good[0].made_at < every_s
    failed = [c.made_at for c in shelf if not c.is_ready and c.error is not None]
    resting = bool(failed) and 1e9 - max(failed) < min(every_s, copies.RETRY_S)
    assert len(made) == (0 if pending or fresh or resting else 1)


def test_a_cluster_that_makes_no_copies_is_not_filled_with_failed_ones() -> None:
    shelf: list[Copy] = []
    for now in range(0, 24 * 3600, 5):
        for call in copies.calls(["claim"], shelf, now=now, every_s=6 * 3600, keep=8):
            assert isinstance(call, Make)
            shelf.append(Copy(call.name, "claim", now, is_ready=False, error="no such driver"))
    assert len(shelf) == 24
