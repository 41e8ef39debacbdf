"""Read a report of Weave Scope into nodes of ours.

Reports of 2016 and of the last releases are both taken: sections that a release does not have are
missing, and what is not known here is counted, not refused. Edges are made of endpoints' adjacency:
the endpoint that has another in its list is the client.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from probe.report.errors import ScopeReportError
from probe.report.schema import Type, Value
from probe.report.scope import document
from probe.report.scope.document import Node
from probe.report.scope.keys import KINDS, LABEL_PREFIXES, PORT_MAX, Kind
from probe.report.topologies import TOPOLOGIES

Nodes: TypeAlias = dict[str, dict[str, dict[str, Value]]]


@dataclass
class Imported:
    """What a report came to. `left_out`: nodes of topologies that are not known here."""

    nodes: Nodes = field(default_factory=dict[str, dict[str, dict[str, Value]]])
    left_out: dict[str, int] = field(default_factory=dict[str, int])


def read(data: bytes) -> Imported:
    """Read a report.

    Raises:
        ScopeReportError: it is none.
    """
    told = document.sections(data)
    found = Imported()
    topologies = {
        name: document.nodes(raw) for name, raw in told.items() if name not in document.OTHERS
    }
    if not topologies:
        msg = f"expected topologies such as Host, saw {', '.join(sorted(told))[:200] or 'none'}"
        raise ScopeReportError(msg)
    for name, kind in KINDS.items():
        for node_id, node in topologies.pop(name, {}).items():
            is_process = kind.ours == "process"
            id_ = process_id(node_id) if is_process else bare(node_id, kind.tag)
            found.nodes.setdefault(kind.ours, {})[id_] = _values(kind, node)
    for node_id, edge in _edges(topologies.pop("Endpoint", {})).items():
        found.nodes.setdefault("connection", {})[node_id] = edge
    found.left_out = {name: len(nodes) for name, nodes in topologies.items() if nodes}
    return found


def bare(node_id: str, tag: str) -> str:
    """An id without its tag."""
    return node_id.removesuffix(f";{tag}") if tag else node_id


def process_id(node_id: str) -> str:
    """The id of a process: Scope does not tell when it started, so 0 stands for it."""
    return f"{node_id};0"


def _values(kind: Kind, node: Node) -> dict[str, Value]:
    topology = TOPOLOGIES[kind.ours]
    values: dict[str, Value] = {}
    for key, column in kind.latest.items():
        declared = topology.column(column)
        assert declared is not None, "keys name declared columns"
        value = _typed(node.text(key), declared.type)
        if value is not None:
            values[column] = value
    for key, column in kind.sets.items():
        members = sorted({one for one in (node.sets or {}).get(key) or [] if one})
        if members:
            values[column] = list(members)
    for key, column in kind.metrics.items():
        metric = (node.metrics or {}).get(key)
        if metric is not None and metric.samples:
            declared = topology.column(column)
            last = metric.samples[-1].value
            is_whole = declared is not None and declared.type is Type.INT
            values[column] = round(last) if is_whole else last
    host = bare(node.text("host_node_id"), "<host>")
    if host and kind.ours not in {"host", "container_image"}:
        values["host"] = host
    if kind.ours == "container":
        values["runtime"] = "docker"
        labels = sorted(_labels(node))
        if labels:
            values["labels"] = list(labels)
    return values


def _labels(node: Node) -> list[str]:
    return [
        f"{key.removeprefix(prefix)}={latest.value}"
        for key, latest in (node.latest or {}).items()
        for prefix in LABEL_PREFIXES
        if key.startswith(prefix)
    ]


def _typed(text: str, type_: Type) -> Value:
    if not text:
        return None
    return document.whole(text) if type_ is Type.INT else text


def _edges(endpoints: Mapping[str, Node]) -> dict[str, dict[str, Value]]:
    """Connections of one client address, server and port, taken together."""
    edges: dict[str, dict[str, Value]] = {}
    for node_id, client in endpoints.items():
        for server_id in client.adjacency or ():
            ends = _end(node_id), _end(server_id)
            if ends[0] is None or ends[1] is None or ends[1][1] > PORT_MAX:
                continue
            server = endpoints.get(server_id, Node())
            _add(edges, client, server, ends[0], ends[1])
    return edges


def _end(node_id: str) -> tuple[str, int] | None:
    """`scope;address;port`."""
    parts = node_id.split(";")
    port = document.whole(parts[2]) if len(parts) == 3 else None  # noqa: PLR2004 - as the id is made
    # A client may have a number that is no port (exporter): edges do not tell it.
    return (parts[1], port) if port is not None and port >= 0 else None


def _add(
    edges: dict[str, dict[str, Value]],
    client: Node,
    server: Node,
    client_end: tuple[str, int],
    server_end: tuple[str, int],
) -> None:
    host = bare(client.text("host_node_id") or server.text("host_node_id"), "<host>")
    owners = [_owner(one) for one in (client, server)]
    pids = ";".join(one.text("pid") or "0" for one in (client, server))
    id_ = f"{host};0;tcp;{client_end[0]};{server_end[0]};{server_end[1]};{pids}"
    edge = edges.setdefault(
        id_,
        {
            "protocol": "tcp",
            "client_address": client_end[0],
            "server_address": server_end[0],
            "server_port": server_end[1],
            "open": 0,
        },
    )
    if host:
        edge["host"] = host
    for column, owner in zip(("client", "server"), owners, strict=True):
        if owner is not None:
            edge[column] = owner
    count = edge["open"]
    edge["open"] = (count if isinstance(count, int) else 0) + 1
    tracked = client.text("conntracked") == "true" or server.text("conntracked") == "true"
    edge["evidence"] = "conntrack" if tracked else "proc"


def _owner(endpoint: Node) -> str | None:
    pid, host = endpoint.text("pid"), bare(endpoint.text("host_node_id"), "<host>")
    return process_id(f"{host};{pid}") if pid and host else None
