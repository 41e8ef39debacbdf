"""Nodes of one topology as a probe keeps them: rows and columns that know what changed.

Writing a value compares it with the one before, so what did not move costs one comparison and is
never looked at again: that is what makes a delta cheap. A freed row is given out again only after
its removal has gone out.

Whoever writes may be interrupted between any two statements, for ever: the order of the statements
keeps the table right. A node is there, or gone, by its entry in `_rows` alone; that something has
changed is noted before it does; what is noted and did not happen is left out when it is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

from probe.report.errors import TooLargeError
from probe.report.schema import EXTRA, Topology, Type, Value
from probe.report.wire import ROWS_MAX, ColumnChange, TableChange, pack_rows

_NONE = type(None)
_TEXT = frozenset((str, _NONE))
_CLASSES: Mapping[Type | None, frozenset[type]] = {
    Type.TEXT: _TEXT,
    Type.SYMBOL: _TEXT,
    Type.REF: _TEXT,
    Type.INT: frozenset((int, _NONE)),
    Type.FLOAT: frozenset((float, int, _NONE)),
    Type.BOOL: frozenset((bool, _NONE)),
    Type.TEXTS: frozenset((list, _NONE)),
}
# Columns of plugins take what JSON has.
_ANY: frozenset[type] = frozenset((str, int, float, bool, list, _NONE))


class Symbols:
    """Texts that travel once, numbered in the order of their first use."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """The number of a text."""
        found = self._numbers.get(text)
        if found is None:
            found = self._numbers[text] = len(self.texts)
            self.texts.append(text)
        return found


class Table:
    """The rows of one topology."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self._types = {column.name: column.type for column in topology.columns}
        self._rows: dict[str, int] = {}
        self._ids: list[str | None] = []
        self._free: list[int] = []
        self._values: dict[str, list[Value]] = {}
        self._dirty: dict[str, set[int]] = {}
        self._added: set[int] = set()
        self._removed: set[int] = set()
        self.unfit = 0
        """Values of another type than their column, left out so far."""

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, id_: str) -> bool:
        return id_ in self._rows

    def ids(self) -> list[str]:
        """Ids of all nodes."""
        return list(self._rows)

    def row(self, id_: str) -> int:
        """The row of a node, made where there is none.

        Raises:
            TooLargeError: there are more nodes than a frame may hold.
        """
        row = self._rows.get(id_)
        if row is not None:
            return row
        if self._free:
            row = self._free.pop()
        else:
            row = len(self._ids)
            if row >= ROWS_MAX:
                msg = f"expected at most {ROWS_MAX} nodes of {self.topology.name}, saw one more"
                raise TooLargeError(msg)
            self._ids.append(None)
            for values in self._values.values():
                # More than one where somebody was interrupted here.
                values.extend([None] * (row + 1 - len(values)))
        self._added.add(row)
        self._ids[row] = id_
        self._rows[id_] = row
        return row

    def set(self, row: int, column: str, value: Value) -> None:
        """Write a value of a row that `row` gave."""
        values = self._values.get(column)
        if values is None:
            values = self._column(column)
        if values[row] != value:
            self._dirty[column].add(row)
            values[row] = value

    def put(self, id_: str, /, **values: Value) -> int:
        """Write values of a node, which is made where there is none; returns its row."""
        row = self.row(id_)
        for column, value in values.items():
            self.set(row, column, value)
        return row

    def get(self, id_: str, column: str) -> Value:
        """A value; None for a node that is not there."""
        row = self._rows.get(id_)
        values = self._values.get(column)
        return None if row is None or values is None else values[row]

    def node(self, id_: str) -> Mapping[str, Value]:
        """All known values of a node.

        Raises:
            KeyError: there is no such node.
        """
        row = self._rows[id_]
        return {name: v for name, values in self._values.items() if (v := values[row]) is not None}

    def remove(self, id_: str) -> None:
        """Take a node away; one that is not there is no error."""
        row = self._rows.get(id_)
        if row is None:
            return
        if row not in self._added:
            self._removed.add(row)
        del self._rows[id_]

    def keep(self, ids: set[str]) -> None:
        """Take away all nodes but these."""
        for id_ in [one for one in self._rows if one not in ids]:
            self.remove(id_)

    def changes(self, symbols: Symbols) -> TableChange | None:
        """What changed since the last call; None without a change."""
        gone = {row for row in self._removed | self._added if not self._lives(row)}
        removed, added = sorted(self._removed & gone), sorted(self._added - gone)
        if gone:
            self._clear(gone)
        columns = [
            self._change(column, sorted(dirty), symbols)
            for column, dirty in self._dirty.items()
            if dirty
        ]
        self._settle(gone)
        if not (removed or added or columns):
            return None
        return self._table(removed, added, columns)

    def whole(self, symbols: Symbols) -> TableChange | None:
        """All of it; what changed stays to be told. None for an empty table."""
        rows = sorted(self._rows.values())
        if not rows:
            return None
        columns = [
            self._change(column, known, symbols)
            for column, values in self._values.items()
            if (known := [row for row in rows if values[row] is not None])
        ]
        return self._table([], rows, columns)

    def _table(
        self, removed: list[int], added: list[int], columns: list[ColumnChange]
    ) -> TableChange:
        ids = [str(self._ids[row]) for row in added]
        name = self.topology.name
        return TableChange(name, pack_rows(removed), pack_rows(added), ids, columns)

    def _change(self, column: str, rows: list[int], symbols: Symbols) -> ColumnChange:
        values = self._values[column]
        told: list[Any] = self._fitting([values[row] for row in rows], self._types.get(column))
        if self._types.get(column) is Type.SYMBOL:
            told = [None if value is None else symbols.number(value) for value in told]
        return ColumnChange(column, pack_rows(rows), told)

    def _fitting(self, values: list[Value], type_: Type | None) -> list[Any]:
        """Values that a receiver takes: it would refuse a whole frame for one of another type, and
        this probe with it, again and again."""
        classes = _CLASSES.get(type_, _ANY)
        fit = [
            value
            if value.__class__ in classes and (value.__class__ is not float or isfinite(value))  # pyright: ignore[reportArgumentType] - a float, by its class
            else None
            for value in values
        ]
        if fit != values:
            pairs = zip(fit, values, strict=True)
            self.unfit += sum(1 for new, old in pairs if new is None and old is not None)
        return fit

    def _lives(self, row: int) -> bool:
        id_ = self._ids[row]
        return id_ is not None and self._rows.get(id_) == row

    def _clear(self, gone: set[int]) -> None:
        for row in gone:
            self._ids[row] = None
        for column, values in self._values.items():
            for row in gone:
                values[row] = None
            self._dirty[column] -= gone

    def _settle(self, gone: set[int]) -> None:
        self._free.extend(gone)
        self._removed.clear()
        self._added.clear()
        emptied: list[str] = []
        for column, dirty in self._dirty.items():
            if dirty and column.startswith(EXTRA) and _is_empty(self._values[column]):
                emptied.append(column)
            dirty.clear()
        # Columns of plugins come and go; each that stayed would cost a place in every row.
        for column in emptied:
            del self._values[column], self._dirty[column]

    def _column(self, column: str) -> list[Value]:
        assert column in self._types or column.startswith(EXTRA), (
            f"expected a column of {self.topology.name} or one that begins with {EXTRA}: {column}"
        )
        self._dirty[column] = set()
        self._values[column] = [None] * len(self._ids)
        return self._values[column]

    def __iter__(self) -> Iterator[tuple[str, Mapping[str, Value]]]:
        return ((id_, self.node(id_)) for id_ in self._rows)


def _is_empty(values: list[Value]) -> bool:
    return all(value is None for value in values)
