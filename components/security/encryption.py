"""Which connections are encrypted, and which are not: one line a port that anything may reach.

What is never encrypted carries credentials too: `user:password` of ZooKeeper's digests, the basic
authentication of masters, agents and Marathon, the token of the sync engine. Who reaches such a
port is for policies to say (components.network.policies); who listens on the network between nodes
is not. Where that network is not your own, let it encrypt: WireGuard or IPsec of the CNI.

Mesos itself can encrypt (`LIBPROCESS_SSL_*`), where it was built to. It is not declared here: then
executors need a key that their tasks' users can read, peers are verified by names that addresses of
pods and nodes do not have, and whoever asks masters and agents (readiness, caretakers, exporters,
the edge, Marathon, the web route) would have to speak TLS, or be let in without.

Connections out of the stack are not in the table. To the API of Kubernetes they are always
encrypted and its server is verified; to the probe's apps they are where an app's address says
https; what brings secrets and makes snapshots are operators of the cluster. Pulumi and `migrate`
ask masters and the engine by plain HTTP, from where they run.

Certificates are cert-manager's where an `issuer` is named, else Secrets that somebody has made; no
value is ever seen here, and cert-manager's are renewed thirty days before they end. Values only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from components.workload import PortRole


class When(StrEnum):
    """When connections to a port are encrypted."""

    ALWAYS = "always"
    ASKED = "with"
    """With a key of configuration."""
    NEVER = "never"


@dataclass(frozen=True)
class Way:
    """How a port is served. `key` turns encryption on; `shows` says that clients must show a
    certificate too; `carries` is what goes over it."""

    when: When
    carries: str
    key: str = ""
    shows: bool = False


_TLS, _WEB = "kubernetes.tls", "services.web_route.tls"
WAYS: Mapping[PortRole, Way] = {
    PortRole.ZOOKEEPER_QUORUM: Way(
        When.ASKED, "what ZooKeeper's servers tell each other", _TLS, shows=True
    ),
    PortRole.ZOOKEEPER_ELECTION: Way(When.ASKED, "votes of ZooKeeper's servers", _TLS, shows=True),
    PortRole.ZOOKEEPER_SECURE: Way(
        When.ALWAYS, "znodes, for who speaks TLS; the port is there with `kubernetes.tls`",
        shows=True,
    ),
    PortRole.ZOOKEEPER_CLIENT: Way(
        When.NEVER, "znodes and digests: clients of masters, agents and Marathon know no TLS"
    ),
    PortRole.ZOOKEEPER_METRICS: Way(When.NEVER, "metrics"),
    PortRole.MASTER: Way(When.NEVER, "calls, credentials, offers, metrics; the registry's log"),
    PortRole.AGENT: Way(When.NEVER, "tasks that masters send, what agents tell"),
    PortRole.LIBPROCESS: Way(When.NEVER, "what masters tell the real Marathon"),
    PortRole.FRAMEWORK: Way(When.NEVER, "metrics of the sample framework"),
    PortRole.CLIENTS: Way(When.NEVER, "metrics of client groups"),
    PortRole.ENGINE: Way(When.NEVER, "metrics, status and orders of the sync engine, its token"),
    PortRole.MARATHON: Way(When.NEVER, "apps, credentials, metrics"),
    PortRole.EXPORTER: Way(When.NEVER, "metrics"),
    PortRole.REGISTRATOR: Way(When.NEVER, "metrics"),
    PortRole.EDGE_ADMIN: Way(When.NEVER, "metrics"),
    PortRole.EDGE_HTTP: Way(When.NEVER, "requests to apps"),
    PortRole.TASKS: Way(When.NEVER, "requests that the edge hands on to tasks"),
    PortRole.WEB_ROUTE: Way(
        When.ASKED, "web interfaces up to HAProxy, and plain from there on", _WEB
    ),
    PortRole.DNS: Way(When.NEVER, "names of Mesos"),
    PortRole.DNS_HTTP: Way(When.NEVER, "writes to Consul's catalog"),
    PortRole.CONSUL_RPC: Way(When.NEVER, "what Consul's servers tell each other"),
    PortRole.CONSUL_GOSSIP: Way(When.NEVER, "which of Consul's servers live"),
    PortRole.ELASTICSEARCH: Way(When.ALWAYS, "logs, the user's password"),
    PortRole.ELASTICSEARCH_NODES: Way(
        When.ALWAYS, "what Elasticsearch's servers tell each other", shows=True
    ),
}  # fmt: skip


def listed() -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Every port as a page lists it: head and rows."""
    head = ("port", "encrypted", "clients show a certificate", "what goes over it")
    rows = [
        (
            str(role),
            f"{way.when} {way.key}".strip(),
            "yes" if way.shows else "no",
            way.carries,
        )
        for role, way in WAYS.items()
    ]
    return head, rows
