"""A migration that kept everything, as it would have been observed; tests spoil one thing each."""

from __future__ import annotations

from stacks.demo.observations import (
    AppSample,
    Audit,
    EngineSample,
    Flip,
    Observations,
    Registration,
    Registry,
    Span,
    Subscription,
    TaskSample,
    TaskUpdate,
    TrafficSample,
    Writes,
)
from stacks.topology import Color

BLUE, GREEN = "127.0.0.1:10010", "127.0.0.1:10050"
EDGES = ("0 -> 1", "1 -> 2", "2 -> 3", "3 -> 4", "4 -> 5", "5 -> 6")
EDGE_S = 20.0
START = 1000.0
# When edge 2 -> 3 begins, and within edge 4 -> 5 the drain.
CUTOVER = START + 2 * EDGE_S
DRAIN = START + 4 * EDGE_S + 5
END = START + 6 * EDGE_S
OLD = {f"old-{n}": 100 + n for n in range(8)}
NEW = {f"new-{n}": 200 + n for n in range(8)}
OLD_APP = {"web.instance-1": 301, "web.instance-2": 302}
NEW_APP = {"web.instance-3": 303, "web.instance-4": 304}
HISTOGRAM = {"5": 50, "10": 90, "20": 99, "50": 100, "+Inf": 100}


def kept() -> Observations:
    """A whole run in which nothing was lost."""
    registry = Registry({"batch": {"limit cpus": 4.0}}, {"batch": 2.0})
    seen = Observations(
        masters={Color.BLUE: (BLUE,), Color.GREEN: (GREEN,)},
        started_at=START - 20,
        ended_at=END + 10,
        migration_started_at=START,
        registry_set=registry,
        registry_found=registry,
        position="6",
        left_behind=[],
        replacements=dict(zip(OLD, NEW, strict=True)),
    )
    seen.transitions = [Span(name, "", START + n * EDGE_S, EDGE_S) for n, name in enumerate(EDGES)]
    seen.steps = [
        Span("move tasks to target", "4 -> 5", DRAIN, 10.0),
    ]
    seen.tasks = [task_sample(START - 1 + n * 0.25) for n in range(int(4 * (END - START + 1)))]
    seen.updates = [
        *(TaskUpdate(START - 10, task, "TASK_RUNNING") for task in OLD),
        TaskUpdate(START + 70, "canary-1", "TASK_FINISHED"),
        *(TaskUpdate(DRAIN + 1, task, "TASK_RUNNING") for task in NEW),
        *(TaskUpdate(DRAIN + 2, task, "TASK_KILLED") for task in OLD),
    ]
    seen.app_sizes, seen.app_batch, seen.app_failures = {"/web": 2}, 4, {}
    seen.apps = [app_sample(START - 1 + n * 0.5) for n in range(int(2 * (END - START + 1)))]
    seen.audits = [Audit(phase, True, 1100, 0.3) for phase in range(1, 6)]
    seen.flips = [
        Flip("frameworks-sample", "2 -> 3: flip framework subtrees", "ab" * 32, 20, 0.2),
        Flip("clients-traffic", "clients traffic -> target: flip", "cd" * 32, 1100, 0.4),
    ]
    seen.writes = Writes(1200, 20_000, 0, {"missing": 0}, (), ((CUTOVER + 20, CUTOVER + 23.5),))
    seen.registrations = [
        entry
        for n, agent in enumerate(("agent-0", "agent-1"))
        for entry in (
            Registration(START - 15, agent, "registered", BLUE),
            Registration(CUTOVER + 6 + n, agent, "disconnected", BLUE),
            Registration(CUTOVER + 6.5 + n, agent, "registered", GREEN),
        )
    ]
    seen.subscriptions = [Subscription(START - 15, BLUE), Subscription(CUTOVER + 12, GREEN)]
    seen.engine = [
        EngineSample(
            START + 10 + n, START + 5, "live", {"a_to_b": 9.0}, {"a_to_b": HISTOGRAM}, 0, 0, "off"
        )
        for n in range(3)
    ]
    seen.traffic = [TrafficSample(START + n, "b", 200 * n, 200.0, 1100, 0) for n in range(60)]
    return seen


def task_sample(at: float, *, healthy: int = 8, pids: dict[str, int] | None = None) -> TaskSample:
    """What a look at the tasks shows; while the framework stands still nobody tells."""
    still = CUTOVER + 5 <= at < CUTOVER + 12
    shown = pids if pids is not None else OLD if at < DRAIN + 2 else NEW
    return TaskSample(at, 8, healthy, None if still else healthy, shown, "framework-1")


def app_sample(
    at: float, *, healthy: int = 2, alive: int = 2, pids: dict[str, int] | None = None
) -> AppSample:
    """What a look at the apps shows; while Marathon stands still only tasks answer."""
    still = CUTOVER + 5 <= at < CUTOVER + 12
    shown = pids if pids is not None else OLD_APP if at < DRAIN + 2 else NEW_APP
    id_ = None if still else "marathon-1"
    return AppSample(at, {"/web": healthy}, {"/web": alive}, shown, id_)
