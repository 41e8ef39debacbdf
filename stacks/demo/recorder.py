"""Keeps what the migration tells: how long steps and transitions took, and the flips' digests."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from stacks.demo.observations import Flip, Observations, Span
from stacks.migration import events


def record(seen: Observations, event: events.Event) -> None:
    """Note an event."""
    now = time.time()
    match event:
        case events.StepEnded():
            name, transition = event.step.name, event.transition.name
            began = round(now - event.seconds, 3)
            seen.steps.append(Span(name, transition, began, event.seconds, event.error))
            for report in flip_reports(event.findings.as_dict()):
                seen.flips.append(
                    Flip(
                        subtree=str(report["subtree"]),
                        step=f"{transition}: {name}",
                        digest=str(report["digest"]),
                        znodes=int(report.get("znodes", 0)),
                        seconds=float(report.get("seconds", 0.0)),
                    )
                )
        case events.TransitionEnded():
            began = round(now - event.seconds, 3)
            span = Span(event.transition.name, "", began, event.seconds, event.error)
            seen.transitions.append(span)
            seen.position = str(event.standing.position)
        case _:
            pass


def flip_reports(found: Any) -> Iterator[Mapping[str, Any]]:
    """The engine's reports of flips, wherever a step has put them among its findings."""
    if isinstance(found, Mapping):
        values = cast("Mapping[str, Any]", found)
        if {"subtree", "digest"} <= set(values):
            yield values
            return
        for value in values.values():
            yield from flip_reports(value)
    elif isinstance(found, Sequence) and not isinstance(found, str):
        for value in cast("Sequence[Any]", found):
            yield from flip_reports(value)
