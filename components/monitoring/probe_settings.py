"""What a cluster's probe is told: its arguments, and the settings that its pods read.

Values only; components.monitoring.probe makes objects of them. Paths are those that
components.monitoring.probe_pods mounts; what is watched of Mesos says components.monitoring.
probe_watch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from components.errors import ArgumentsError
from components.monitoring.permissions import LEASE
from components.monitoring.probe_watch import NOTHING, Watched
from components.targets.image import check_image
from components.workload import Program

AGENT, WATCHER = "probe-agent", "probe-cluster"
"""Names of what runs on each node, and of those that watch the cluster."""
SETTINGS, TOKENS, RUN = "/etc/probe", "/run/secrets/probe", "/run/probe"
"""Folders of a pod: its settings, tokens for apps, and its socket."""
CERTIFICATES = "/run/secrets/probe-tls"
"""Where a pod finds whom it believes that it is an app, and its own certificate."""
HOST_RUN = "/host/run"
"""Where a pod finds its node's /run, with the sockets of whatever runtimes there are."""
NODE_COLLECTORS = (
    *("host", "container", "cri", "process", "mesos_container"),
    *("connections", "names", "plugins"),
)
"""What a node's agent looks with; clusters are asked by who watches."""
# `-nodes` is appended to it, and a label of a name ends at 63.
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,55}[a-z0-9])?")


@dataclass(frozen=True)
class AppsTls:
    """Certificates for apps at https: a Secret of both namespaces, filled by somebody else, with
    `ca.crt`, whom apps' certificates are checked against. `shows_own`: apps want to see one, which
    is `tls.crt` with `tls.key`."""

    secret: str
    shows_own: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys that are mounted, each a file."""
        return ("ca.crt", *(("tls.crt", "tls.key") if self.shows_own else ()))

    def settings(self) -> dict[str, str]:
        """What a probe is told of them."""
        names = dict(zip(("ca_file", "cert_file", "key_file"), self.keys, strict=False))
        return {name: f"{CERTIFICATES}/{key}" for name, key in names.items()}


@dataclass(frozen=True)
class ProbeArgs:
    """What runs and where it tells. `api_networks` are those of the API's servers, which the
    watchers reach; `cluster` is its name in the report.

    Raises:
        ArgumentsError: that cannot be.
    """

    program: Program
    """Executes `probe`, in an image of this project."""
    apps: tuple[str, ...]
    api_networks: tuple[str, ...]
    namespace: str = "monitoring"
    """Of who watches the cluster; agents lie in `<namespace>-nodes`."""
    cluster: str = "kubernetes"
    token_secret: str | None = None
    """Secret of both namespaces, filled by somebody else, whose key `token` apps are shown."""
    tls: AppsTls | None = None
    """None: certificates of apps are checked against the image's own authorities."""
    watched: Watched = NOTHING
    """What of Mesos is looked at, too."""
    cri_socket: str = "containerd/containerd.sock"
    """The runtime's socket, below the nodes' /run."""
    watchers: int = 2
    agent_memory_mb: int = 128
    watcher_memory_mb: int = 256
    ready_timeout_s: int = 600

    def __post_init__(self) -> None:
        if self.program.image is None:
            msg = "expected an image to run the probe on Kubernetes, saw none"
            raise ArgumentsError(msg)
        check_image(self.program.image)
        if not _NAMESPACE.fullmatch(self.namespace):
            msg = (
                "expected a namespace for the probe of at most 57 lower-case letters, digits and "
                f"dashes, saw {self.namespace!r}"
            )
            raise ArgumentsError(msg)
        if not self.apps:
            msg = "expected an app that the probe tells what it sees, saw none: name one"
            raise ArgumentsError(msg)
        if self.watchers < 1:
            msg = f"expected at least one probe that watches the cluster, saw {self.watchers}"
            raise ArgumentsError(msg)
        for app in self.apps:
            check_app(app)
        if self.tls is not None and (plain := [a for a in self.apps if a.startswith("http://")]):
            msg = (
                "expected apps at https://host:port where there are certificates for them, saw "
                f"{', '.join(plain)}"
            )
            raise ArgumentsError(msg)

    @property
    def agents_namespace(self) -> str:
        """Where agents of nodes lie."""
        return f"{self.namespace}-nodes"

    @property
    def app_ports(self) -> tuple[int, ...]:
        """Ports that the apps are reached at."""
        return tuple(sorted({check_app(app) for app in self.apps}))


def check_app(app: str) -> int:
    """The port of an app.

    Raises:
        ArgumentsError: it is no address of one.
    """
    try:
        parts = urlsplit(app)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (ValueError, KeyError):
        port = None
    if not port or not urlsplit(app).hostname:
        msg = f"expected an app as http://host:port or https://host:port, saw {app!r}"
        raise ArgumentsError(msg)
    return port


def agent_settings(args: ProbeArgs) -> dict[str, Any]:
    """Settings of the agents of nodes."""
    return {
        **_common(args),
        **args.watched.agent_settings(),
        "collectors": list(NODE_COLLECTORS),
        "docker_host": f"unix://{HOST_RUN}/docker.sock",
        "cri_socket": f"{HOST_RUN}/{args.cri_socket}",
        "plugins": f"{HOST_RUN}/scope/plugins",
    }


def watcher_settings(args: ProbeArgs) -> dict[str, Any]:
    """Settings of those that watch the cluster."""
    return {
        **_common(args),
        **(watched := args.watched.watcher_settings()),
        "collectors": ["kubernetes", *(["mesos"] if watched else [])],
        "cpu_percent_max": 25,
        "rss_mb_max": args.watcher_memory_mb * 3 // 4,
        "kubernetes": {"cluster": args.cluster, "lease": LEASE},
    }


def _common(args: ProbeArgs) -> dict[str, Any]:
    token = {"token_file": f"{TOKENS}/token"} if args.token_secret else {}
    tls = args.tls.settings() if args.tls else {}
    return {"apps": list(args.apps), "status_socket": f"{RUN}/agent.sock", **token, **tls}
