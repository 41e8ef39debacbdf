"""What the registrator tells Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controllers.exposition import head, sample

NAMES: Mapping[str, tuple[str, str]] = {
    "registrator_entries": ("gauge", "Entries that are ours in Consul's catalog."),
    "registrator_registered_total": ("counter", "Entries that were registered, or changed."),
    "registrator_deregistered_total": ("counter", "Entries that were taken away."),
    "registrator_failures_total": ("counter", "Looks that failed, by who did not do its part."),
    "registrator_held_back": ("gauge", "Entries that are kept until their loss is believed."),
    "registrator_problems": ("gauge", "What of apps cannot be registered."),
    "registrator_last_look_timestamp_seconds": ("gauge", "Last look that came to its end."),
}
"""Metrics by name, with their kind and text."""


@dataclass
class Counts:
    """What was seen and done; times are seconds of the Unix epoch."""

    entries: dict[str, int] = field(default_factory=dict[str, int])
    registered: int = 0
    deregistered: int = 0
    failures: dict[str, int] = field(default_factory=lambda: {"marathon": 0, "consul": 0})
    held_back: int = 0
    problems: int = 0
    looked_at: float = 0.0


def render(counts: Counts) -> str:
    """Their text."""
    samples: dict[str, list[tuple[dict[str, str], float]]] = {
        "registrator_entries": [({"status": one}, n) for one, n in counts.entries.items()],
        "registrator_registered_total": [({}, counts.registered)],
        "registrator_deregistered_total": [({}, counts.deregistered)],
        "registrator_failures_total": [({"peer": one}, n) for one, n in counts.failures.items()],
        "registrator_held_back": [({}, counts.held_back)],
        "registrator_problems": [({}, counts.problems)],
        "registrator_last_look_timestamp_seconds": [({}, counts.looked_at)],
    }
    lines: list[str] = []
    for name, (kind, text) in NAMES.items():
        lines += head(name, kind, text)
        lines += [sample(name, labels, value) for labels, value in samples[name]]
    return "\n".join(lines) + "\n"
