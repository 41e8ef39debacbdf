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
EDGE, EXPORTER, DISCOVERY = "edge", "exporter", "discovery"
REGISTRATOR = "registrator"
WEB_ROUTE = "web-route"
LOGS, LOG_KEEPER = "logs", "log-keeper"
SHIPPERS = "shippers"
"""Who reads logs on nodes; they lie beside agents."""
LOG_OPERATOR = "log-operator"
"""The operator of Elasticsearch; not of this platform."""
READERS = "readers"
"""Whoever reads logs; not of this platform."""
MONITORING = "monitoring"
"""Whoever reads metrics; not of this platform."""
GUESTS = "guests"
"""Whoever uses a cluster's ZooKeeper; not of this platform."""
VISITORS = "visitors"
"""Whoever sends requests to apps through the edge; not of this platform."""
PROBE = "probe"
"""Those of the probe that watch the cluster; they lie in a namespace of their own."""
BROWSERS = "browsers"
"""Whoever asks for web interfaces, or hands on who does; not of this platform."""
MIGRATION = "migration"
"""Whoever runs `migrate` in a pod beside the others."""
RESOLVERS = "resolvers"
"""The cluster's own name servers, which hand on what is asked of names of Mesos."""


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
    # What has libmesos is called back, as the real Marathon.
    Flow(MASTERS, FRAMEWORKS, PortRole.LIBPROCESS),
    Flow(CLIENTS, ZOOKEEPER, _CLIENT),
    Flow(ENGINE, ZOOKEEPER, _CLIENT),
    Flow(ENGINE, ZOOKEEPER, PortRole.ZOOKEEPER_SECURE),
    Flow(CLIENTS, ZOOKEEPER, PortRole.ZOOKEEPER_SECURE),
    Flow(FRAMEWORKS, ZOOKEEPER, PortRole.ZOOKEEPER_SECURE),
    Flow(GUESTS, ZOOKEEPER, PortRole.ZOOKEEPER_SECURE),
    # They ask who leads, and drain agents of either colour.
    Flow(CARETAKERS, MASTERS, PortRole.MASTER),
    # They ask servers how far they are, and change who votes.
    Flow(CARETAKERS, ZOOKEEPER, _CLIENT, within_color=True),
    Flow(GUESTS, ZOOKEEPER, _CLIENT),
    Flow(MONITORING, ZOOKEEPER, PortRole.ZOOKEEPER_METRICS),
    Flow(MONITORING, MASTERS, PortRole.MASTER),
    Flow(MONITORING, FRAMEWORKS, PortRole.FRAMEWORK),
    Flow(MONITORING, CLIENTS, PortRole.CLIENTS),
    Flow(MONITORING, ENGINE, PortRole.ENGINE),
    Flow(MONITORING, EDGE, PortRole.EDGE_ADMIN),
    Flow(MONITORING, EXPORTER, PortRole.EXPORTER),
    Flow(MONITORING, REGISTRATOR, PortRole.REGISTRATOR),
    # Four-letter words, and what masters and Marathon say of themselves.
    Flow(PROBE, ZOOKEEPER, _CLIENT),
    Flow(PROBE, MASTERS, PortRole.MASTER),
    Flow(PROBE, FRAMEWORKS, PortRole.MARATHON),
    Flow(VISITORS, EDGE, PortRole.EDGE_HTTP),
    Flow(BROWSERS, WEB_ROUTE, PortRole.WEB_ROUTE),
    Flow(WEB_ROUTE, MASTERS, PortRole.MASTER),
    Flow(WEB_ROUTE, FRAMEWORKS, PortRole.MARATHON),
    Flow(EDGE, FRAMEWORKS, PortRole.MARATHON),
    Flow(EDGE, AGENTS, PortRole.TASKS),
    # Behind a leader projection a colour's masters name the other's leader.
    Flow(EXPORTER, MASTERS, PortRole.MASTER),
    Flow(EXPORTER, AGENTS, PortRole.AGENT),
    Flow(EXPORTER, FRAMEWORKS, PortRole.MARATHON),
    Flow(RESOLVERS, DISCOVERY, PortRole.DNS),
    Flow(SHIPPERS, LOGS, PortRole.ELASTICSEARCH),
    Flow(LOG_KEEPER, LOGS, PortRole.ELASTICSEARCH),
    Flow(LOGS, LOGS, PortRole.ELASTICSEARCH_NODES),
    Flow(LOGS, LOGS, PortRole.ELASTICSEARCH),
    Flow(LOG_OPERATOR, LOGS, PortRole.ELASTICSEARCH),
    Flow(READERS, LOGS, PortRole.ELASTICSEARCH),
    # Servers of Consul are a quorum.
    Flow(DISCOVERY, DISCOVERY, PortRole.CONSUL_RPC),
    Flow(DISCOVERY, DISCOVERY, PortRole.CONSUL_GOSSIP),
    # Nobody else may write to Consul's catalog.
    Flow(REGISTRATOR, DISCOVERY, PortRole.DNS_HTTP),
    Flow(REGISTRATOR, FRAMEWORKS, PortRole.MARATHON),
    Flow(DISCOVERY, ZOOKEEPER, _CLIENT),
    Flow(DISCOVERY, MASTERS, PortRole.MASTER),
    Flow(DISCOVERY, AGENTS, PortRole.AGENT),
    # Guards, acts and checks ask everybody of both colours.
    Flow(MIGRATION, ZOOKEEPER, _CLIENT),
    Flow(MIGRATION, ZOOKEEPER, PortRole.ZOOKEEPER_SECURE),
    Flow(MIGRATION, MASTERS, PortRole.MASTER),
    Flow(MIGRATION, AGENTS, PortRole.AGENT),
    Flow(MIGRATION, FRAMEWORKS, PortRole.FRAMEWORK),
    Flow(MIGRATION, FRAMEWORKS, PortRole.MARATHON),
    Flow(MIGRATION, CLIENTS, PortRole.CLIENTS),
    Flow(MIGRATION, ENGINE, PortRole.ENGINE),
    Flow(MIGRATION, EXPORTER, PortRole.EXPORTER),
    Flow(MIGRATION, EDGE, PortRole.EDGE_ADMIN),
    Flow(MIGRATION, WEB_ROUTE, PortRole.WEB_ROUTE),
    Flow(MIGRATION, DISCOVERY, PortRole.DNS),
    Flow(MIGRATION, DISCOVERY, PortRole.DNS_HTTP),
)


def listed() -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Every flow as a page lists them: head and rows."""
    head = ("from", "to", "port", "of")
    rows = [
        (one.source, one.target, str(one.role), "the same colour" if one.within_color else "any")
        for one in FLOWS
    ]
    return head, rows


def into(tier: str) -> Iterator[Flow]:
    """Flows that end at a tier."""
    return (flow for flow in FLOWS if flow.target == tier)


def out_of(tier: str) -> Iterator[Flow]:
    """Flows that begin at a tier."""
    return (flow for flow in FLOWS if flow.source == tier)
