"""What the edge is told: which Marathon, which apps, where to listen. Unknown keys are errors."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Annotated

from pydantic import Field

from controllers.edge.render import Bounds, Layout
from controllers.settings import ControllerSettings

# Listeners, checks, pipes and sockets of the proxy's own.
_OTHER_FILES = 500
Port = Annotated[int, Field(ge=1, le=65_535)]
Seconds = Annotated[float, Field(ge=0)]


class EdgeSettings(ControllerSettings):
    """All of it."""

    marathon: tuple[str, ...] = Field(min_length=1)
    """Instances, host:port, as they name each other."""
    run_dir: Path
    """Folder for the configuration and sockets; a path of at most 80 characters."""
    group: str = "external"
    """Apps whose label HAPROXY_GROUP names it are served."""
    bind: str = "0.0.0.0"  # noqa: S104 - an edge is what everybody may reach
    """Address that services are served on."""
    http_port: Port = 10080
    """Port that tells services apart by host name."""
    admin_bind: str = "0.0.0.0"  # noqa: S104 - who may reach it is a policy's matter
    """Address of digest, health, metrics and statistics."""
    admin_port: Port = 9090
    """Their port; marathon-lb's."""
    credential_file: Path | None = None
    """Holds user:password of Marathon."""
    ca_file: Path | None = None
    """Authority of Marathon's TLS; None talks without TLS."""
    program: str = "haproxy"
    """HAProxy 2.6 or newer."""
    settle_s: Seconds = 0.1
    """Events within this time after the first lead to one look."""
    reload_interval_s: Seconds = 1.0
    """Least time between two reloads: each leaves a worker behind until its connections end."""
    resync_s: Annotated[float, Field(ge=1)] = 60.0
    """A look without an event at least so often."""
    confirm_empty_s: Seconds = 30.0
    """For so long nothing must be asked for before the last service is given up: a Marathon that
    has lost its state has no apps either."""
    lame_duck_s: Seconds = 5.0
    """After SIGTERM it serves on for so long, until those in front of it have heard."""
    connections_max: Annotated[int, Field(ge=1)] = 8000
    """Connections at the same time; fewer where the process may not open two files for each."""
    log_requests: bool = False
    """Whether each request is logged, to standard output."""
    hard_stop_s: Annotated[int, Field(ge=1)] = 300
    """A retired worker is ended after this time, whatever it still serves."""

    @property
    def admin(self) -> str:
        """Where this process itself asks the proxy."""
        host = "127.0.0.1" if self.admin_bind in {"0.0.0.0", "*"} else self.admin_bind  # noqa: S104 - compared, not bound
        return f"{host}:{self.admin_port}"

    def layout(self, socket: Path) -> Layout:
        """Where the proxy listens, and its bounds."""
        return Layout(
            http=f"{self.bind}:{self.http_port}",
            admin=f"{self.admin_bind}:{self.admin_port}",
            bind=self.bind,
            socket=str(socket),
            log_requests=self.log_requests,
            bounds=Bounds(
                connections_max=min(self.connections_max, connections_allowed()),
                hard_stop_s=self.hard_stop_s,
            ),
        )


def connections_allowed() -> int:
    """Connections that the kernel lets one process pass on: HAProxy refuses to start with more."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, (hard - _OTHER_FILES) // 2) if hard != resource.RLIM_INFINITY else sys.maxsize
