"""The JSON of a report of Weave Scope, as far as it is read: sections, nodes, values."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from probe.report.errors import ScopeReportError

REPORT_BYTES_MAX = 64 * 1024 * 1024
OTHERS = frozenset(("Sampling", "Window", "Shortcut", "ID", "TS", "DNS", "Plugins"))
"""Sections that are no topology."""
_T = TypeVar("_T")
# What `int` takes besides is no number of Scope's, and what `isdigit` takes `int` may not.
_WHOLE = re.compile(r"-?[0-9]{1,18}")


class Latest(msgspec.Struct):
    """A value; when it was told is not read."""

    value: str = ""


class Sample(msgspec.Struct):
    """A measured value."""

    value: float = 0.0


class Metric(msgspec.Struct):
    """Measured values, the last one last."""

    samples: list[Sample] | None = None


class Node(msgspec.Struct):
    """A node."""

    id: str = ""
    latest: dict[str, Latest] | None = None
    sets: dict[str, list[str] | None] | None = None
    metrics: dict[str, Metric] | None = None
    parents: dict[str, list[str] | None] | None = None
    adjacency: list[str] | None = None

    def text(self, key: str) -> str:
        """A value of Latest; empty without one."""
        found = (self.latest or {}).get(key)
        return "" if found is None else found.value


class Section(msgspec.Struct):
    """A topology."""

    nodes: dict[str, Node] | None = None


class Template(msgspec.Struct):
    """How a value is shown: `format` of a metric, `data_type` of a value of Latest."""

    label: str = ""
    format: str = ""
    data_type: str = msgspec.field(name="dataType", default="")


class Control(msgspec.Struct):
    """Something that can be asked of a node."""

    human: str = ""


class RawSection(msgspec.Struct):
    """A topology whose nodes are read one by one, so that a large one is never held whole."""

    nodes: dict[str, msgspec.Raw] | None = None
    metadata_templates: dict[str, Template] | None = None
    metric_templates: dict[str, Template] | None = None
    controls: dict[str, Control] | None = None


def whole(text: str) -> int | None:
    """A whole number inside 64 bits, where a text is one."""
    return int(text) if _WHOLE.fullmatch(text) else None


_SECTIONS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_SECTION = msgspec.json.Decoder(Section)
_RAW_SECTION = msgspec.json.Decoder(RawSection)
_NODE = msgspec.json.Decoder(Node)


def sections(data: bytes, bytes_max: int = REPORT_BYTES_MAX) -> dict[str, msgspec.Raw]:
    """A report's sections, unread.

    Raises (all):
        ScopeReportError: it is no report.
    """
    if len(data) > bytes_max:
        msg = f"expected a report of at most {bytes_max} bytes, saw {len(data)}"
        raise ScopeReportError(msg)
    return decode(data, _SECTIONS)


def nodes(raw: msgspec.Raw) -> dict[str, Node]:
    """The nodes of a topology."""
    return decode(raw, _SECTION).nodes or {}


def raw_section(raw: msgspec.Raw) -> RawSection:
    """A topology, its nodes unread."""
    return decode(raw, _RAW_SECTION)


def node(raw: msgspec.Raw) -> Node:
    """A node."""
    return decode(raw, _NODE)


def decode(data: bytes | msgspec.Raw, decoder: msgspec.json.Decoder[_T]) -> _T:
    """Read with a decoder.

    Raises:
        ScopeReportError: it is something else.
    """
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        msg = f"expected a report of Scope as JSON, saw: {str(error)[:200]}"
        raise ScopeReportError(msg) from None
