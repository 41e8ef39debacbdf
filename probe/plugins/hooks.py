"""All that the author of a plugin needs: this one file.

A plugin adds columns to nodes that a probe sees. It says what it adds, and looks::

    from probe.plugins import hooks


    class Certificates(hooks.Plugin):
        id = "certificates"
        label = "Certificates"
        description = "Days until the certificates of this host run out."
        columns = (hooks.gauge("days_left", "Certificate", unit="days"),)

        def look(self, told: hooks.Told) -> None:
            told.host(days_left=12.5)

`probe plugin check certificates.py:Certificates` looks once and prints what is told; `probe plugin
run` keeps it at work. A plugin is a process of its own: whatever it does, no agent is harmed. It is
asked at a UNIX socket by the plugin protocol of Weave Scope, version 1, so Scope's own probe takes
it as well. Hooks are ordinary functions and may take their time: they run in a thread, and who asks
gets what the last look told. `probe.plugins.testing` is for its tests.
"""

from __future__ import annotations

import math
import socket
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, TypeAlias

import msgspec

from probe.plugins.errors import ColumnError

NODES_MAX = 5_000
"""Nodes of one topology that a look may tell of; what is told beyond is left out and counted."""
Nodes: TypeAlias = dict[str, dict[str, dict[str, str | float]]]


class Kind(StrEnum):
    """What a column holds."""

    TEXT = "text"
    NUMBER = "number"
    """A fact: a version, a limit, a count since the start."""
    GAUGE = "gauge"
    """Moves both ways; worth a sparkline."""


@dataclass(frozen=True)
class Column:
    """A column that a plugin adds. `name` is of small letters, digits and underscores."""

    name: str
    label: str
    kind: Kind
    unit: str = ""


def text(name: str, label: str) -> Column:
    """A column of texts."""
    return Column(name, label, Kind.TEXT)


def number(name: str, label: str, *, unit: str = "") -> Column:
    """A column of numbers that seldom change."""
    return Column(name, label, Kind.NUMBER, unit)


def gauge(name: str, label: str, *, unit: str = "") -> Column:
    """A column of measured values. Units that are shown well: `percent`, `filesize`, `integer`."""
    return Column(name, label, Kind.GAUGE, unit)


class Told:
    """What one look tells. None takes a value back, as does not telling it at the next look."""

    def __init__(self, columns: Sequence[Column], host: str | None = None) -> None:
        self._columns = {column.name: column for column in columns}
        self._host = host or socket.gethostname()
        self.nodes: Nodes = {}
        """Topology → id → column → value."""
        self.left_out = 0

    def host(self, **values: str | float | None) -> None:
        """Tell of this host.

        Raises (all):
            ColumnError: a column is not declared, or a value is of another type.
        """
        self.node("host", self._host, **values)

    def process(self, pid: int, /, **values: str | float | None) -> None:
        """Tell of a process of this host."""
        self.node("process", f"{self._host};{pid}", **values)

    def container(self, id_: str, /, **values: str | float | None) -> None:
        """Tell of a container, by the id that its runtime gave it."""
        self.node("container", id_, **values)

    def node(self, topology: str, id_: str, /, **values: str | float | None) -> None:
        """Tell of a node of any topology, by its id (`docs/reference/report.md`)."""
        checked = {name: self._checked(name, value) for name, value in values.items()}
        nodes = self.nodes.setdefault(topology, {})
        if id_ not in nodes and len(nodes) >= NODES_MAX:
            self.left_out += 1
            return
        node = nodes.setdefault(id_, {})
        for name, value in checked.items():
            if value is None:
                node.pop(name, None)
            else:
                node[name] = value

    def _checked(self, name: str, value: str | float | None) -> str | float | None:
        column = self._columns.get(name)
        if column is None:
            known = ", ".join(self._columns) or "none"
            msg = f"expected a column of {known}, saw {name}: add it to the plugin's `columns`"
            raise ColumnError(msg)
        if value is None:
            return None
        is_text = isinstance(value, str)
        is_number = not is_text and not isinstance(value, bool) and math.isfinite(value)
        if is_text if column.kind is Kind.TEXT else is_number:
            return value
        wanted = "a text" if column.kind is Kind.TEXT else "a finite number"
        msg = f"expected {wanted} in column {name}, saw {value!r}"
        raise ColumnError(msg)


class NoSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A plugin that has nothing to be told."""


class Plugin(ABC):
    """A plugin. The hooks are `start`, `look` and `close`; only `look` has to be there.

    They are called one after the other, in one thread. An exception is shown as the plugin's
    problem, and `look` is called again at its next time.
    """

    id: ClassVar[str]
    """Letters, digits and dashes; also the name of its socket."""
    label: ClassVar[str]
    description: ClassVar[str]
    columns: ClassVar[Sequence[Column]]
    """All that it can tell."""
    interval_s: ClassVar[float] = 15.0
    """Between two looks."""
    look_s_max: ClassVar[float] = 60.0
    """After which a look that has not ended is shown as the plugin's problem."""
    settings_type: ClassVar[type[msgspec.Struct]] = NoSettings
    """What can be set, with `--set NAME=VALUE`; every field needs a default."""

    def __init__(self, settings: Any) -> None:
        """Made with an instance of `settings_type`. Nothing is looked at yet."""
        self.settings = settings

    def start(self) -> None:  # noqa: B027 - a hook that need not be there
        """Find out what is here; called before the first look, and again until it succeeds."""

    @abstractmethod
    def look(self, told: Told) -> None:
        """Look once, and tell what is seen."""

    def close(self) -> None:  # noqa: B027 - a hook that need not be there
        """Let go of everything; called once, after the last look."""


def spec(plugin: Plugin) -> Mapping[str, Any]:
    """What a plugin says of itself, as the protocol has it."""
    return {
        "id": plugin.id,
        "label": plugin.label,
        "description": plugin.description,
        "interfaces": ["reporter"],
        "api_version": "1",
    }
