"""Runs one case: clients write on both sides, the fault is done and undone, the sides come to rest,
and then every acknowledged write must be accounted for.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sync_engine.client import EngineState
from sync_engine.direction import Side
from sync_engine.znode import is_within
from tests.robustness.history import both_ways, checker
from tests.robustness.history.acknowledged import Node
from tests.robustness.history.checker import Journal, differences
from tests.robustness.matrix import looks, refusals
from tests.robustness.matrix.acts import nothing
from tests.robustness.matrix.cases import Case, Outcome
from tests.robustness.matrix.ensembles import Group, Groups
from tests.robustness.matrix.stage import Stage, staged
from tests.waiting import until

_WRITES_S = 1.0
"""Time that clients have before the fault, and after it."""
_REST_S = 120.0
_LOOK_PAUSE_S = 0.3
"""Looks cost the machine as much as what they look at."""
_AUDITS_MAX = 4
_SWEEPS_S = 2.5
_PASSWORD = "engine:secret"


@dataclass
class Seen:
    """What became of a case."""

    name: str
    seed: int
    acknowledged: int = 0
    unknown: int = 0
    conflicts: int = 0
    recovered_s: float | None = None
    """From the end of the fault until a write made then had arrived."""
    said: str | None = None
    unaided: bool = True
    """Whether both sides became equal without an audit, where nobody else wrote side b."""
    equal: bool = False
    problems: list[str] = field(default_factory=list[str])
    seconds: float = 0.0


def groups_of(case: Case, folder: Path) -> Groups:
    """New servers, one a side, for one case."""
    assert case.own_servers
    found: Groups = {}
    for side in Side:
        options = case.options.get(side)
        found[side] = Group.of_one(
            folder / f"side-{side.value}", options(folder) if options else ""
        )
    return found


async def run(case: Case, groups: Groups, folder: Path, seed: int) -> Seen:
    """Run a case on running servers; what is not as declared is raised, or in `problems`."""
    began = time.monotonic()
    seen = Seen(case.name, seed)
    rule, tuning = dict(case.rule), dict(case.tuning)
    async with staged(folder, groups, seed, rule=rule, tuning=tuning) as stage:
        with _disk(case, stage):
            _give_credentials(case, stage)
            await _play(case, stage, seen)
            await _settle(case, stage, seen)
            await _check(case, stage, seen)
    seen.seconds = time.monotonic() - began
    return seen


@contextlib.contextmanager
def _disk(case: Case, stage: Stage) -> Generator[None]:
    if case.small_disk is None:
        yield
        return
    refusals.mounted(stage.engine.state_dir, case.small_disk)
    try:
        yield
    finally:
        stage.engine.kill()
        refusals.unmounted(stage.engine.state_dir)


def _give_credentials(case: Case, stage: Stage) -> None:
    if not case.own_user:
        return
    file = stage.folder / "engine-user"
    file.write_text(_PASSWORD)
    file.chmod(0o600)
    for side in Side:
        stage.document["sides"][side.value]["auth"]["file"] = str(file)
    stage.engine.rewrite()


async def _play(case: Case, stage: Stage, seen: Seen) -> None:
    """Everything while clients write."""
    if case.starts:
        stage.engine.start()
        await stage.engine.await_up()
    async with stage.writers.running(case.load):
        await asyncio.sleep(_WRITES_S)
        await case.begin(stage)
        await _observe(case, stage, seen)
        ended = time.monotonic()
        await case.undo(stage)
        await looks.probed(stage)
        seen.recovered_s = time.monotonic() - ended
        await asyncio.sleep(_WRITES_S)


async def _observe(case: Case, stage: Stage, seen: Seen) -> None:
    """The declared outcome, while the fault lasts."""
    if case.expects is Outcome.ENDS:
        code = await stage.engine.ended()
        assert code > 0, code
        seen.said = stage.engine.last_words("engine.failed")
        assert case.says is None or case.says in seen.said, seen.said
        assert "Traceback" not in stage.engine.log, stage.engine.log[-3000:]
    elif case.says is not None:
        state = EngineState.STALLED if case.expects is Outcome.STALLS else None
        seen.said = await stage.engine.said(case.says, state=state)
    else:
        seen.said = stage.facts.get("said")
    if case.expects is Outcome.QUARANTINES:
        # All else goes on.
        await looks.probed(stage)
    if case.expects is Outcome.STALLS:
        # Time enough to do what must not be done.
        await asyncio.sleep(_SWEEPS_S)


async def _settle(case: Case, stage: Stage, seen: Seen) -> None:
    """Wait until both sides have become what they will be: by themselves, and then with audits,
    which find what no watch tells (an ACL that was changed on the side that is only written)."""
    foreign = set[str]()
    if not case.both:
        foreign = {w.rel for w in stage.writers.history.writes if w.side is Side.B}

    async def equal() -> bool:
        if stage.writers.history.lost_base:
            await looks.owned(stage)
        a, b = await asyncio.gather(*(_without(stage, side, foreign) for side in Side))
        if differences(a, b):
            await asyncio.sleep(_LOOK_PAUSE_S)
            return False
        return True

    try:
        await until(equal, "equal sides", _REST_S)
    except AssertionError:
        seen.unaided = False
        a, b = await asyncio.gather(*(_without(stage, side, foreign) for side in Side))
        seen.problems += [f"not by itself: {line}" for line in differences(a, b)]
    for _ in range(_AUDITS_MAX):
        if (await looks.audited(stage)).equal:
            break
        await asyncio.sleep(_SWEEPS_S)
    if case.undo is nothing and case.says is not None:
        # What it said is true still.
        return
    try:
        await stage.engine.await_up(EngineState.LIVE)
    except AssertionError as error:
        seen.problems.append(f"not well again: {error}")


async def _without(stage: Stage, side: Side, foreign: set[str]) -> dict[str, Node]:
    nodes = await stage.nodes(side)
    return {
        rel: node
        for rel, node in nodes.items()
        if not any(is_within(rel, other) or is_within(other, rel) for other in foreign)
    }


async def _check(case: Case, stage: Stage, seen: Seen) -> None:
    a, b = await stage.nodes(Side.A), await stage.nodes(Side.B)
    lines = [line for process in stage.processes for line in process.conflicts()]
    journal = Journal(lines, stage.roots)
    history = stage.writers.history
    seen.acknowledged = stage.writers.acknowledged
    seen.unknown = len(history.writes) - seen.acknowledged
    seen.conflicts = len(lines)
    audit = await looks.audited(stage)
    found = audit.subtrees[stage.name]
    seen.equal = found.equal and found.digest_a == found.digest_b and not differences(a, b)
    if not seen.equal:
        seen.problems.append(f"digests {found.digest_a[:12]} and {found.digest_b[:12]}")
    if case.both:
        owner = None if "on_conflict" in case.rule else Side.A
        seen.problems += both_ways.problems(history, a, b, journal, owner)
    else:
        seen.problems += checker.problems(history, a, b, journal)
    if case.expects is Outcome.STALLS:
        seen.problems += _lost_of_before(
            looks.outside_shared(stage.facts["before"]), b, journal, stage
        )


def _lost_of_before(
    before: Mapping[str, Node], now: Mapping[str, Node], journal: Journal, stage: Stage
) -> list[str]:
    """What side b had when side a lost its data: it is there still, or in the journal."""
    found: list[str] = []
    for rel, node in before.items():
        if now.get(rel) == node:
            continue
        path = stage.roots.path(Side.B, rel)
        if not journal.has_loser(path, node):
            found.append(f"{rel}: {node} of before is nowhere, saw {now.get(rel)}")
    return found
