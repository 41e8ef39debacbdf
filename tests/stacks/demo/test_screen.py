"""What people see: every step a line, and a table that tells what is under way."""

from __future__ import annotations

import io
import time

from rich.console import Console

from stacks.demo import recorder, screen
from stacks.demo.observations import Observations
from stacks.demo.screen import Progress, Screen
from stacks.migration import events
from stacks.migration.evidence import Evidence, Findings
from stacks.migration.phases import Direction, Step, StepKind
from stacks.migration.planner import walk
from stacks.topology import Position, Standing
from tests.stacks.demo.observed import kept

TRANSITION = walk(2, Direction.FORWARD, Position(2))
GUARD = Step("guards", StepKind.GUARD)
FLIP = Step("flip framework subtrees", StepKind.ACT)


def lines_of(*told: events.Event) -> list[str]:
    out = io.StringIO()
    shown = Screen(Observations(), Console(file=out, force_terminal=False, soft_wrap=True))
    with shown.showing():
        for event in told:
            shown.note(event)
    return [line.partition(" s  ")[2] for line in out.getvalue().splitlines()]


def test_without_a_terminal_every_finished_step_is_one_line() -> None:
    found = Findings((Evidence("lag", ok=True, said="p99 9 ms"),))

    assert lines_of(
        events.TransitionStarted(TRANSITION, Standing(position=Position(2))),
        events.StepStarted(TRANSITION, GUARD),
        events.StepProgress(TRANSITION, GUARD, "looking"),
        events.StepEnded(TRANSITION, GUARD, 0.8, found),
        events.TransitionEnded(TRANSITION, Standing(position=Position(3)), 30.0),
    ) == [
        "2 -> 3: from position 2 of blue -> green",
        "2 -> 3: guards ok, 0.8 s | p99 9 ms",
        "2 -> 3: done, 30.0 s",
    ]


def test_a_failed_step_says_why() -> None:
    found = Findings((Evidence("lag", ok=False, said="p99 900 ms"),))

    told = lines_of(events.StepEnded(TRANSITION, GUARD, 0.8, found, "p99 900 ms"))

    assert told == ["2 -> 3: guards failed, 0.8 s | p99 900 ms"]


def test_the_table_tells_phase_step_tasks_lag_and_writes() -> None:
    seen = kept()
    now = time.time()
    progress = Progress(phase=2, transition="2 -> 3", step="guards", told="looking")
    progress.step_started = time.monotonic()
    out = io.StringIO()

    Console(file=out, width=120).print(screen.table(progress, seen, seen.tasks[-1].at))

    text = out.getvalue()
    assert "2 -> 3: guards, 0 s | looking" in text
    assert "8 healthy, 8 wanted" in text
    assert screen.lag_text(seen, seen.engine[-1].at).startswith("a_to_b p99 9 ms")
    assert screen.lag_text(seen, now) == "no sync engine"
    assert screen.writes_text(seen, seen.traffic[-1].at).endswith("200/s to b")
    assert screen.writes_text(seen, now) == "standing still"


def test_a_framework_that_stands_still_is_called_so() -> None:
    seen = kept()
    still = next(sample for sample in seen.tasks if sample.told is None)
    seen.tasks = [still]

    assert "processes counted" in screen.tasks_text(seen, still.at)


def test_flips_are_kept_wherever_a_step_puts_their_reports() -> None:
    seen = Observations()
    reports = [{"subtree": "frameworks-sample", "digest": "ab", "znodes": 3, "seconds": 0.1}]
    found = Findings((Evidence("flip", ok=True, said="", numbers={"reports": reports}),))

    recorder.record(seen, events.StepEnded(TRANSITION, FLIP, 0.5, found))

    assert [(flip.subtree, flip.digest, flip.znodes) for flip in seen.flips] == [
        ("frameworks-sample", "ab", 3)
    ]
    assert seen.flips[0].step == "2 -> 3: flip framework subtrees"
