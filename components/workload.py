"""What to run, independent of where: the one value between components and host targets.

A component renders a `Workload`; a host target (components.targets) turns it into processes of this
machine, or into Kubernetes objects. Places differ between targets (a folder here, a mount there),
so a component asks its target for addresses, folders and secret files while it renders, and leaves
two placeholders in the command: `{config}` is the member's rendered file, `{directory}` its own
folder.

Secrets are references: the name of a file that the target holds, never a value.
No Pulumi in here: a workload is a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

# Variable that tells a workload of shape PER_NODE on which node it runs, where its target has any.
NODE_NAME = "NODE_NAME"
# Variable that tells a process the address of its pod, where its target has any.
POD_IP = "POD_IP"


class Shape(StrEnum):
    """What a scheduler of containers makes of a workload; on one machine all are processes."""

    STATEFUL = "stateful"
    STATELESS = "stateless"
    PER_NODE = "per-node"


class Spread(StrEnum):
    """How far members of a workload are kept apart.

    `zones`: each on a host of its own, hosts of all zones alike. `hosts`: each on a host of its
    own, zones where it can be. `any`: as far apart as there is room.
    """

    ZONES = "zones"
    HOSTS = "hosts"
    ANY = "any"


class PortRole(StrEnum):
    """What a port is for; a target maps it to a number."""

    ZOOKEEPER_CLIENT = "zk-client"
    ZOOKEEPER_SECURE = "zk-secure"
    ZOOKEEPER_QUORUM = "zk-quorum"
    ZOOKEEPER_ELECTION = "zk-election"
    ZOOKEEPER_METRICS = "zk-metrics"
    MASTER = "master"
    AGENT = "agent"
    FRAMEWORK = "framework"
    MARATHON = "marathon"
    LIBPROCESS = "libprocess"
    ENGINE = "engine"
    CLIENTS = "clients"
    EDGE_HTTP = "edge-http"
    EDGE_ADMIN = "edge-admin"
    EXPORTER = "exporter"
    DNS = "dns"
    DNS_HTTP = "dns-http"
    ELASTICSEARCH = "elasticsearch"
    ELASTICSEARCH_NODES = "es-nodes"
    LOG_KEEPER = "log-keeper"
    CONSUL_RPC = "consul-rpc"
    CONSUL_GOSSIP = "consul-gossip"
    REGISTRATOR = "registrator"
    TASKS = "tasks"
    WEB_ROUTE = "web-route"


class Secret(StrEnum):
    """A file that a target holds for workloads; its content is none of our business.

    Those of principals (components.mesos.access) are named by them, and so are no members of this.
    """

    ZOOKEEPER_SUPER = "zookeeper-super"
    ENGINE_TOKEN = "engine-token"  # noqa: S105 - the name of a file
    MESOS_OPERATOR = "mesos-operator"


class Probe(StrEnum):
    """How readiness is asked for."""

    TCP = "tcp"
    HTTP = "http"
    ZOOKEEPER = "zookeeper"


@dataclass(frozen=True)
class Readiness:
    """When a member counts as ready: its port accepts, answers 2xx at `path`, or serves as a
    ZooKeeper server (it answers `srvr` with a mode)."""

    probe: Probe
    port: PortRole
    path: str = "/"
    timeout_s: int = 60


@dataclass(frozen=True)
class Endpoint:
    """Where a port of a member is reached by other workloads."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Program:
    """What executes: the command in front of `--config FILE`, and the image that holds it.

    A leading `python` means the interpreter of the environment that the target runs in.
    """

    command: tuple[str, ...]
    image: str | None = None


@dataclass(frozen=True)
class Member:
    """One of the equal parts of a workload: a server of an ensemble, a master of a group."""

    name: str
    index: int
    config: str
    ports: Mapping[PortRole, int] = field(default_factory=dict[PortRole, int])


@dataclass(frozen=True)
class Needs:
    """What a member may use at most of memory, and is given of processors at least."""

    memory_mb: int = 512
    cpus: float = 0.1


class Replacing(StrEnum):
    """Who replaces a member whose description has changed.

    `rolling`: the scheduler, one after the other. `leader-last`: a roller, which asks who leads.
    `drained`: a roller, which moves the tasks of a member away before it goes.
    """

    ROLLING = "rolling"
    LEADER_LAST = "leader-last"
    DRAINED = "drained"


@dataclass(frozen=True)
class Replacement:
    """How members are replaced. A roller asks `masters` (`host:port`), with a `credential`."""

    order: Replacing = Replacing.ROLLING
    masters: tuple[str, ...] = ()
    credential: str | None = None


@dataclass(frozen=True)
class Issuer:
    """Who signs certificates: an Issuer or ClusterIssuer of cert-manager."""

    name: str
    kind: str = "ClusterIssuer"


@dataclass(frozen=True)
class Certificate:
    """`tls.crt`, `tls.key` and `ca.crt` of members, in one folder that a target mounts.

    `secret` names the Secret that holds them. With an `issuer` it is made, for the names of all
    members; without one somebody else has made it.
    """

    secret: str
    issuer: Issuer | None = None
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True)
class SecretFiles:
    """Keys of a Secret that is not this platform's, as files of one folder."""

    secret: str
    keys: tuple[str, ...]

    def path(self, key: str) -> str:
        """Where a key is found."""
        return f"{self.folder}/{key}"

    @property
    def folder(self) -> str:
        """Their folder."""
        return f"/run/secrets/{self.secret}"


@dataclass(frozen=True)
class Snapshots:
    """Copies of a workload's volumes, made by their CSI `driver`, and how many of each are kept."""

    driver: str
    every_h: float = 6.0
    keep: int = 8


@dataclass(frozen=True)
class Voter:
    """A member that may vote in its ensemble: its id, where clients reach it, and how the others
    are told of it."""

    id: int
    address: Endpoint
    description: str


@dataclass(frozen=True)
class Electorate:
    """Members of an ensemble that may vote, and how many of them do, the first ones by id. Whoever
    sees to that is somebody whom the secret `credential` names."""

    members: tuple[Voter, ...]
    voters: int
    credential: str


@dataclass(frozen=True)
class ApiRule:
    """What a workload may do with objects beside it; `per_node`: with those of workloads of shape
    PER_NODE, which a target may hold apart."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    names: tuple[str, ...] = ()
    per_node: bool = False


@dataclass(frozen=True)
class NodeSetup:
    """What puts things on a node before its member starts there, and stays beside the member.

    `program` executes with `--config FILE`, whose content is `config`, as root in the node's
    network with these `capabilities` and no other. It fills `folder` of the node, which the member
    finds under the same path, and makes `ready_file` once the member may start. Another `config`
    is no other member: the program follows its file.
    """

    name: str
    program: Program
    config: str
    folder: str
    ready_file: str
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True)
class OnNodes:
    """What a member that belongs to a node needs of it.

    `selector` and `tolerations` (keys whose taints do not keep it away) choose nodes.
    `paths` are folders and sockets of the node, under the same path inside. `check_command` ends
    with 0 on a node that is fit, before the member starts there; `setup` comes after it.
    """

    selector: Mapping[str, str] = field(default_factory=dict[str, str])
    tolerations: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    check_command: tuple[str, ...] = ()
    setup: NodeSetup | None = None


@dataclass(frozen=True)
class Workload:
    """What to run.

    `readiness` holds for a member by itself, `serving` for every member once all of them run (a
    ZooKeeper server serves only in a quorum). `volumes` are folders below the member's own one that
    outlive its removal; `fresh` says that a member which is created must not find old content
    there. `running` false keeps the resources and runs nothing. `leaves_children` marks members
    whose children live on when they are restarted or stopped (tasks of an agent), and end only when
    the member is removed.

    The rest is for targets that schedule containers. `needs` is each member's. `client_ports` are
    those that any member serves alike, so that clients need not choose one;
    `client_address` is where, None: it does not matter. `ready_command` ends
    with 0 when the member beside it serves, where no answer of a port tells. `user` is the number
    of the user that the image is made for. With an `electorate` somebody changes who votes, one
    after the other. `api_rules` are what it may do by the scheduler's API. `writes_secrets` says
    that it makes files of its secrets, for a program that reads them so: they go into its private
    folder (`Places.private_dir`).
    """

    name: str
    tier: str
    color: str | None
    shape: Shape
    program: Program
    members: tuple[Member, ...]
    config_suffix: str
    readiness: Readiness | None = None
    serving: Readiness | None = None
    arguments: tuple[str, ...] = ("--config", "{config}")
    volumes: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    running: bool = True
    fresh: bool = False
    leaves_children: bool = False
    stop_timeout_s: int = 10
    needs: Needs = Needs()
    client_ports: tuple[PortRole, ...] = ()
    client_address: str | None = None
    ready_command: tuple[str, ...] = ()
    user: int | None = None
    certificate: Certificate | None = None
    others_secrets: tuple[SecretFiles, ...] = ()
    replacement: Replacement = Replacement()
    snapshots: Snapshots | None = None
    electorate: Electorate | None = None
    on_nodes: OnNodes = OnNodes()
    api_rules: tuple[ApiRule, ...] = ()
    writes_secrets: bool = False


class Places(Protocol):
    """What a component may ask its target while it renders."""

    def endpoint(self, workload: str, color: str | None, role: PortRole, index: int) -> Endpoint:
        """Address of a member's port, as other workloads reach it."""
        ...

    def listen_host(self) -> str:
        """Address that a member binds."""
        ...

    @property
    def has_nodes(self) -> bool:
        """Whether a workload of shape PER_NODE stands on every node that is chosen: then nobody
        knows its members' addresses before they run."""
        ...

    def task_ports(self, color: str, index: int) -> tuple[int, int] | None:
        """First and last port that an agent may give to tasks; None: those of its default, as on a
        machine that it has for itself."""
        ...

    def directory(self, member: str) -> str:
        """The member's own folder, which holds its volumes."""
        ...

    def private_dir(self, member: str) -> str:
        """Folder for what a member makes of its secrets: no volume, and so in no copy of one."""
        ...

    def secret(self, secret: str) -> str:
        """File that holds a secret."""
        ...

    def certificate_dir(self) -> str:
        """Folder with the files of a workload's certificate.

        Raises:
            ArgumentsError: the target mounts none.
        """
        ...
