"""The report of a plugin of Weave Scope, protocol version 1: what it adds to nodes that are there.

Its values become columns `x:PLUGIN:KEY` of the same nodes: Latest as texts, the last sample of a
metric as a number. Keys that Scope's own probe writes are not taken from a plugin.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from probe.report.errors import ScopeReportError
from probe.report.schema import EXTRA, Value
from probe.report.scope import document
from probe.report.scope.document import Node
from probe.report.scope.importer import Nodes, bare, process_id
from probe.report.scope.keys import KINDS, Kind

BYTES_MAX = 50 * 1024 * 1024
"""As the protocol has it."""
NODES_MAX = 5_000
COLUMNS_MAX = 32
_TEXT_CHARS_MAX = 1_024
_KEY_CHARS_MAX = 64
API_VERSION = "1"


class Spec(msgspec.Struct):
    """What a plugin says of itself."""

    id: str
    label: str = ""
    description: str = ""
    interfaces: list[str] = []
    api_version: str = API_VERSION


_SPECS = msgspec.json.Decoder(list[Spec])


@dataclass(frozen=True)
class PluginReport:
    """A plugin's word. `left_out`: values beyond the bounds."""

    spec: Spec
    nodes: Nodes
    left_out: int


def read(data: bytes, name: str) -> PluginReport:
    """Read a plugin's report; `name` is that of its socket, which has to be its id.

    Raises:
        ScopeReportError: it is none, or not that plugin's.
    """
    told = document.sections(data, BYTES_MAX)
    specs = document.decode(told.get("Plugins", msgspec.Raw(b"[]")), _SPECS)
    if len(specs) != 1 or specs[0].id != name:
        seen = ", ".join(spec.id[:40] for spec in specs[:3]) or "none"
        msg = f"expected one plugin called {name} in `Plugins`, saw {seen}: name its socket so"
        raise ScopeReportError(msg)
    if specs[0].api_version != API_VERSION:
        msg = f"expected api_version {API_VERSION}, saw {specs[0].api_version[:20]!r}"
        raise ScopeReportError(msg)
    nodes: Nodes = {}
    left_out = 0
    for section, kind in KINDS.items():
        if section not in told:
            continue
        for number, (node_id, node) in enumerate(document.nodes(told[section]).items()):
            if number >= NODES_MAX:
                left_out += 1
                continue
            values, over = _values(kind, node, name)
            left_out += over
            if values:
                is_process = kind.ours == "process"
                id_ = process_id(node_id) if is_process else bare(node_id, kind.tag)
                nodes.setdefault(kind.ours, {})[id_] = values
    return PluginReport(specs[0], nodes, left_out)


def _values(kind: Kind, node: Node, plugin: str) -> tuple[dict[str, Value], int]:
    values: dict[str, Value] = {}
    told: list[tuple[str, Value]] = [
        (key, latest.value[:_TEXT_CHARS_MAX])
        for key, latest in (node.latest or {}).items()
        if key not in kind.latest
    ]
    told += [
        (key, metric.samples[-1].value)
        for key, metric in (node.metrics or {}).items()
        if key not in kind.metrics and metric.samples
    ]
    for key, value in told[:COLUMNS_MAX]:
        values[f"{EXTRA}{plugin}:{key[:_KEY_CHARS_MAX]}"] = value
    return values, max(0, len(told) - COLUMNS_MAX)
