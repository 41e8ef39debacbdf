"""How reports of many probes become one: associative, commutative, idempotent.

Every part is a maximum of some order, so it does not matter in which order, in what groups or how
often reports are merged. A probe's word about a node is a *claim*, stamped with the version
(epoch, sequence number) of the frame that said so; of two claims of one probe the later one holds,
value by value. A node is there while a probe claims it whose lease has not run out. Values that
several probes claim are shown as the one told last has it.

A tombstone is a claim that the node is gone. It stays until the probe's next snapshot, which says
everything that is there, or until `forget` lets it go with a lease that ran out long ago.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from probe.report.mirror import Change
from probe.report.schema import Value

K = TypeVar("K")
V = TypeVar("V")
Key = tuple[str, str]


class Version(NamedTuple):
    """When a probe said something."""

    epoch: int
    seq: int


class Field(NamedTuple):
    """One value, as a probe said it at a version and a time."""

    version: Version
    time_ms: int
    value: Value


NEVER = Version(-1, -1)


@dataclass(frozen=True)
class Claim:
    """A probe's word about one node: since when it is there, or gone."""

    since: Version
    alive: bool
    fields: Mapping[str, Field] = field(default_factory=dict[str, Field])


@dataclass(frozen=True)
class Standing:
    """What is known of a probe. Claims from before `complete_since` no longer hold."""

    complete_since: Version
    heard: Version
    expires_ms: int


@dataclass(frozen=True)
class Report:
    """The word of any number of probes: claims by node and probe."""

    probes: Mapping[str, Standing] = field(default_factory=dict[str, Standing])
    claims: Mapping[Key, Mapping[str, Claim]] = field(
        default_factory=dict[Key, Mapping[str, Claim]]
    )


@dataclass(frozen=True)
class Node:
    """A node as it is shown. `is_stale`: no probe that claims it has a running lease."""

    values: Mapping[str, Value]
    probes: frozenset[str]
    is_stale: bool


def merge(one: Report, other: Report) -> Report:
    """Both reports as one."""
    return Report(
        _union(one.probes, other.probes, _merge_standings),
        _union(one.claims, other.claims, _merge_words),
    )


def _union(one: Mapping[K, V], other: Mapping[K, V], join: Callable[[V, V], V]) -> dict[K, V]:
    joined = dict(one)
    for key, value in other.items():
        joined[key] = join(joined[key], value) if key in joined else value
    return joined


def _merge_words(one: Mapping[str, Claim], other: Mapping[str, Claim]) -> Mapping[str, Claim]:
    return _union(one, other, _merge_claims)


def _merge_standings(one: Standing, other: Standing) -> Standing:
    return Standing(
        complete_since=max(one.complete_since, other.complete_since),
        heard=max(one.heard, other.heard),
        # A lease belongs to what was heard last: a clock that was set back must not prolong it.
        expires_ms=max((one.heard, one.expires_ms), (other.heard, other.expires_ms))[1],
    )


def _merge_claims(one: Claim, other: Claim) -> Claim:
    since, alive = max((one.since, one.alive), (other.since, other.alive))
    fields = _union(one.fields, other.fields, _merge_fields)
    # Values of an earlier life of the node; those of a dead one stay, or order would matter.
    return Claim(since, alive, {n: f for n, f in fields.items() if f.version >= since})


def _merge_fields(one: Field, other: Field) -> Field:
    return max(one, other, key=_rank)


def _rank(field_: Field) -> tuple[Version, int, str, str]:
    # One probe says one thing at one version; the rest only makes the order total.
    return (field_.version, field_.time_ms, type(field_.value).__name__, repr(field_.value))


def node(said: Mapping[str, Claim], probes: Mapping[str, Standing], now_ms: int) -> Node | None:
    """A node as it is shown at a time; None when every probe says that it is gone."""
    living = {p: claim for p, claim in said.items() if claim.alive and _holds(claim, probes[p])}
    if not living:
        return None
    leased = {p: claim for p, claim in living.items() if probes[p].expires_ms >= now_ms}
    best: dict[str, tuple[int, str, Value]] = {}
    for probe, claim in (leased or living).items():
        for name, told in claim.fields.items():
            mine = (told.time_ms, probe, told.value)
            if name not in best or mine[:2] > best[name][:2]:
                best[name] = mine
    values = {name: value for name, (_, _, value) in best.items() if value is not None}
    return Node(values, frozenset(leased or living), is_stale=not leased)


def _holds(claim: Claim, standing: Standing) -> bool:
    return claim.since >= standing.complete_since


def forget(report: Report, before_ms: int) -> Report:
    """Leave out what no longer holds: probes whose lease ran out before a time, with all that they
    claim, and claims that a later snapshot has made void. Not for reports that an older one may
    still be merged into.
    """
    probes = {n: s for n, s in report.probes.items() if s.expires_ms >= before_ms}
    claims: dict[Key, Mapping[str, Claim]] = {}
    for key, said in report.claims.items():
        kept = {p: c for p, c in said.items() if p in probes and _holds(c, probes[p])}
        if kept:
            claims[key] = kept
    return Report(probes, claims)


def of(change: Change) -> Report:
    """What one frame says, by itself."""
    version = Version(change.epoch, change.seq)
    complete = version if change.is_snapshot else NEVER
    standing = Standing(complete, version, change.time_ms + change.lease_ms)
    claims: dict[Key, Mapping[str, Claim]] = {}
    for topology, nodes in change.topologies.items():
        for id_ in nodes.removed:
            claims[topology, id_] = {change.probe: Claim(version, alive=False)}
        for id_, (since, values) in nodes.told.items():
            fields = {n: Field(version, change.time_ms, v) for n, v in values.items()}
            claims[topology, id_] = {
                change.probe: Claim(Version(*since), alive=True, fields=fields)
            }
    return Report({change.probe: standing}, claims)
