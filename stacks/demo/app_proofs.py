"""What a migration must have kept of Marathon's apps, proved from what was observed. Pure."""

from __future__ import annotations

from stacks.demo.observations import AppSample, Observations
from stacks.demo.proofs import DRAIN_EDGE, Proof, drain_began, listed, step_at


def prove_apps(seen: Observations) -> list[Proof]:
    """All of them; none where the stack declares no app."""
    if not seen.app_sizes:
        return []
    return [
        apps_healthy(seen),
        app_pids_changed(seen),
        app_tasks_lost(seen),
        app_tasks_doubled(seen),
        marathon_kept(seen),
    ]


def apps_healthy(seen: Observations) -> Proof:
    """Every app has as many healthy instances as it wants, in every sample."""
    short: list[str] = []
    for sample in seen.apps:
        for app, size in seen.app_sizes.items():
            count = sample.healthy.get(app, 0)
            if count < size:
                short.append(f"{count} of {size} of {app} in {step_at(seen, sample.at)}")
    silent = sum(1 for sample in seen.apps if sample.framework_id is None)
    text = f"{len(seen.apps)} samples, {silent} of them without an answer of Marathon"
    if short:
        text += f"; {len(short)} short: {listed(short)}"
    expected = ", ".join(f"{app} >= {size}" for app, size in sorted(seen.app_sizes.items()))
    ok = bool(seen.apps) and not short
    return Proof("healthy instances of every app in every sample", ok, expected, text)


def app_pids_changed(seen: Observations) -> Proof:
    """A task keeps its process, at least until its agent is drained."""
    until = drain_began(seen)
    before = [s for s in seen.apps if until is None or s.at < until]
    first = before[0].pids if before else dict[str, int]()
    told = {
        f"{task} {'gone' if task not in sample.pids else 'changed'}"
        for sample in before
        for task, pid in first.items()
        if sample.pids.get(task) != pid
    }
    text = f"{len(told)} of {len(first)} tasks, in {len(before)} samples before the drain"
    if told:
        text += f": {listed(sorted(told))}"
    if until is None:
        text += "; no drain was seen"
    ok = not told and len(first) >= sum(seen.app_sizes.values()) and until is not None
    return Proof("app tasks whose PID changed before their agent was drained", ok, "0", text)


def app_tasks_lost(seen: Observations) -> Proof:
    """Marathon has written down no failure of a task, TASK_UNKNOWN and TASK_LOST among them."""
    failures = seen.app_failures
    text = "not read" if failures is None else str(len(failures))
    if failures:
        text += f": {listed(f'{app} {what}' for app, what in failures.items())}"
    expected = "0, by the last failure that Marathon has written down of each app"
    return Proof("app tasks lost or failed", failures == {}, expected, text)


def app_tasks_doubled(seen: Observations) -> Proof:
    """An app never has more processes than instances, but for one batch while it is moved."""
    batch = seen.app_batch
    told = [
        f"{count} of {size} of {app} in {step_at(seen, sample.at)}"
        for sample in seen.apps
        for app, size in seen.app_sizes.items()
        if (count := sample.alive.get(app, 0)) > size + (batch if _moves(seen, sample) else 0)
    ]
    most = {app: max((s.alive.get(app, 0) for s in seen.apps), default=0) for app in seen.app_sizes}
    text = f"at most {', '.join(f'{app} {count}' for app, count in sorted(most.items()))}"
    if told:
        text += f"; {len(told)} samples with more: {listed(told)}"
    expected = f"no more processes than instances, {batch} more in {DRAIN_EDGE}"
    return Proof("app tasks doubled", not told and all(most.values()), expected, text)


def _moves(seen: Observations, sample: AppSample) -> bool:
    windows = [s for s in seen.transitions if s.name == DRAIN_EDGE]
    return any(s.at <= sample.at <= s.at + s.seconds for s in windows)


def marathon_kept(seen: Observations) -> Proof:
    """Marathon is the same framework, before it is moved and after."""
    told = [s.framework_id for s in sorted(seen.apps, key=lambda sample: sample.at)]
    ids = sorted({id_ for id_ in told if id_ is not None})
    answers = {id_ is not None for id_ in (*told[:1], *told[-1:])}
    ok = len(ids) == 1 and answers == {True}
    text = ", ".join(ids) or "none"
    if answers != {True}:
        text += "; Marathon did not answer at the beginning or at the end"
    return Proof("Marathon's framework id", ok, "one, at the beginning and at the end", text)
