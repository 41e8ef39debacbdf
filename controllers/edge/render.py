"""HAProxy's configuration for a set of services. Pure: the same services give the same bytes.

What keeps requests whole while instances come and go:

- an instance that does not take a connection is passed over at once (`redispatch`), whatever the
  request, and asked no more until a check finds it again (`observe`); one that takes it and ends
  without an answer, for requests that may be made twice only;
- connections to instances end with their answer (`http-server-close`): nothing is ever sent into
  one that the instance is just closing;
- an instance that was asked to end gets no request while another one can take it (`backup`);
- a worker that a reload retires keeps idle connections until their next answer, which says that
  the connection ends (`idle-close-on-response`).

What an instance still works on when it is told to end is its own to finish, within its app's
`taskKillGracePeriodSeconds`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from controllers.edge.services import Mode, Server, Service

DIGEST_PATH = "/configuration-digest"
HEALTH_PATH = "/_haproxy_health_check"
"""marathon-lb's."""
METRICS_PATH = "/metrics"
STATS_PATH = "/haproxy"
# Raised when the same services are written otherwise, so that a newer edge is told from an older.
_FORM = 1
_PLACE = "@digest@"
_COOKIE = "mesos_platform_server"


@dataclass(frozen=True)
class Bounds:
    """How much and how long; seconds."""

    connections_max: int = 8_000
    connect_s: int = 2
    retries: int = 10
    """Tries besides the first to connect, each at another instance: half of them may have ended
    since the last look, and a refusal costs no time."""
    client_s: int = 60
    server_s: int = 60
    tunnel_s: int = 3600
    hard_stop_s: int = 300
    """A retired worker is ended after this time, whatever it still serves."""
    check_s: int = 2
    """Between two of the edge's own checks of an instance."""


@dataclass(frozen=True)
class Layout:
    """Where the edge listens, and where it keeps its sockets."""

    http: str
    """`address:port` of the frontend that tells services apart by host name."""
    admin: str
    """`address:port` of digest, health, metrics and statistics."""
    bind: str
    """Address of services' own ports."""
    socket: str
    """File of the run-time socket."""
    bounds: Bounds = Bounds()
    log_requests: bool = False
    """Whether each request is logged, as HAProxy's `httplog`."""


@dataclass(frozen=True)
class Configuration:
    """A configuration. `digest` is told by a proxy that runs with it."""

    text: str
    digest: str


def render(services: Sequence[Service], layout: Layout) -> Configuration:
    """The configuration that serves them."""
    ordered = sorted(services, key=lambda one: (one.name, one.index))
    lines = [
        *_head(layout),
        *_admin(layout),
        *_shared(ordered, layout),
        *(line for one in ordered if one.port for line in _own(one, layout)),
        *(line for one in ordered for line in _backend(one, layout.bounds)),
    ]
    digest = digest_of(ordered)
    return Configuration("\n".join(lines).replace(_PLACE, digest) + "\n", digest)


def digest_of(services: Sequence[Service]) -> str:
    """What edges that serve the same tell alike, wherever they listen: whoever knows apps and tasks
    can work it out."""
    ordered = sorted(services, key=lambda one: (one.name, one.index))
    text = json.dumps([_FORM, *(asdict(one) for one in ordered)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _head(layout: Layout) -> list[str]:
    bounds = layout.bounds
    return [
        f"# {_PLACE}",
        "global",
        f"  maxconn {bounds.connections_max}",
        f"  log stdout format raw local0 {'info' if layout.log_requests else 'notice'}",
        f"  stats socket {layout.socket} mode 600 level admin expose-fd listeners",
        f"  hard-stop-after {bounds.hard_stop_s}s",
        "",
        "defaults",
        "  log global",
        "  option dontlognull",
        *(["  option httplog"] if layout.log_requests else []),
        "  option idle-close-on-response",
        "  option redispatch 1",
        f"  retries {bounds.retries}",
        f"  timeout connect {bounds.connect_s}s",
        f"  timeout client {bounds.client_s}s",
        f"  timeout server {bounds.server_s}s",
        f"  timeout tunnel {bounds.tunnel_s}s",
        f"  timeout http-request {bounds.client_s}s",
        f"  timeout queue {bounds.server_s}s",
        # An instance whose name is not known yet waits for it, and does not stop the others.
        "  default-server init-addr last,libc,none",
    ]


def _admin(layout: Layout) -> list[str]:
    told = "status 200 content-type text/plain"
    return [
        "",
        "frontend admin",
        f"  bind {layout.admin}",
        "  mode http",
        f"  monitor-uri {HEALTH_PATH}",
        f"  http-request return {told} string {_PLACE} if {{ path {DIGEST_PATH} }}",
        f"  http-request use-service prometheus-exporter if {{ path {METRICS_PATH} }}",
        "  stats enable",
        f"  stats uri {STATS_PATH}",
        "  stats refresh 10s",
    ]


def _shared(services: Sequence[Service], layout: Layout) -> Iterator[str]:
    yield from ("", "frontend http", f"  bind {layout.http}", "  mode http")
    yield "  option forwardfor"
    routes = [(host, one.path or "", one.backend) for one in services for host in one.hosts]
    # Longest path first, whole names before those with a star: the first that matches is used.
    for host, path, backend in sorted(routes, key=lambda r: (-len(r[1]), "*" in r[0], *r)):
        name = f"-m end {host.removeprefix('*')}" if host.startswith("*") else f"-m str {host}"
        below = f" {{ path_beg {path} }}" if path else ""
        yield f"  use_backend {backend} if {{ req.hdr(host),host_only,lower {name} }}{below}"
    yield "  default_backend unknown-host"
    yield from ("", "backend unknown-host", "  mode http")
    yield "  http-request return status 404 content-type text/plain string unknown-host"


def _own(service: Service, layout: Layout) -> Iterator[str]:
    yield from ("", f"frontend {service.backend}_{service.port}")
    yield f"  bind {layout.bind}:{service.port}"
    yield f"  mode {service.mode}"
    if service.mode is Mode.HTTP:
        yield "  option forwardfor"
    yield f"  default_backend {service.backend}"


def _backend(service: Service, bounds: Bounds) -> Iterator[str]:
    yield from ("", f"backend {service.backend}", f"  mode {service.mode}")
    yield f"  balance {service.balance}"
    if any(server.is_ending for server in service.servers):
        # Where all of them are ending, not the first alone.
        yield "  option allbackups"
    if service.mode is Mode.HTTP:
        yield "  option http-server-close"
        yield "  retry-on conn-failure empty-response"
        yield "  http-request disable-l7-retry unless { method GET HEAD OPTIONS }"
        if service.is_sticky:
            yield f"  cookie {_COOKIE} insert indirect nocache httponly"
        if service.health_path:
            yield f"  option httpchk GET {service.health_path}"
    for server in service.servers:
        where = f"{_name(server)} {server.host}:{server.port}"
        yield f"  server {where}{_options(service, server, bounds)}"


def _options(service: Service, server: Server, bounds: Bounds) -> str:
    words = [f" check inter {bounds.check_s}s fastinter 200ms fall 3 rise 1"]
    # Requests tell sooner than checks that an instance takes no connections any more.
    words.append(" observe layer4 error-limit 2 on-error mark-down")
    if server.is_ending:
        words.append(" backup")
    elif service.is_sticky:
        words.append(f" cookie {_name(server)}")
    if not server.is_address:
        words.append(" resolvers default")
    return "".join(words)


def _name(server: Server) -> str:
    return f"{server.host}_{server.port}".replace(":", "_")
