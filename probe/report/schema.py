"""What a report can say: topologies and their typed columns, as data.

A topology is one kind of node. Each stands in a file of its own below `topologies/`; nothing else
has to change when one is added. Columns that are not declared there are for plugins and begin with
`x:`; they take any value.

The types say how a column travels, too: a symbol is sent once a stream and then by its number, so
it is for texts of few different values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

Value: TypeAlias = str | int | float | bool | list[str] | None
EXTRA = "x:"


class Type(StrEnum):
    """Of the values of a column. None (unknown, or no longer known) is a value of every type."""

    TEXT = "text"
    SYMBOL = "symbol"
    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    TEXTS = "texts"
    REF = "ref"


class Role(StrEnum):
    """What a column is to a reader."""

    FACT = "fact"
    GAUGE = "gauge"
    """Moves both ways; worth a sparkline."""
    COUNTER = "counter"
    """Only grows while its node lives."""


@dataclass(frozen=True)
class Column:
    """One column. `target` is the topology whose node a REF names by its id."""

    name: str
    type: Type
    meaning: str
    unit: str = ""
    role: Role = Role.FACT
    target: str = ""


@dataclass(frozen=True)
class Topology:
    """One kind of node. `identity` says what its ids are made of."""

    name: str
    label: str
    identity: str
    columns: tuple[Column, ...]

    def column(self, name: str) -> Column | None:
        """The declared column of that name."""
        return next((column for column in self.columns if column.name == name), None)


def text(name: str, meaning: str) -> Column:
    """A column of free text."""
    return Column(name, Type.TEXT, meaning)


def symbol(name: str, meaning: str) -> Column:
    """A column of texts with few different values."""
    return Column(name, Type.SYMBOL, meaning)


def texts(name: str, meaning: str) -> Column:
    """A column of sorted sets of texts."""
    return Column(name, Type.TEXTS, meaning)


def ref(name: str, target: str, meaning: str) -> Column:
    """A column that names a node of another topology."""
    return Column(name, Type.REF, meaning, target=target)


def integer(name: str, meaning: str, unit: str = "") -> Column:
    """A column of whole numbers that seldom change."""
    return Column(name, Type.INT, meaning, unit)


def flag(name: str, meaning: str) -> Column:
    """A column of truth values."""
    return Column(name, Type.BOOL, meaning)


def gauge(name: str, meaning: str, unit: str, type_: Type = Type.FLOAT) -> Column:
    """A column of measured values."""
    return Column(name, type_, meaning, unit, Role.GAUGE)


def counter(name: str, meaning: str, unit: str = "") -> Column:
    """A column of growing numbers."""
    return Column(name, Type.INT, meaning, unit, Role.COUNTER)


def fits(value: Value, type_: Type) -> bool:
    """Whether a value may stand in a column of a type."""
    return value is None or _fits(value, type_)


def _fits(value: Value, type_: Type) -> bool:
    match type_:
        case Type.TEXT | Type.SYMBOL | Type.REF:
            return isinstance(value, str)
        case Type.INT:
            return isinstance(value, int) and not isinstance(value, bool)
        case Type.FLOAT:
            return isinstance(value, int | float) and _is_number(value)
        case Type.BOOL:
            return isinstance(value, bool)
        case Type.TEXTS:
            return isinstance(value, list)


def _is_number(value: float) -> bool:
    return not isinstance(value, bool) and math.isfinite(value)
