"""The report of a plugin of Weave Scope, protocol version 1: what it adds to nodes that are there.

Its values become columns `x:PLUGIN:KEY` of the same nodes: Latest as texts, or as numbers where a
template says so; the last sample of a metric as a number. Keys that Scope's own probe writes are
not taken from a plugin. What Scope has no topology for stands in a section `Probe`, by our names
and ids; Scope passes over it.

A report is bounded before it is read, and read node by node: whatever a plugin sends, it costs a
few times its bytes, and those are few. Scope itself took 50 MB, and more memory for it than an
agent may have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import msgspec

from probe.report.errors import ScopeReportError
from probe.report.schema import EXTRA, Value
from probe.report.scope import document
from probe.report.scope.document import Node, RawSection, Template
from probe.report.scope.importer import Nodes, bare, process_id
from probe.report.scope.keys import KINDS, Kind
from probe.report.topologies import TOPOLOGIES

BYTES_MAX = 4 * 1024 * 1024
VALUES_MAX = 250_000
"""A value costs one colon or comma in JSON, and up to a hundred times its bytes in memory."""
NODES_MAX = 5_000
NODE_BYTES_MAX = 256 * 1024
COLUMNS_MAX = 32
"""Of one plugin in one topology."""
OURS = "Probe"
"""The section for topologies that Scope does not have."""
API_VERSION = "1"
TEXT_CHARS_MAX = 16 * 1_024
"""Of a value: more than is shown, for whoever takes secrets out does so before it is cut."""
_KEY_CHARS_MAX = 64
_CONTROLS_MAX = 64


class Spec(msgspec.Struct):
    """What a plugin says of itself."""

    id: str
    label: str = ""
    description: str = ""
    interfaces: list[str] = []
    api_version: str = API_VERSION


_SPECS = msgspec.json.Decoder(list[Spec])
_OURS = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass
class PluginReport:
    """A plugin's word."""

    spec: Spec
    nodes: Nodes = field(default_factory=dict[str, dict[str, dict[str, Value]]])
    columns: dict[str, str] = field(default_factory=dict[str, str])
    """What is shown of a column: `label, unit`."""
    controls: dict[str, str] = field(default_factory=dict[str, str])
    left_out: int = 0
    """Values and nodes beyond the bounds, or of topologies that are not known."""


def read(data: bytes, name: str) -> PluginReport:
    """Read a plugin's report; `name` is that of its socket, which has to be its id.

    Raises:
        ScopeReportError: it is none, or not that plugin's, or too large.
    """
    if max(data.count(b":"), data.count(b",")) > VALUES_MAX:
        msg = f"expected a report of at most {VALUES_MAX} values, saw more: tell of fewer nodes"
        raise ScopeReportError(msg)
    told = document.sections(data, BYTES_MAX)
    found = PluginReport(_spec(told.pop("Plugins", msgspec.Raw(b"[]")), name))
    for topology, raw in document.decode(told.pop(OURS, msgspec.Raw(b"{}")), _OURS).items():
        _take(found, document.raw_section(raw), topology, None)
    for section, raw in told.items():
        if section not in document.OTHERS:
            kind = KINDS.get(section)
            ours = section if kind is None else kind.ours
            _take(found, document.raw_section(raw), ours, kind)
    return found


def _spec(raw: msgspec.Raw, name: str) -> Spec:
    specs = document.decode(raw, _SPECS)
    if len(specs) != 1 or specs[0].id != name:
        seen = ", ".join(spec.id[:40] for spec in specs[:3]) or "none"
        msg = f"expected one plugin called {name} in `Plugins`, saw {seen}: name its socket so"
        raise ScopeReportError(msg)
    if specs[0].api_version != API_VERSION:
        msg = f"expected api_version {API_VERSION}, saw {specs[0].api_version[:20]!r}"
        raise ScopeReportError(msg)
    return specs[0]


def _take(found: PluginReport, section: RawSection, ours: str, kind: Kind | None) -> None:
    for key, control in list((section.controls or {}).items())[:_CONTROLS_MAX]:
        found.controls[key] = control.human
    nodes = section.nodes or {}
    if ours not in TOPOLOGIES:
        found.left_out += len(nodes)
        return
    reading = _Reading(f"{EXTRA}{found.spec.id}:", kind, section)
    for number, (node_id, raw) in enumerate(nodes.items()):
        if number >= NODES_MAX or memoryview(raw).nbytes > NODE_BYTES_MAX:
            found.left_out += 1
            continue
        values = reading.values(document.node(raw))
        if values:
            found.nodes.setdefault(ours, {})[_id(node_id, kind)] = values
    found.left_out += reading.left_out
    found.columns.update(reading.columns)


def _id(node_id: str, kind: Kind | None) -> str:
    if kind is None:
        return node_id
    return process_id(node_id) if kind.ours == "process" else bare(node_id, kind.tag)


class _Reading:
    """Reads the nodes of one topology."""

    def __init__(self, prefix: str, kind: Kind | None, section: RawSection) -> None:
        self._prefix = prefix
        self._taken = frozenset(() if kind is None else (*kind.latest, *kind.metrics))
        self._latest = section.metadata_templates or {}
        self._metrics = section.metric_templates or {}
        self.columns: dict[str, str] = {}
        self.left_out = 0

    def values(self, node: Node) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for key, latest in (node.latest or {}).items():
            template = self._latest.get(key, Template())
            is_number = template.data_type == "number"
            text = latest.value[:TEXT_CHARS_MAX]
            self._put(values, key, _number(text) if is_number else text, template)
        for key, metric in (node.metrics or {}).items():
            if metric.samples:
                template = self._metrics.get(key, Template())
                self._put(values, key, metric.samples[-1].value, template)
        return values

    def _put(self, values: dict[str, Value], key: str, value: Value, template: Template) -> None:
        if key in self._taken:
            return
        column = f"{self._prefix}{key[:_KEY_CHARS_MAX]}"
        if column not in self.columns:
            if len(self.columns) >= COLUMNS_MAX:
                self.left_out += 1
                return
            shown = (template.label or key, template.format or template.data_type)
            self.columns[column] = ", ".join(one for one in shown if one)
        values[column] = value


def _number(text: str) -> Value:
    """A number, where the text is one."""
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        return text
    found = document.whole(text)
    return number if found is None else found
