"""What Consul's catalog tells, as frozen values (API reference: catalog, health)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Status(StrEnum):
    """Of a check. A service with a `critical` one is named to nobody who asks by DNS; with
    `only_passing`, neither is one with a `warning`."""

    PASSING = "passing"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True)
class Node:
    """A node: an agent of Consul's, or whatever somebody registered by its API."""

    name: str
    address: str
    meta: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Service:
    """An instance of a service on a node; ids are unique there."""

    id: str
    name: str
    address: str
    port: int
    tags: tuple[str, ...] = ()
    meta: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Check:
    """A check of a node, or of a service there (`service_id`; empty: of the node itself)."""

    node: str
    id: str
    status: str
    service_id: str = ""
