"""What an agent is told: where to publish, what it may use, what to look at.

One YAML or JSON file, checked whole before anything starts; every setting has a default, so there
may be no file at all. An unknown key is an error. Secrets are never values in here, only names of
files. Read with msgspec, because pydantic alone would take a third of the memory that is allowed.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from probe.agent.errors import SettingsError
from probe.agent.grants import check_names
from probe.agent.http import is_host, parse_place

DEFAULT_SOCKET = "/run/probe/agent.sock"
_FILE_BYTES_MAX = 1024 * 1024
_LOOKUPS_PER_S_MAX = 100
# Of seconds 11 days, of megabytes a million: what is more is a mistake, and ends in numbers that
# nobody can be sent.
_NUMBER_MAX = 1_000_000
_PORT_MAX = 65_535
COLLECTORS = (
    *("host", "container", "cri", "process", "mesos_container"),
    *("connections", "names", "mesos", "plugins", "kubernetes"),
)
# A cluster's watch takes more than a node's budget: it is a process of its own, where it is wanted.
DEFAULT_COLLECTORS = tuple(name for name in COLLECTORS if name != "kubernetes")


class Mesos(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A cluster to look at. `cluster` is its name in the report: a colour."""

    cluster: str
    masters: tuple[str, ...] = ()
    """`host:port` of each, as the masters name each other."""
    credential_file: str | None = None
    """File (0600) with `principal:secret`."""
    zookeeper: tuple[str, ...] = ()
    """`host:port` of each server of its ensemble."""
    agents: tuple[str, ...] = ()
    """`ip:port` of each agent: of this colour, whoever leads it; `*:port` are those of any node.
    Others are their leader's."""
    marathon_credential_file: str | None = None
    """File (0600) with `user:password` for Marathon; None: `credential_file`."""
    marathon: tuple[str, ...] = ()
    """`host:port` of each instance of its Marathon; the same in two clusters is asked once."""


class MesosAgent(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The Mesos agent of this node, which knows what each of its containers runs."""

    url: str
    """`http://host:port` of its interface."""
    credential_file: str | None = None
    """File (0600) with `principal:secret`."""


class SyncEngine(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A sync engine to look at, and the names of the clusters whose ensembles are its sides."""

    url: str
    """`http://host:port` of its interface."""
    a: str
    b: str
    token_file: str | None = None
    """File (0600) with its token; None: it tells its state and nothing else."""


class Kubernetes(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A Kubernetes cluster to watch."""

    cluster: str = "kubernetes"
    """Its name in the report; may be a colour."""
    kubeconfig: str | None = None
    """File that names the API server and the user; None: the cluster that the probe runs in."""
    service_account: str = "/var/run/secrets/kubernetes.io/serviceaccount"
    """Folder of the token, in a pod."""
    lease: str | None = "probe-kubernetes"
    """Lease that elects one of several probes, `namespace/name` or a name in the user's namespace;
    None: this one always watches."""
    lease_s: float = 15.0
    """How long the others wait for a word of the holder."""
    node: str | None = None
    """Watch only this node and its pods, without an election."""


class Settings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """All settings of an agent."""

    apps: tuple[str, ...] = ()
    """Where to publish: `http://host:port`, several for several apps."""
    host: str = ""
    """Name of this node in the report; empty: the host name."""
    collectors: tuple[str, ...] = DEFAULT_COLLECTORS
    """What is looked at."""
    token_file: str | None = None
    """File (0600) with the bearer token for the apps."""
    ca_file: str | None = None
    """Authorities that an app's certificate is checked against; None: the system's."""
    cert_file: str | None = None
    """Certificate of this agent, where apps want one."""
    key_file: str | None = None
    """Its key (0600)."""
    publish_interval_s: float = 3.0
    """Between two reports; what somebody waits for goes out at once."""
    lease_s: float = 30.0
    """How long an app believes what it was told without another frame."""
    cpu_percent_max: float = 5.0
    """Budget: percent of one processor."""
    rss_mb_max: float = 100.0
    """Budget: resident memory."""
    buffer_mb_max: float = 8.0
    """Frames that are kept while an app is away."""
    read_only: bool = False
    """Look, and refuse every act, whatever `controls` grants."""
    controls: tuple[str, ...] = ()
    """Controls that are granted, each by its name (`container.stop`); none by default."""
    redact: bool = True
    """Take secrets out of command lines and labels."""
    status_socket: str = DEFAULT_SOCKET
    """UNIX socket that answers `probe agent status`; empty: none."""
    proc: str = "/proc"
    """Where the host's /proc is."""
    cgroups: str = "/sys/fs/cgroup"
    """Where the host's cgroups are."""
    docker_host: str | None = None
    """Address of the Docker engine; None: DOCKER_HOST, then the usual socket."""
    etc: str = "/etc"
    """Where the host's hosts file and resolv.conf are."""
    dns_lookups_per_s: float = 5.0
    """Reverse lookups of remote addresses, at most; 0: none, only the hosts file is read."""
    cri_socket: str | None = None
    """Socket of a runtime of Kubernetes; None: containerd's, K3s's or CRI-O's usual one."""
    plugins: str = "/var/run/scope/plugins"
    """Folder of the sockets of plugins."""
    mesos: tuple[Mesos, ...] = ()
    """Clusters to look at; one agent a cluster is enough."""
    mesos_agents: tuple[MesosAgent, ...] = ()
    """Mesos agents of this node; needed where this probe does not ask their masters."""
    sync_engines: tuple[SyncEngine, ...] = ()
    """Sync engines to look at; one agent is enough."""
    kubernetes: Kubernetes = Kubernetes()
    """The Kubernetes cluster, for the collector of that name."""

    @property
    def host_name(self) -> str:
        """Name of this node."""
        return self.host or socket.gethostname()


def read_settings(path: Path | None) -> Settings:
    """Read settings; without a file all have their defaults.

    Raises:
        SettingsError: they cannot be used.
    """
    if path is None:
        return Settings()
    try:
        data = path.read_bytes()[:_FILE_BYTES_MAX]
    except OSError as error:
        msg = f"expected settings in {path}, saw: {error.strerror}"
        raise SettingsError(msg) from None
    return parse_settings(data, str(path))


def parse_settings(data: bytes, where: str) -> Settings:
    """Check settings.

    Raises:
        SettingsError: they cannot be used.
    """
    try:
        settings = msgspec.convert(_load(data), Settings)
    except (msgspec.ValidationError, ValueError) as error:
        msg = f"expected settings of an agent in {where}, saw: {str(error)[:300]}"
        raise SettingsError(msg) from None
    unknown = sorted(set(settings.collectors) - set(COLLECTORS))
    if unknown:
        _refuse(f"collectors of {', '.join(COLLECTORS)}", ", ".join(unknown))
    check_names(settings.controls)
    _check_numbers(settings)
    _check_places(settings)
    _check_each_once(settings)
    return settings


def _check_numbers(settings: Settings) -> None:
    if not 0 <= settings.dns_lookups_per_s <= _LOOKUPS_PER_S_MAX:
        seen = f"{settings.dns_lookups_per_s:g}"
        _refuse(f"dns_lookups_per_s of 0 to {_LOOKUPS_PER_S_MAX}", seen)
    numbers = {
        "publish_interval_s": settings.publish_interval_s,
        "lease_s": settings.lease_s,
        "cpu_percent_max": settings.cpu_percent_max,
        "rss_mb_max": settings.rss_mb_max,
        "buffer_mb_max": settings.buffer_mb_max,
        "kubernetes.lease_s": settings.kubernetes.lease_s,
    }
    for name, value in numbers.items():
        # What is no number is neither above nor below one.
        if not 0 < value <= _NUMBER_MAX:
            _refuse(f"{name} above 0 and of at most {_NUMBER_MAX}", f"{value:g}")
    if settings.lease_s < 2 * settings.publish_interval_s:
        seen = f"{settings.lease_s:g} for {settings.publish_interval_s:g}"
        seen = f"{seen}: nodes would look gone between two reports"
        _refuse("lease_s of at least two publish intervals", seen)


def _check_places(settings: Settings) -> None:
    asked = (*settings.sync_engines, *settings.mesos_agents)
    for url in (*settings.apps, *(one.url for one in asked)):
        parse_place(url)
    if settings.docker_host:
        parse_place(settings.docker_host.replace("tcp://", "http://", 1))
    for one in settings.mesos:
        for address in (*one.masters, *one.zookeeper, *one.marathon):
            _check_address(one.cluster, address)
        for address in one.agents:
            _check_address(one.cluster, address.replace("*:", "any:", 1))


def _check_address(cluster: str, address: str) -> None:
    host, _, port = address.rpartition(":")
    is_port = port.isascii() and port.isdigit() and 0 < int(port[:6]) <= _PORT_MAX
    if not is_port or not is_host(host.removeprefix("[").removesuffix("]")):
        seen = f"…@{host.rpartition('@')[2]}:{port}" if "@" in address else address
        _refuse(f"host:port in the lists of cluster {cluster!r}", repr(seen[:200]))


def _check_each_once(settings: Settings) -> None:
    names = {
        "clusters in `mesos`": [one.cluster for one in settings.mesos],
        "engines in `sync_engines`": [one.url for one in settings.sync_engines],
        "agents in `mesos_agents`": [one.url for one in settings.mesos_agents],
    }
    for what, given in names.items():
        twice = [one for one in dict.fromkeys(given) if given.count(one) > 1]
        if twice or "" in given:
            _refuse(f"{what} each once, by its name", ", ".join(twice) or "an empty one")


def _refuse(expected: str, seen: str) -> NoReturn:
    msg = f"expected {expected}, saw {seen}"
    raise SettingsError(msg)


def _load(data: bytes) -> Any:
    if data.lstrip()[:1] == b"{":
        return msgspec.json.decode(data)
    import yaml  # noqa: PLC0415 - costs 2 MB, and JSON does without

    try:
        loaded = yaml.safe_load(data)
    except yaml.YAMLError as error:
        # Its text quotes the line, where somebody may have put what belongs into a file.
        mark = getattr(error, "problem_mark", None)
        place = "" if mark is None else f" in line {mark.line + 1}, column {mark.column + 1}"
        msg = f"no YAML ({type(error).__name__}{place})"
        raise ValueError(msg) from None
    return {} if loaded is None else loaded
