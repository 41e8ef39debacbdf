"""What a migration must have kept, proved from what was observed. Pure functions.

A proof says what was expected and what was seen; the demo passes when every one holds. A proof that
saw too little to tell does not hold: silence is no evidence.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from stacks.demo.observations import Observations, TaskUpdate

# A task in one of these is gone, or nobody knows.
LOST_STATES = frozenset(
    {
        "TASK_FAILED",
        "TASK_LOST",
        "TASK_GONE",
        "TASK_GONE_BY_OPERATOR",
        "TASK_UNREACHABLE",
        "TASK_UNKNOWN",
        "TASK_DROPPED",
        "TASK_ERROR",
    }
)
CANARY = "canary-"
DRAIN_EDGE = "4 -> 5"
MOVE_STEP = "move tasks to target"
# Phases at which the engine runs, so that both ensembles must be equal.
AUDITED_PHASES = (1, 2, 3, 4, 5)
_LISTED_MAX = 5
_WRITES = "acknowledged writes missing on the target"


@dataclass(frozen=True)
class Proof:
    """One thing that had to hold."""

    name: str
    ok: bool
    expected: str
    seen: str


def prove(seen: Observations) -> list[Proof]:
    """All proofs, in the order in which people ask for them."""
    return [
        tasks_lost(seen),
        tasks_killed_early(seen),
        pids_changed(seen),
        tasks_healthy(seen),
        framework_kept(seen),
        writes_missing(seen),
        sequences_kept(seen),
        audits_equal(seen),
        flips_equal(seen),
        registry_replayed(seen),
        source_gone(seen),
        nothing_left(seen),
    ]


def tasks_lost(seen: Observations) -> Proof:
    """No status update tells of a lost task."""
    bad = [u for u in seen.updates if u.state in LOST_STATES]
    ended = [
        u for u in seen.updates if u.state == "TASK_FINISHED" and not u.task_id.startswith(CANARY)
    ]
    lost = sorted({u.task_id for u in (*bad, *ended)})
    text = f"{len(lost)} in {len(seen.updates)} status updates"
    if lost:
        text += ": " + listed(f"{u.task_id} {u.state} ({u.reason})" for u in (*bad, *ended))
    ok = not lost and bool(seen.updates)
    return Proof("tasks lost", ok, "0, by every status update the framework was told", text)


def tasks_killed_early(seen: Observations) -> Proof:
    """A task is killed only by the drain, and after its replacement ran."""
    early: list[str] = []
    running: dict[str, float] = {}
    killed = [u for u in seen.updates if u.state == "TASK_KILLED"]
    for update in seen.updates:
        if update.state == "TASK_RUNNING":
            running.setdefault(update.task_id, update.at)
    for update in killed:
        problem = _killed_early(seen, update, running)
        if problem is not None:
            early.append(f"{update.task_id} {problem}")
    text = f"{len(killed)} killed" + (
        f", {len(early)} of them early: {listed(early)}" if early else ""
    )
    return Proof(
        "tasks killed before their replacement ran",
        not early and bool(seen.updates),
        f"0; kills only in {DRAIN_EDGE}, each after its replacement was healthy",
        text,
    )


def _killed_early(seen: Observations, update: TaskUpdate, running: dict[str, float]) -> str | None:
    windows = [s for s in seen.transitions if s.name == DRAIN_EDGE]
    if not any(s.at <= update.at <= s.at + s.seconds for s in windows):
        return "outside the drain"
    replacement = seen.replacements.get(update.task_id)
    if replacement is None:
        return "without a replacement"
    started = running.get(replacement)
    if started is None or started > update.at:
        return f"before {replacement} ran"
    return None


def drain_began(seen: Observations) -> float | None:
    """When the first task was moved off the source's agents."""
    moves = [s.at for s in seen.steps if s.name == MOVE_STEP]
    return min(moves, default=None)


def pids_changed(seen: Observations) -> Proof:
    """A task keeps its process, at least until its agent is drained."""
    until = drain_began(seen)
    first: dict[str, int] = {}
    changed: set[str] = set()
    missing: set[str] = set()
    initial = set(seen.tasks[0].pids) if seen.tasks else set[str]()
    for sample in seen.tasks:
        for task, pid in sample.pids.items():
            if first.setdefault(task, pid) != pid:
                changed.add(task)
        if until is None or sample.at < until:
            missing |= initial - set(sample.pids)
    told = [f"{task} changed" for task in sorted(changed)]
    told += [f"{task} gone" for task in sorted(missing - changed)]
    before = sum(1 for sample in seen.tasks if until is None or sample.at < until)
    ok = not told and bool(initial) and until is not None
    text = f"{len(told)} of {len(initial)} tasks, in {before} samples before the drain"
    if told:
        text += f": {listed(told)}"
    if until is None:
        text += "; no drain was seen"
    return Proof("tasks whose PID changed before their agent was drained", ok, "0", text)


def tasks_healthy(seen: Observations) -> Proof:
    """As many healthy tasks as wanted, in every sample."""
    short = [s for s in seen.tasks if s.healthy < s.target]
    least = min((s.healthy for s in seen.tasks), default=0)
    target = max((s.target for s in seen.tasks), default=0)
    text = f"at least {least}, in {len(seen.tasks)} samples"
    if short:
        where = listed(f"{s.healthy} in {step_at(seen, s.at)}" for s in short)
        text += f"; {len(short)} short: {where}"
    ok = bool(seen.tasks) and not short and target > 0
    return Proof("healthy tasks in every sample", ok, f">= {target}", text)


def framework_kept(seen: Observations) -> Proof:
    """The framework keeps its id, so its tasks are still its own."""
    ids = sorted({s.framework_id for s in seen.tasks if s.framework_id is not None})
    text = ", ".join(ids) or "none"
    return Proof("framework ids", len(ids) == 1, "one, before and after", text)


def writes_missing(seen: Observations) -> Proof:
    """The last acknowledged write to every path is on the target."""
    writes = seen.writes
    expected = "0 of every acknowledged write, by reading every path"
    if writes is None:
        return Proof(_WRITES, ok=False, expected=expected, seen="not compared")
    kinds = {k: n for k, n in writes.counts.items() if n and k != "sequence_problems"}
    total = sum(kinds.values())
    text = f"{total} of {writes.acknowledged} writes to {writes.paths} paths"
    if kinds:
        text += ": " + ", ".join(f"{n} {k}" for k, n in kinds.items())
        text += f" ({listed(writes.examples)})"
    ok = not kinds and writes.acknowledged > 0
    return Proof(_WRITES, ok, expected, text)


def sequences_kept(seen: Observations) -> Proof:
    """Sequential names neither repeat nor go back."""
    count = None if seen.writes is None else seen.writes.counts.get("sequence_problems", 0)
    text = "not compared" if count is None else str(count)
    return Proof("sequential names given twice or out of order", count == 0, "0", text)


def audits_equal(seen: Observations) -> Proof:
    """Both ensembles are equal under traffic in every phase that has two."""
    told: list[str] = []
    for phase in AUDITED_PHASES:
        audits = [a for a in seen.audits if a.phase == phase]
        if not audits:
            told.append(f"phase {phase} not audited")
        told += [f"phase {phase} differs ({listed(a.differences)})" for a in audits if not a.equal]
    znodes = max((a.znodes for a in seen.audits), default=0)
    text = f"{len(seen.audits)} audits of up to {znodes} znodes"
    text += f"; {'; '.join(told)}" if told else ", all equal"
    expected = "equal under traffic in each of phases 1 to 5"
    return Proof("audits", not told, expected, text)


def flips_equal(seen: Observations) -> Proof:
    """At each flip the full digests of both sides were equal."""
    without = [flip.subtree for flip in seen.flips if not flip.digest]
    subtrees = sorted({flip.subtree for flip in seen.flips})
    text = ", ".join(
        f"{flip.subtree} {flip.digest[:12]} ({flip.znodes} znodes)" for flip in seen.flips
    )
    frameworks = any(s.startswith("frameworks") for s in subtrees)
    clients = any(s.startswith("clients") for s in subtrees)
    ok = not without and frameworks and clients
    expected = "one digest for both sides, for the framework's and the client group's subtrees"
    return Proof("digests at each flip", ok, expected, text or "no flip was seen")


def registry_replayed(seen: Observations) -> Proof:
    """Quota and weights that were set on the source are on the target."""
    was, now = seen.registry_set, seen.registry_found
    ok = was is not None and was == now
    if now is None:
        text = "not read"
    elif ok:
        text = f"equal: {len(now.quota)} quota, {len(now.weights)} weights"
    else:
        text = f"quota {dict(now.quota)}, weights {dict(now.weights)}"
    expected = "as they were set on the source"
    if was is not None and not ok:
        expected += f": quota {dict(was.quota)}, weights {dict(was.weights)}"
    return Proof("quota and weights on the target", ok, expected, text)


def source_gone(seen: Observations) -> Proof:
    """Nothing of the source runs any more, nor does the engine."""
    at_end = seen.position == "6"
    text = listed(seen.left_of_source) or "none"
    if not at_end:
        text += f"; the stack stands at position {seen.position}"
    ok = at_end and not seen.left_of_source
    return Proof(f"processes of {seen.source} and of the sync engine", ok, "none, at phase 6", text)


def nothing_left(seen: Observations) -> Proof:
    """The demo cleaned up after itself, or was told not to."""
    left = seen.left_behind
    text = "kept running, as asked" if left is None else (listed(left) or "nothing")
    return Proof("left behind", not left, "nothing", text)


def step_at(seen: Observations, at: float) -> str:
    """The step that was under way at a moment."""
    found = [s for s in seen.steps if s.at <= at <= s.at + s.seconds]
    return f"{found[-1].transition}: {found[-1].name}" if found else "no step"


def listed(items: Iterable[str]) -> str:
    """The first few, and how many more."""
    every = list(dict.fromkeys(items))
    shown = ", ".join(itertools.islice(every, _LISTED_MAX))
    more = len(every) - _LISTED_MAX
    return f"{shown} and {more} more" if more > 0 else shown
