"""Configuration files of the one-machine rig: one JSON document a process, one model a document.

The components render these files and the processes read them, so the models are the contract
between the two. An unknown key is an error: a misspelt one would otherwise be found in the middle
of a migration. Secrets are never values in here, only names of files.

Durations are seconds and carry the unit in their name. This module imports nothing of the project
and no I/O library, so that the components may check what they render.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

Port = Annotated[int, Field(ge=1, le=65535)]
_ZK_SCHEME = "zk://"


class SettingsError(ValueError):
    """A configuration file that a process cannot start from: expected, seen, what to do."""


class Settings(BaseModel):
    """One process' document: no unknown key, nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check a configuration file.

        Raises:
            SettingsError: the file is missing, is no JSON, or has a wrong key or value.
        """
        try:
            document = json.loads(path.read_text())
        except OSError as error:
            msg = f"expected a configuration file at {path}, saw {error.strerror}: write it first"
            raise SettingsError(msg) from None
        except ValueError as error:
            msg = f"expected JSON in {path}, saw {error}: correct the file"
            raise SettingsError(msg) from None
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            lines = "; ".join(
                f"{'.'.join(map(str, detail['loc'])) or 'document'}: {detail['msg']}"
                for detail in error.errors()
            )
            known = ", ".join(sorted(cls.model_fields))
            msg = f"{path} is no configuration of {cls.__name__}: {lines} (known keys: {known})"
            raise SettingsError(msg) from None


class ElectionUrl(Settings):
    """`zk://host:port,host:port/path`, taken apart."""

    hosts: str
    path: str

    @classmethod
    def parse(cls, text: str) -> ElectionUrl:
        """Take a `zk://` address apart.

        Raises:
            ValueError: another scheme, no path, or a password (those are read from a file).
        """
        hosts, slash, path = text.removeprefix(_ZK_SCHEME).partition("/")
        if not text.startswith(_ZK_SCHEME) or not hosts or not slash or not path.strip("/"):
            msg = f"expected zk://host:port,host:port/path, saw {text!r}"
            raise ValueError(msg)
        if "@" in hosts:
            msg = "expected no credentials in the zk:// address: name a file in zk_auth_file"
            raise ValueError(msg)
        return cls(hosts=hosts, path=f"/{path.strip('/')}")


def check_url(text: str | None) -> str | None:
    """Refuse an election address that cannot be taken apart."""
    if text is not None:
        ElectionUrl.parse(text)
    return text


class ServerAddress(Settings):
    """One server of an ensemble, as its peers reach it."""

    id: int = Field(ge=1, le=255)
    """The server's `myid`."""
    host: str = "127.0.0.1"
    """Address of the quorum and election ports."""
    quorum_port: Port
    """Port on which followers reach this server while it leads."""
    election_port: Port
    """Port for leader election."""


class ZooKeeperSettings(Settings):
    """One ZooKeeper server."""

    myid: int = Field(ge=1, le=255)
    """This server's id in `servers`."""
    data_dir: Path
    """Snapshots, transaction log, `myid` and the generated `zoo.cfg`."""
    client_host: str = "127.0.0.1"
    """Address that serves clients."""
    client_port: Port
    """Port that serves clients."""
    quorum_port: Port
    """Must equal this server's entry in `servers`."""
    election_port: Port
    """Must equal this server's entry in `servers`."""
    servers: list[ServerAddress] = Field(min_length=1)
    """All servers of the ensemble; one entry means standalone."""
    tick_time_ms: int = Field(default=500, ge=50, le=10_000)
    """Sessions last between 2 and 20 ticks."""
    init_limit_ticks: int = Field(default=20, ge=2)
    """Ticks within which a follower must have connected and synchronised."""
    sync_limit_ticks: int = Field(default=10, ge=2)
    """Ticks by which a follower may lag."""
    initial_epoch: int | None = Field(default=None, ge=0)
    """Epoch to start an empty data folder with; None: ZooKeeper's own, 0."""
    super_digest_file: Path | None = None
    """File (0600) with `super:<password>`; None: nobody is super."""
    heap_mb: int = Field(default=128, ge=64)
    """Java heap."""
    thread_pools: bool = True
    """Whether a server has ZooKeeper's own pools of threads, which are made for many processors:
    several servers on two take a quarter less without them, at 200 writes a second."""
    jars_dir: Path | None = None
    """Folder with ZooKeeper's jars; None: the one that `make tools` installed."""

    @model_validator(mode="after")
    def _is_one_of_the_servers(self) -> Self:
        own = [server for server in self.servers if server.id == self.myid]
        if len({server.id for server in self.servers}) != len(self.servers):
            msg = "servers: ids must differ"
            raise ValueError(msg)
        if not own:
            msg = f"myid {self.myid} is not one of the servers {[s.id for s in self.servers]}"
            raise ValueError(msg)
        if (own[0].quorum_port, own[0].election_port) != (self.quorum_port, self.election_port):
            msg = f"quorum_port and election_port differ from the entry of server {self.myid}"
            raise ValueError(msg)
        return self


class MasterSettings(Settings):
    """One master. Names and defaults are those of the real program's flags where it has one."""

    engine: str = Field(default="auto", pattern="^(auto|stand-in)$")
    """`auto` runs the real `mesos-master` when it is on PATH; `stand-in` never does."""
    ip: str = "127.0.0.1"
    """Address to bind."""
    advertise_ip: str | None = None
    """Address that others are told; None: the one that is bound."""
    hostname: str | None = None
    """Name that redirects carry; None: the address."""
    port: Port
    """HTTP port."""
    zk: str
    """`zk://host:port,…/path` of the election."""
    zk_session_timeout_s: float = Field(default=10.0, ge=1.0)
    """After this long without its session a master's znodes are gone; a leader exits."""
    zk_auth_file: Path | None = None
    """File with `user:password`: znodes get CREATOR_ALL and world READ, as with real masters."""
    quorum: int = Field(default=1, ge=1)
    """Masters that must store a change of the registry."""
    peers: list[str] | None = None
    """`host:port` of the log group's members; None: whoever stands in `log_replicas`, as real."""
    work_dir: Path
    """Holds `replicated_log`."""
    private_dir: Path | None = None
    """Holds what the real program is to read of secrets; None: a folder in `work_dir`."""
    log_auto_initialize: bool = True
    """Whether a group that is empty altogether may start with an empty registry."""
    cluster: str | None = None
    """Name that people see."""
    credential_file: Path | None = None
    """File with `principal:secret`; when given, the operator API wants it (basic)."""
    credentials_file: Path | None = None
    """JSON file of several credentials, as the real program takes it."""
    principal_files: tuple[Path, ...] = ()
    """Files with `principal:secret` each, of those who are known besides the operator."""
    acls_file: Path | None = None
    """JSON file of ACLs, as the real program takes it; None: everybody may do everything."""
    acls: dict[str, Any] | None = None
    """The same document, where it is no file."""
    flags: dict[str, str] = Field(default_factory=dict[str, str])
    """Further flags of the real program, by name; the stand-in has none of them."""
    authenticate_http_frameworks: bool = False
    """Whether the scheduler API wants the same credential."""
    authenticate_agents: bool = False
    """Whether agents have to give one of the credentials."""
    allocation_interval_ms: int = Field(default=200, ge=10)
    """Pause between two rounds of offers."""
    agent_ping_timeout_s: float = Field(default=15.0, gt=0)
    """Pause between pings, and how long an answer may take."""
    max_agent_ping_timeouts: int = Field(default=5, ge=1)
    """Unanswered pings after which an agent is unreachable."""
    agent_reregister_timeout_s: float = Field(default=600.0, gt=0)
    """How long a new leader waits for the agents of its registry."""
    registry_fetch_timeout_s: float = Field(default=60.0, gt=0)
    """How long a new leader may take to read the registry before it exits."""
    registry_store_timeout_s: float = Field(default=20.0, gt=0)
    """How long a change of the registry may take before the leader exits."""
    heartbeat_interval_s: float = Field(default=15.0, gt=0)
    """Pause between HEARTBEAT events of both APIs."""

    _zk = field_validator("zk")(check_url)

    @model_validator(mode="after")
    def _knows_whom_it_asks(self) -> Self:
        asks = self.authenticate_agents or self.authenticate_http_frameworks
        known = (self.credential_file, self.credentials_file, *self.principal_files)
        if asks and not any(known):
            msg = "authentication is asked for and there is no credential: name a file of one"
            raise ValueError(msg)
        return self

    @property
    def election(self) -> ElectionUrl:
        """`zk`, taken apart."""
        return ElectionUrl.parse(self.zk)

    @property
    def public_ip(self) -> str:
        """The address that others are told."""
        return self.advertise_ip or self.ip

    @property
    def public_hostname(self) -> str:
        """What redirects and MasterInfo name."""
        return self.hostname or self.public_ip


class AgentResources(Settings):
    """What an agent offers: declared numbers, not measured ones."""

    cpus: float = Field(default=8.0, gt=0)
    """Processors."""
    mem: float = Field(default=8192.0, gt=0)
    """Memory in MB."""
    disk: float = Field(default=8192.0, ge=0)
    """Disk in MB."""
    ports: tuple[int, int] = (31000, 32000)
    """First and last port for tasks."""


class AgentSettings(Settings):
    """One agent. Its identity is `work_dir`, `ip`, `hostname` and `port` together."""

    engine: str = Field(default="auto", pattern="^(auto|stand-in)$")
    """`auto` runs the real `mesos-agent` when it is on PATH; `stand-in` never does."""
    ip: str = "127.0.0.1"
    """Address to bind."""
    advertise_ip: str | None = None
    """Address that others are told; None: the one that is bound."""
    hostname: str | None = None
    """Name that the master and offers show; None: the address."""
    port: Port
    """HTTP port."""
    master: str
    """`zk://host:port,…/path` of the election that it follows."""
    zk_session_timeout_s: float = Field(default=10.0, ge=1.0)
    """How long ZooKeeper may be away before the agent believes that there is no leader."""
    zk_auth_file: Path | None = None
    """File with `user:password` for reading the election path."""
    credential_file: Path | None = None
    """File with `principal:secret` that masters with `authenticate_agents` want."""
    work_dir: Path
    """Checkpoints and sandboxes; keeps the agent's identity."""
    private_dir: Path | None = None
    """Holds what the real program is to read of secrets; None: a folder in `work_dir`."""
    resources: AgentResources = AgentResources()
    """What it offers."""
    runtime_dir: Path | None = None
    """What must not outlive a reboot; None: a folder in `work_dir`."""
    flags: dict[str, str] = Field(default_factory=dict[str, str])
    """Further flags of the real program, by name, which go before those that follow from the rest;
    the stand-in has none of them."""
    isolation: str = Field(default="posix", pattern="^(posix|cgroups)$")
    """`cgroups` holds tasks to their processors and memory where that is permitted."""
    attributes: dict[str, str] = Field(default_factory=dict[str, str])
    """Text attributes; a changed one is refused, a new one is not."""
    executor_shutdown_grace_period_s: float = Field(default=5.0, ge=0)
    """Time between SIGTERM and SIGKILL of a task, unless a drain says otherwise."""
    registration_backoff_s: float = Field(default=0.5, gt=0)
    """First pause after a failed registration; doubles up to 16 times itself."""
    status_update_retry_s: float = Field(default=2.0, gt=0)
    """Pause before an update without acknowledgement is sent again."""

    _master = field_validator("master")(check_url)

    @property
    def election(self) -> ElectionUrl:
        """`master`, taken apart."""
        return ElectionUrl.parse(self.master)

    @property
    def public_ip(self) -> str:
        """The address that others are told."""
        return self.advertise_ip or self.ip

    @property
    def public_hostname(self) -> str:
        """What SlaveInfo names."""
        return self.hostname or self.public_ip


class Listener(Settings):
    """`host:port`, taken apart."""

    host: str
    port: Port

    @classmethod
    def parse(cls, text: str) -> Listener:
        """Take an address apart.

        Raises:
            ValueError: it is not `host:port`.
        """
        host, _, port = text.rpartition(":")
        if not host or not port.isdigit():
            msg = f"expected host:port, saw {text!r}"
            raise ValueError(msg)
        return cls(host=host, port=int(port))


def check_listen(text: str) -> str:
    """Refuse an address that cannot be taken apart."""
    Listener.parse(text)
    return text


class FrameworkSettings(Settings):
    """The sample framework."""

    listen: str
    """`host:port` of its own HTTP interface."""
    work_dir: Path
    """Log of every status update."""
    name: str = "sample"
    """Framework name, and part of its tasks' ids."""
    zk: str | None
    """`zk://host:port,…/path` of the masters' election; None: it stands still."""
    path: str | None = Field(default=None, pattern="^/")
    """Its own subtree on that ensemble, which keeps `framework-id`; None: /frameworks/<name>."""
    zk_session_timeout_s: float = Field(default=10.0, ge=1.0)
    """Timeout of its session."""
    tasks: int = Field(default=8, ge=0)
    """Long-running tasks that it keeps."""
    command: str = "exec sleep 1000000"
    """What a task runs, by sh."""
    task_cpus: float = Field(default=0.1, gt=0)
    """Processors of a task."""
    task_mem: float = Field(default=32.0, gt=0)
    """Memory of a task, in MB."""
    role: str = "*"
    """Role that it subscribes with."""
    failover_timeout_s: float = Field(default=604_800.0, ge=0)
    """How long masters keep its tasks while it is away: a week."""
    credential_file: Path | None = None
    """File with `principal:secret`: sent to masters, and wanted of whoever has tasks moved."""
    reconcile_delay_s: float = Field(default=5.0, ge=0)
    """Pause between a subscription and the question what became of each known task. Masters that do
    not know a task's agent (yet) answer TASK_UNKNOWN, and the task counts as ended."""
    reconcile_interval_s: float = Field(default=60.0, gt=0)
    """Pause between two such questions."""

    _zk = field_validator("zk")(check_url)
    _listen = field_validator("listen")(check_listen)

    @property
    def election(self) -> ElectionUrl | None:
        """`zk`, taken apart."""
        return None if self.zk is None else ElectionUrl.parse(self.zk)

    @property
    def listener(self) -> Listener:
        """`listen`, taken apart."""
        return Listener.parse(self.listen)

    @property
    def subtree(self) -> str:
        """Where it keeps its own state."""
        return self.path or f"/frameworks/{self.name}"
