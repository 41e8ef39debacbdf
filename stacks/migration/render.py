"""Plans, events and records as text and as JSON lines. Prints, decides nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape

from stacks.migration import events
from stacks.migration.evidence import Findings
from stacks.migration.journal import Kind, Outcome, Record
from stacks.migration.overview import Plan, Status, standing_dict

_MARKS = {True: "[green]ok[/]", False: "[red]no[/]"}
_UNSEEN = "[yellow]--[/]"


def plan(console: Console, found: Plan, *, steps: bool = False, count: int | None = None) -> None:
    """A plan as a list."""
    console.print(f"from {escape(found.standing.describe())}")
    for transition in found.transitions[:count]:
        updates = sum(1 for step in transition.steps if step.kind == "update")
        console.print(
            f"  {escape(transition.name)}  [dim]{len(transition.steps)} steps, {updates} updates[/]"
        )
        for step in transition.steps if steps else ():
            console.print(f"      [dim]{step.kind:<7}[/] {escape(step.name)}")


def status(console: Console, found: Status) -> None:
    """Where a stack stands."""
    standing = found.standing.describe() if found.standing else "nowhere yet: `pulumi up`"
    console.print(f"stack {found.stack}: {escape(standing)}")
    if found.standing is not None and found.desired != found.standing:
        console.print(f"configuration points at {escape(found.desired.describe())}")
    if found.open_name is not None:
        state = "under way" if found.is_running else "interrupted or failed: `migrate resume`"
        console.print(f"transition {escape(found.open_name)} is {state}")
    if found.story.records:
        history(console, found.story.records[-3:])
    console.print(f"[dim]journal {escape(str(found.journal_file))}[/]")


def findings(console: Console, found: Findings) -> None:
    """Evidence, a line each."""
    for one in found.evidence:
        mark = _MARKS[one.ok] if one.looked or not one.ok else _UNSEEN
        console.print(f"  {mark} {escape(one.name)}: {escape(one.said)}")


def history(console: Console, records: Sequence[Record]) -> None:
    """Records, a line each."""
    for record in records:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.at))
        words = [at, str(record.kind).replace("_", " "), record.name or record.goal or ""]
        if record.outcome:
            words.append(record.outcome)
        if record.seconds is not None:
            words.append(f"{record.seconds:.1f} s")
        if record.message:
            words.append(record.message)
        is_bad = record.outcome not in (None, Outcome.OK) or record.kind is Kind.REPAIRED
        console.print(
            escape("  ".join(word for word in words if word)), style="red" if is_bad else ""
        )


class Lines:
    """A listener that prints a line for each step that ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told = ""

    def __call__(self, event: events.Event) -> None:
        """Print an event."""
        match event:
            case events.TransitionStarted():
                self._console.print(f"[bold]{escape(event.transition.name)}[/]")
            case events.StepProgress():
                if self._console.is_terminal and event.text != self._told:
                    self._told = event.text
                    self._console.print(f"      [dim]{escape(event.text)}[/]")
            case events.StepEnded():
                mark = _MARKS[event.error is None]
                self._console.print(
                    f"  {mark} {escape(event.step.name)}  [dim]{event.seconds:.1f} s[/]"
                )
                for one in event.findings.evidence:
                    self._console.print(f"       {escape(one.name)}: [dim]{escape(one.said)}[/]")
            case events.TransitionEnded():
                where = escape(event.standing.describe())
                self._console.print(f"  at {where}  [dim]{event.seconds:.1f} s[/]")
            case events.StepStarted() | events.PlanMade():
                pass


class JsonLines:
    """A listener that writes a line of JSON for each event."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def __call__(self, event: events.Event) -> None:
        """Write an event."""
        self._out.write(json.dumps(as_dict(event), sort_keys=True) + "\n")
        self._out.flush()


def as_dict(event: events.Event) -> dict[str, Any]:
    """An event as plain values."""
    name = type(event).__name__
    if isinstance(event, events.PlanMade):
        transitions = [transition.name for transition in event.transitions]
        return {
            "event": name,
            "standing": standing_dict(event.standing),
            "transitions": transitions,
        }
    told: dict[str, Any] = {"event": name, "transition": event.transition.name}
    match event:
        case events.TransitionStarted():
            told["standing"] = standing_dict(event.standing)
        case events.StepStarted():
            told |= {"step": event.step.name, "kind": str(event.step.kind)}
        case events.StepProgress():
            told |= {"step": event.step.name, "text": event.text}
        case events.StepEnded():
            told |= {
                "step": event.step.name,
                "seconds": event.seconds,
                "error": event.error,
                **event.findings.as_dict(),
            }
        case events.TransitionEnded():
            told |= {
                "standing": standing_dict(event.standing),
                "seconds": event.seconds,
                "error": event.error,
            }
    return told
