"""A probe's nodes, as a receiver rebuilds them from its frames.

A frame is looked through before anything changes: one that is refused leaves the mirror as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from probe.report.errors import DecodeError, GapError
from probe.report.schema import Topology, Type, Value, fits
from probe.report.topologies import TOPOLOGIES
from probe.report.wire import Frame, Kind, TableChange, unpack_rows

_NOBODY = Topology("", "", "", ())


_Version = tuple[int, int]


@dataclass(frozen=True)
class NodesChange:
    """What a frame said of one topology.

    `told` holds, of each node that was added or changed, the version (epoch, sequence number) since
    which it is there, and the values that the frame gave; None takes a value away.
    """

    removed: list[str]
    told: dict[str, tuple[_Version, dict[str, Value]]]


@dataclass(frozen=True)
class Change:
    """What a frame said, in ids."""

    probe: str
    epoch: int
    seq: int
    time_ms: int
    lease_ms: int
    is_snapshot: bool
    topologies: dict[str, NodesChange]


@dataclass
class Rows:
    """Nodes of one topology by row."""

    ids: dict[int, str] = field(default_factory=dict[int, str])
    nodes: dict[str, dict[str, Value]] = field(default_factory=dict[str, dict[str, Value]])
    since: dict[str, _Version] = field(default_factory=dict[str, _Version])


@dataclass(frozen=True)
class _Planned:
    topology: str
    removed: list[int]
    added: dict[int, str]
    columns: list[tuple[str, list[int], list[Value]]]


class Mirror:
    """What one probe has told."""

    def __init__(self) -> None:
        self.probe = ""
        self.epoch = -1
        self.seq: int | None = None
        self.time_ms = 0
        self.lease_ms = 0
        self._symbols: list[str] = []
        self._tables: dict[str, Rows] = {}

    def nodes(self, topology: str) -> Mapping[str, Mapping[str, Value]]:
        """Nodes of a topology by id."""
        return self._tables[topology].nodes if topology in self._tables else {}

    def topologies(self) -> list[str]:
        """Topologies with nodes."""
        return sorted(name for name, rows in self._tables.items() if rows.nodes)

    def expires_ms(self) -> int:
        """Until when its nodes are believed, by the probe's own clock."""
        return self.time_ms + self.lease_ms

    def apply(self, frame: Frame) -> Change | None:
        """Take a frame; None for one that is known already and changes nothing.

        Raises:
            GapError: a frame before it is missing.
            DecodeError: it contradicts itself or what came before.
        """
        if frame.kind is Kind.DELTA and not self._follows(frame):
            return None
        if frame.kind is Kind.SNAPSHOT and self._is_old(frame):
            return None
        fresh = frame.kind is Kind.SNAPSHOT
        symbols = [] if fresh else self._symbols
        if frame.symbols_from > len(symbols):
            _refuse(f"symbols from {len(symbols)} on", str(frame.symbols_from))
        symbols = [*symbols[: frame.symbols_from], *frame.symbols]
        tables: dict[str, Rows] = {} if fresh else self._tables
        planned = [_plan(table, tables.get(table.topology), symbols) for table in frame.tables]
        if len({one.topology for one in planned}) != len(planned):
            _refuse("each topology once in a frame", "one twice")
        version = (frame.epoch, frame.seq)
        said = {
            one.topology: _carry_out(one, tables.setdefault(one.topology, Rows()), version)
            for one in planned
        }
        self._tables, self._symbols = tables, symbols
        self.probe, self.epoch, self.seq = frame.probe, frame.epoch, frame.seq
        self.time_ms, self.lease_ms = frame.time_ms, frame.lease_ms
        return Change(
            *(frame.probe, frame.epoch, frame.seq, frame.time_ms, frame.lease_ms), fresh, said
        )

    def _follows(self, frame: Frame) -> bool:
        if self.seq is None or frame.epoch > self.epoch or frame.probe != self.probe:
            raise GapError(expected=None, seen=frame.seq)
        if frame.epoch < self.epoch or frame.seq <= self.seq:
            return False
        if frame.seq != self.seq + 1:
            raise GapError(expected=self.seq + 1, seen=frame.seq)
        return True

    def _is_old(self, frame: Frame) -> bool:
        if self.seq is None or frame.probe != self.probe:
            return False
        return (frame.epoch, frame.seq) < (self.epoch, self.seq)


def _plan(table: TableChange, rows: Rows | None, symbols: list[str]) -> _Planned:
    """What a table's changes come to.

    Raises:
        DecodeError: they cannot be.
    """
    topology = TOPOLOGIES.get(table.topology, _NOBODY)
    known = rows.ids if rows is not None else {}
    removed, added = unpack_rows(table.removed), unpack_rows(table.added)
    if any(row not in known for row in removed):
        _refuse("removals of known rows", "others")
    gone = set(removed)
    if any(row in known and row not in gone for row in added):
        _refuse("additions in free rows", "one that is taken")
    here = dict(zip(added, table.ids, strict=True))
    if len(set(table.ids)) != len(table.ids) or _taken(table.ids, rows, gone):
        _refuse("each id once", "one twice")
    columns: list[tuple[str, list[int], list[Value]]] = []
    for column in table.columns:
        at = unpack_rows(column.rows)
        if any(row not in here and (row not in known or row in gone) for row in at):
            _refuse("values of known rows", f"others in {column.name[:40]!r}")
        columns.append((column.name, at, _typed(topology, column.name, column.values, symbols)))
    return _Planned(table.topology, removed, here, columns)


def _taken(ids: list[str], rows: Rows | None, gone: set[int]) -> bool:
    if rows is None:
        return False
    leaving = {rows.ids[row] for row in gone}
    return any(id_ in rows.nodes and id_ not in leaving for id_ in ids)


def _typed(topology: Topology, name: str, values: list[Value], symbols: list[str]) -> list[Value]:
    column = topology.column(name)
    if column is None:
        # A newer probe's column, or a plugin's: kept as it is.
        return values
    if column.type is Type.SYMBOL:
        return [_symbol(value, symbols) for value in values]
    for value in values:
        if not fits(value, column.type):
            _refuse(f"{topology.name}.{name} of type {column.type}", repr(value)[:40])
    return values


def _symbol(value: Value, symbols: list[str]) -> Value:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < len(symbols):
        _refuse(f"the number of one of {len(symbols)} symbols", repr(value)[:40])
    return symbols[value]


def _carry_out(planned: _Planned, rows: Rows, version: _Version) -> NodesChange:
    removed: list[str] = []
    for row in planned.removed:
        id_ = rows.ids.pop(row)
        del rows.nodes[id_], rows.since[id_]
        removed.append(id_)
    told: dict[str, tuple[_Version, dict[str, Value]]] = {}
    for row, id_ in planned.added.items():
        rows.ids[row] = id_
        rows.nodes[id_] = {}
        rows.since[id_] = version
        told[id_] = (version, {})
    for name, at, values in planned.columns:
        for row, value in zip(at, values, strict=True):
            id_ = rows.ids[row]
            node = rows.nodes[id_]
            if value is None:
                node.pop(name, None)
            else:
                node[name] = value
            told.setdefault(id_, (rows.since[id_], {}))[1][name] = value
    return NodesChange([id_ for id_ in removed if id_ not in told], told)


def _refuse(expected: str, seen: str) -> NoReturn:
    msg = f"expected {expected}, saw {seen}: ask the probe for a snapshot"
    raise DecodeError(msg)
