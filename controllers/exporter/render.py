"""Snapshots as text for Prometheus. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from controllers.exporter.table import AGENT, MARATHON, MASTER, SCRAPE, UP, Metric, Source
from controllers.exposition import head, sample


@dataclass(frozen=True)
class Target:
    """A master, agent or Marathon, and what it told; `snapshot` is None where it did not answer."""

    kind: str
    address: str
    snapshot: Mapping[str, float] | None

    @property
    def labels(self) -> dict[str, str]:
        """What tells its samples from others'."""
        return {self.kind: self.address}


def render(
    masters: Sequence[Target],
    agents: Sequence[Target],
    color: str,
    scrape_s: float,
    marathon: Sequence[Target] = (),
) -> str:
    """All samples; those of one metric together, as the format wants it."""
    own = {"color": color} if color else {}
    lines = list(_samples(masters, MASTER, own))
    lines += _samples(agents, AGENT, own)
    lines += _samples(marathon, MARATHON, own)
    lines += head(UP.name, UP.kind, UP.text)
    for target in (*masters, *agents, *marathon):
        labels = {**own, "kind": target.kind, "target": target.address}
        lines.append(sample(UP.name, labels, float(target.snapshot is not None)))
    lines += head(SCRAPE.name, SCRAPE.kind, SCRAPE.text)
    lines.append(sample(SCRAPE.name, own, scrape_s))
    return "\n".join(lines) + "\n"


def _samples(
    targets: Sequence[Target], metrics: Iterable[Metric], own: Mapping[str, str]
) -> Iterator[str]:
    for metric in metrics:
        lines = [
            sample(metric.name, {**own, **target.labels, **labels}, value)
            for target in targets
            if target.snapshot is not None
            for source in metric.sources
            for labels, value in values(source, target.snapshot)
        ]
        if lines:
            yield from head(metric.name, metric.kind, metric.text)
            yield from lines


def values(
    source: Source, snapshot: Mapping[str, float]
) -> Iterator[tuple[Mapping[str, str], float]]:
    """Samples that a snapshot has of a source: their labels and values."""
    if source.key in snapshot:
        taken_off = snapshot.get(source.minus, 0.0) if source.minus else 0.0
        yield source.labels, (snapshot[source.key] - taken_off) * source.scale
        return
    pattern = source.pattern
    if not pattern.groupindex:
        return
    for key, value in snapshot.items():
        found = pattern.fullmatch(key)
        if found is not None:
            yield {**source.labels, **found.groupdict()}, value * source.scale
