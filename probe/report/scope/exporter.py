"""Write nodes of ours as a report of Weave Scope, which its app takes at `POST /api/report`.

What Scope has no word for is left out: Mesos, ZooKeeper, Marathon, plugins' columns. Templates are
written too, because its app shows no metadata without them.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from probe.report.schema import Value
from probe.report.scope.keys import KINDS, PORT_MAX, TAGS, Kind

_WINDOW_NS = 15_000_000_000
_Nodes = Mapping[str, Mapping[str, Mapping[str, Value]]]


def write(nodes: _Nodes, *, probe: str, time_ms: int) -> bytes:
    """The report, as JSON."""
    stamp = datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    report: dict[str, Any] = {
        "ID": probe,
        "TS": stamp,
        "Window": _WINDOW_NS,
        "Shortcut": False,
        "Sampling": {"Count": 0, "Total": 0},
        "Plugins": [],
    }
    for name, kind in KINDS.items():
        found = nodes.get(kind.ours, {})
        report[name] = {
            "shape": kind.shape,
            "label": kind.label,
            "label_plural": f"{kind.label}es" if kind.label.endswith("s") else f"{kind.label}s",
            "nodes": dict(_node(kind, id_, values, stamp) for id_, values in found.items()),
            "metadata_templates": _templates(kind),
            "metric_templates": _metric_templates(kind),
        }
    report["Endpoint"] = {"nodes": _endpoints(nodes.get("connection", {}), stamp)}
    return msgspec.json.encode(report)


def scope_id(ours: str, id_: str) -> str:
    """An id as Scope writes it."""
    if ours == "process":
        return id_.rpartition(";")[0]  # Scope tells no start.
    return f"{id_};{TAGS[ours]}"


def _latest(values: Mapping[str, str], stamp: str) -> dict[str, Any]:
    return {key: {"timestamp": stamp, "value": value} for key, value in values.items()}


def _node(
    kind: Kind, id_: str, values: Mapping[str, Value], stamp: str
) -> tuple[str, dict[str, Any]]:
    latest = {key: str(values[c]) for key, c in kind.latest.items() if values.get(c) is not None}
    parents: dict[str, list[str]] = {}
    host = values.get("host")
    if isinstance(host, str):
        latest["host_node_id"] = scope_id("host", host)
        parents["host"] = [latest["host_node_id"]]
    for parent, column in (("container", "container"), ("container_image", "image")):
        target = values.get(column)
        if isinstance(target, str):
            parents[parent] = [scope_id(parent, target)]
    labels = values.get("labels")
    for label in labels if isinstance(labels, list) else []:
        name, _, text = label.partition("=")
        latest[f"docker_label_{name}"] = text
    sets = {key: values[column] for key, column in kind.sets.items() if values.get(column)}
    metrics = {
        key: {"samples": [{"date": stamp, "value": values[c]}], "min": 0, "max": values[c]}
        for key, c in kind.metrics.items()
        if values.get(c) is not None
    }
    scoped = scope_id(kind.ours, id_)
    node: dict[str, Any] = {
        "id": scoped,
        "topology": kind.ours,
        "latest": _latest(latest, stamp),
        "sets": sets,
        "metrics": metrics,
        "parents": parents,
        "adjacency": [],
    }
    return scoped, node


def _templates(kind: Kind) -> dict[str, Any]:
    return {
        key: {"id": key, "label": column, "from": "latest", "priority": number}
        for number, (key, column) in enumerate(kind.latest.items())
    }


def _metric_templates(kind: Kind) -> dict[str, Any]:
    return {
        key: {"id": key, "label": column, "priority": number, "format": _format(column)}
        for number, (key, column) in enumerate(kind.metrics.items())
    }


def _format(column: str) -> str:
    if column.endswith("percent"):
        return "percent"
    return "filesize" if column.endswith("bytes") else ""


def _endpoints(edges: Mapping[str, Mapping[str, Value]], stamp: str) -> dict[str, Any]:
    """Endpoints with adjacency. An edge does not tell its clients' ports, so each edge with open
    connections stands as one connection, from a number of its own that can be nobody's port."""
    nodes: dict[str, Any] = {}
    for id_, edge in edges.items():
        if edge.get("open") == 0:  # Scope's app takes what is told for what is connected now.
            continue
        client_id = f"{_scoped(id_, edge, 'client_address')};{_number(id_)}"
        server_id = f"{_scoped(id_, edge, 'server_address')};{edge.get('server_port')}"
        client = nodes.setdefault(client_id, _endpoint(client_id, edge, "client", stamp))
        nodes.setdefault(server_id, _endpoint(server_id, edge, "server", stamp))
        client["adjacency"] = sorted({*client["adjacency"], server_id})
    return nodes


def _number(id_: str) -> int:
    """In place of a client's port: the same in each report, because Scope's app keeps those of
    some seconds as one, and another for each edge of each host, which ids name."""
    digest = hashlib.blake2b(id_.encode("utf-8", "surrogatepass"), digest_size=6)
    return PORT_MAX + 1 + int.from_bytes(digest.digest(), "big")


def _scoped(id_: str, edge: Mapping[str, Value], column: str) -> str:
    """An address as ids of endpoints begin: loopback ones are others in each network namespace of
    each host, and the id of an edge names both."""
    text = str(edge.get(column))
    try:
        is_loopback = ipaddress.ip_address(text).is_loopback
    except ValueError:  # Of a report that somebody else wrote.
        is_loopback = False
    if not is_loopback:
        return f";{text}"
    host, namespace, *_ = id_.split(";")
    return f"{host}-{namespace};{text}"


def _endpoint(id_: str, edge: Mapping[str, Value], end: str, stamp: str) -> dict[str, Any]:
    _, address, port = id_.split(";")
    latest = {"addr": address, "port": port}
    owner, host = edge.get(end), edge.get("host")
    if isinstance(owner, str):
        latest["pid"] = owner.split(";")[-2]
    # An end that nobody here owns may be anywhere.
    if isinstance(host, str) and isinstance(owner, str):
        latest["host_node_id"] = scope_id("host", host)
    if edge.get("evidence") == "conntrack":
        latest["conntracked"] = "true"
    return {
        "id": id_,
        "topology": "endpoint",
        "latest": _latest(latest, stamp),
        "sets": {},
        "parents": {},
        "adjacency": [],
    }
