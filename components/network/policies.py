"""Who may reach whom, on which port: everything that is not said here is denied.

Flows are between tiers, whatever target they run on. A flow that stays within a colour keeps
ensembles and groups apart that must never mix; agents, frameworks and clients follow either colour,
because that is what a migration is. Values only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from components.workload import PortRole

ZOOKEEPER, MASTERS, AGENTS = "zookeeper", "masters", "agents"
FRAMEWORKS, CLIENTS, ENGINE = "frameworks", "clients", "engine"
CARETAKERS = "caretakers"
MONITORING = "monitoring"
"""Whoever reads metrics; not of this platform."""
GUESTS = "guests"
"""Whoever uses a cluster's ZooKeeper; not of this platform."""


@dataclass(frozen=True)
class Flow:
    """Members of one tier may open connections to a port of another's."""

    source: str
    target: str
    role: PortRole
    within_color: bool = False


_CLIENT = PortRole.ZOOKEEPER_CLIENT
FLOWS = (
    Flow(ZOOKEEPER, ZOOKEEPER, PortRole.ZOOKEEPER_QUORUM, within_color=True),
    Flow(ZOOKEEPER, ZOOKEEPER, PortRole.ZOOKEEPER_ELECTION, within_color=True),
    # Masters of one colour alone stand in an election: a copied member would join another's log.
    Flow(MASTERS, ZOOKEEPER, _CLIENT, within_color=True),
    Flow(MASTERS, MASTERS, PortRole.MASTER, within_color=True),
    Flow(AGENTS, ZOOKEEPER, _CLIENT),
    Flow(AGENTS, MASTERS, PortRole.MASTER),
    Flow(MASTERS, AGENTS, PortRole.AGENT),
    Flow(FRAMEWORKS, ZOOKEEPER, _CLIENT),
    Flow(FRAMEWORKS, MASTERS, PortRole.MASTER),
    Flow(CLIENTS, ZOOKEEPER, _CLIENT),
    Flow(ENGINE, ZOOKEEPER, _CLIENT),
    Flow(ENGINE, ZOOKEEPER, PortRole.ZOOKEEPER_SECURE),
    Flow(CLIENTS, ZOOKEEPER, PortRole.ZOOKEEPER_SECURE),
    Flow(FRAMEWORKS, ZOOKEEPER, PortRole.ZOOKEEPER_SECURE),
    Flow(GUESTS, ZOOKEEPER, PortRole.ZOOKEEPER_SECURE),
    # They ask who leads, and drain agents of either colour.
    Flow(CARETAKERS, MASTERS, PortRole.MASTER),
    Flow(GUESTS, ZOOKEEPER, _CLIENT),
    Flow(MONITORING, ZOOKEEPER, PortRole.ZOOKEEPER_METRICS),
    Flow(MONITORING, MASTERS, PortRole.MASTER),
    Flow(MONITORING, FRAMEWORKS, PortRole.FRAMEWORK),
    Flow(MONITORING, CLIENTS, PortRole.CLIENTS),
    Flow(MONITORING, ENGINE, PortRole.ENGINE),
)


def into(tier: str) -> Iterator[Flow]:
    """Flows that end at a tier."""
    return (flow for flow in FLOWS if flow.target == tier)


def out_of(tier: str) -> Iterator[Flow]:
    """Flows that begin at a tier."""
    return (flow for flow in FLOWS if flow.source == tier)
