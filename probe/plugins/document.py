"""What a plugin tells, in the JSON of Weave Scope's plugin protocol, version 1.

Topologies that Scope has stand where it looks for them; others in the section `Probe`, which only
our agents read. Gauges are metrics there, everything else is a text of Latest, with a template that
says when it is a number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from probe.plugins.hooks import Column, Kind, Plugin, Told, spec
from probe.report.scope.keys import KINDS
from probe.report.scope.plugin import OURS

_SECTIONS = {kind.ours: (name, kind.tag) for name, kind in KINDS.items()}


def write(plugin: Plugin, told: Told, time_s: float) -> bytes:
    """The answer to `GET /report`."""
    stamp = datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    columns = {column.name: column for column in plugin.columns}
    document: dict[str, Any] = {"Plugins": [spec(plugin)]}
    for topology, nodes in told.nodes.items():
        section, tag = _SECTIONS.get(topology, ("", ""))
        written = {
            f"{id_};{tag}" if tag else id_: _node(values, columns, stamp)
            for id_, values in nodes.items()
        }
        place = document if section else document.setdefault(OURS, {})
        place[section or topology] = {"nodes": written, **_templates(plugin.columns)}
    return msgspec.json.encode(document)


def _node(
    values: Mapping[str, str | float], columns: Mapping[str, Column], stamp: str
) -> dict[str, Any]:
    latest: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    for name, value in values.items():
        if columns[name].kind is Kind.GAUGE:
            metrics[name] = {"samples": [{"date": stamp, "value": value}]}
        else:
            latest[name] = {"timestamp": stamp, "value": str(value)}
    return {"latest": latest, "metrics": metrics}


def _templates(columns: Sequence[Column]) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    for priority, column in enumerate(columns, 1):
        template = {"id": column.name, "label": column.label, "priority": priority}
        if column.kind is Kind.GAUGE:
            metrics[column.name] = {**template, "format": column.unit}
        else:
            type_ = "number" if column.kind is Kind.NUMBER else ""
            # `format` is not Scope's here; it passes over it.
            more = {"dataType": type_, "from": "latest", "format": column.unit}
            metadata[column.name] = {**template, **more}
    return {"metadata_templates": metadata, "metric_templates": metrics}
