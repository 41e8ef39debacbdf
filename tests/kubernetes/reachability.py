"""Who may reach whom, worked out from NetworkPolicies as the API's documentation says.

The rig's nodes enforce no policy, so this is what tests ask instead. A connection is possible when
the source's policies let it out and the target's let it in; a pod that no policy selects may do
everything. Knows what our policies use: labels, namespaces by label, networks, numbered ports.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Peer:
    """One end of a connection; `address` is that of a pod, or of its node where it uses that."""

    namespace: str
    namespace_labels: Mapping[str, str]
    labels: Mapping[str, str]
    address: str
    on_node_network: bool = False


def is_selected(peer: Peer, policies: Sequence[Object], direction: str) -> bool:
    """Whether any policy of a direction selects a pod."""
    return any(_selecting(peer, policies, direction))


@dataclass(frozen=True)
class Port:
    """Where a pod listens; `protocol` as the API writes it."""

    number: int
    protocol: str = "TCP"


def may_connect(source: Peer, target: Peer, port: Port, policies: Sequence[Object]) -> bool:
    """Whether a connection is possible."""
    return _allows(source, target, port, policies, "Egress") and _allows(
        target, source, port, policies, "Ingress"
    )


def _allows(of: Peer, other: Peer, port: Port, policies: Sequence[Object], direction: str) -> bool:
    # Policies do not cover what uses its node's network.
    if of.on_node_network:
        return True
    selecting = _selecting(of, policies, direction)
    if not selecting:
        return True
    key, side = ("egress", "to") if direction == "Egress" else ("ingress", "from")
    return any(
        _matches_port(rule, port) and _matches_peer(rule.get(side), other, of.namespace)
        for each in selecting
        for rule in each["spec"].get(key, ())
    )


def _selecting(peer: Peer, policies: Sequence[Object], direction: str) -> list[Object]:
    return [
        each
        for each in policies
        if each["metadata"]["namespace"] == peer.namespace
        and direction in each["spec"]["policyTypes"]
        and _has(peer.labels, each["spec"]["podSelector"])
    ]


def _matches_port(rule: Object, port: Port) -> bool:
    ports = rule.get("ports")
    return not ports or any(
        (each.get("protocol", "TCP"), each["port"]) == (port.protocol, port.number)
        for each in ports
    )


def _matches_peer(peers: Sequence[Object] | None, other: Peer, own_namespace: str) -> bool:
    return not peers or any(_is(peer, other, own_namespace) for peer in peers)


def _is(peer: Object, other: Peer, own_namespace: str) -> bool:
    if "ipBlock" in peer:
        network = ipaddress.ip_network(peer["ipBlock"]["cidr"])
        return ipaddress.ip_address(other.address) in network
    if other.on_node_network:
        # Such a pod is seen as its node, whatever its labels.
        return False
    if "namespaceSelector" in peer:
        if not _has(other.namespace_labels, peer["namespaceSelector"]):
            return False
    elif other.namespace != own_namespace:
        return False
    return "podSelector" not in peer or _has(other.labels, peer["podSelector"])


def _has(labels: Mapping[str, str], selector: Object) -> bool:
    assert not selector.get("matchExpressions"), "not known here"
    wanted: Mapping[str, str] = selector.get("matchLabels") or {}
    return all(labels.get(key) == value for key, value in wanted.items())
