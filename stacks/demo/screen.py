"""What a person sees while the demo runs: a live table on a terminal, or lines.

The words are the same both ways: every finished step is a line that stays; the table below them
says what is under way. Nothing is decided here.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, ConsoleRenderable
from rich.live import Live
from rich.table import Table
from rich.text import Text

from stacks.demo.observations import Observations, Span
from stacks.migration import events
from stacks.migration.evidence import Findings
from stacks.topology import PHASE_FIRST, PHASE_LAST, Color

_REFRESH_PER_S = 4
_EVIDENCE_MAX = 90
_FRESH_S = 2.0


@dataclass
class Progress:
    """What is under way."""

    started: float = field(default_factory=time.monotonic)
    phase: int | None = None
    stage: str = ""
    transition: str = ""
    step: str = ""
    step_started: float = 0.0
    told: str = ""
    evidence: str = ""

    def note(self, event: events.Event) -> str | None:
        """Take up an event of the migration; returns a line that stays, where it is worth one."""
        match event:
            case events.TransitionStarted():
                self.transition = event.transition.name
                self.phase = event.standing.position.phase
                return f"{self.transition}: from {event.standing.describe()}"
            case events.StepStarted():
                self.step, self.told = event.step.name, ""
                self.step_started = time.monotonic()
            case events.StepProgress():
                self.told = event.text
            case events.StepEnded():
                self.step = self.told = ""
                said = evidence_text(event.findings)
                self.evidence = said or self.evidence
                outcome = "failed" if event.error else "ok"
                text = (
                    f"{event.transition.name}: {event.step.name} {outcome}, {event.seconds:.1f} s"
                )
                return f"{text} | {event.error or said}" if event.error or said else text
            case events.TransitionEnded():
                self.transition = ""
                self.phase = event.standing.position.phase
                outcome = "stopped" if event.error else "done"
                return f"{event.transition.name}: {outcome}, {event.seconds:.1f} s"
            case events.PlanMade():
                names = ", ".join(t.name for t in event.transitions)
                return f"plan: {names}"
        return None


def evidence_text(found: Findings) -> str:
    """The findings of a step in a few words: what failed, else what was said last."""
    failed = found.failed
    if failed is not None:
        return failed.said
    said = [one.said for one in found.evidence if one.said]
    text = "; ".join(said)
    if len(text) > _EVIDENCE_MAX and len(said) > 1:
        text = f"{len(said)} findings, all hold; {said[-1]}"
    return text if len(text) <= _EVIDENCE_MAX else f"{text[: _EVIDENCE_MAX - 1]}…"


class Screen:
    """Shows progress; `live` says whether a table may be drawn over itself."""

    def __init__(self, seen: Observations, console: Console) -> None:
        self._seen = seen
        self._console = console
        self.progress = Progress()
        self.lines: list[str] = []

    @contextmanager
    def showing(self) -> Generator[None]:
        """Draw the table as long as this lasts, where there is a terminal."""
        if not self._console.is_terminal:
            yield
            return
        with Live(
            get_renderable=lambda: table(self.progress, self._seen, time.time()),
            console=self._console,
            refresh_per_second=_REFRESH_PER_S,
            transient=True,
        ):
            yield

    def say(self, text: str) -> None:
        """Print a line that stays."""
        elapsed = time.monotonic() - self.progress.started
        line = f"{elapsed:6.1f} s  {text}"
        self.lines.append(line)
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def note(self, event: events.Event) -> None:
        """Show an event of the migration."""
        line = self.progress.note(event)
        if line is not None:
            self.say(line)

    @contextmanager
    def stage(self, name: str) -> Generator[None]:
        """A part of the demo that is no transition; its time is measured."""
        began, at = time.monotonic(), time.time()
        self.progress.stage, self.progress.step_started = name, began
        yield
        seconds = round(time.monotonic() - began, 1)
        self.progress.stage = self.progress.told = ""
        self._seen.stages.append(Span(name, "", at, seconds))
        self.say(f"{name} ok, {seconds:.1f} s")


def table(progress: Progress, seen: Observations, now: float) -> ConsoleRenderable:
    """The live table."""
    grid = Table(box=None, show_header=False, padding=(0, 1))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="ellipsis", no_wrap=True)
    elapsed = time.monotonic() - progress.started
    grid.add_row("elapsed", f"{int(elapsed) // 60}:{int(elapsed) % 60:02d}")
    grid.add_row("phase", phases_text(progress.phase))
    doing = progress.stage or f"{progress.transition}: {progress.step}".strip(": ")
    if doing:
        doing += f", {time.monotonic() - progress.step_started:.0f} s"
    if progress.told:
        doing += f" | {progress.told}"
    grid.add_row("step", doing or "-")
    grid.add_row("evidence", progress.evidence or "-")
    grid.add_row("tasks", tasks_text(seen, now))
    if seen.app_sizes:
        grid.add_row("apps", apps_text(seen, now))
    grid.add_row("lag", lag_text(seen, now))
    grid.add_row("writes", writes_text(seen, now))
    return grid


def phases_text(phase: int | None) -> Text:
    """Which phases lie behind."""
    text = Text()
    for number in range(PHASE_FIRST, PHASE_LAST + 1):
        reached = phase is not None and number <= phase
        here = number == phase
        style = "bold reverse" if here else "green" if reached else "dim"
        text.append(f" {number} ", style=style)
    return text


def tasks_text(seen: Observations, now: float) -> str:
    """How the tasks are."""
    if not seen.tasks or now - seen.tasks[-1].at > _FRESH_S:
        return "-"
    last = seen.tasks[-1]
    by = "" if last.told is not None else " (framework stands still: processes counted)"
    return f"{last.healthy} healthy, {last.target} wanted{by}"


def apps_text(seen: Observations, now: float) -> str:
    """How Marathon's apps are."""
    if not seen.apps or now - seen.apps[-1].at > _FRESH_S:
        return "-"
    last = seen.apps[-1]
    counts = (f"{app} {last.healthy.get(app, 0)}/{n}" for app, n in sorted(seen.app_sizes.items()))
    by = "" if last.framework_id is not None else " (Marathon stands still: tasks asked)"
    return f"{', '.join(counts)} healthy{by}"


def lag_text(seen: Observations, now: float) -> str:
    """How far the other ensemble is behind."""
    if not seen.engine or now - seen.engine[-1].at > _FRESH_S:
        return "no sync engine"
    last = seen.engine[-1]
    lags = ", ".join(
        f"{direction} p99 {lag:.0f} ms" for direction, lag in last.lags.items() if lag is not None
    )
    return f"{lags or 'nothing copied yet'}; backlog {last.backlog}; engine {last.state}"


def writes_text(seen: Observations, now: float) -> str:
    """What the client group does."""
    if not seen.traffic or now - seen.traffic[-1].at > _FRESH_S:
        return "standing still"
    last = seen.traffic[-1]
    return f"{last.acknowledged} acknowledged, {last.rate_per_s:.0f}/s to {last.hosts}"


def title(source: Color, target: Color) -> str:
    """First line."""
    return f"migrating a live cluster from {source} to {target}, under load"
