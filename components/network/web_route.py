"""The route to the web interfaces of masters and Marathon: nobody comes through it without a name,
and who may only look changes nothing.

HAProxy asks for user and password (basic authentication; TLS is its own, or that of what stands in
front of it) and lets groups in: `viewers` read, `operators` do everything. Behind it, masters want
the operator's credential and Marathon its own: the route shows these, and no password of a person.
So viewers see what an operator sees, the environment of tasks with it. `/ui` and Marathon's API
lead to Marathon, everything else to the master that leads.

Users stand in a file of their own, a secret, as a `userlist` of HAProxy with hashed passwords:

    userlist web-route
      group viewers
      group operators
      user ada password $5$... groups operators

Not here: what a browser asks agents itself (sandboxes of tasks), and the Mesos interface's own
habit of naming the leader by its host. The configuration names the masters of both colours, and so
no update of a migration changes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from components.base import Component, Placing
from components.errors import ArgumentsError
from components.mesos.access import MARATHON_SECRET
from components.workload import (
    Certificate,
    Member,
    Needs,
    PortRole,
    Probe,
    Program,
    Readiness,
    Secret,
    Shape,
    Workload,
)

TIER = "web-route"
USERS = "web-route-users"
"""Key of the secret that holds the userlist."""
CERTIFICATE = "web-route-tls"
VIEWERS, OPERATORS = "viewers", "operators"
HEALTH_PATH = "/_web_route_health"
USER_HEADER = "X-Forwarded-User"
_ADDRESS = re.compile(r"(?P<host>[a-z0-9][a-z0-9.-]*):(?P<port>[0-9]{1,5})")
_IN_CLUSTER = ".svc"
# In a minute, from one address: a person mistypes, a guesser does not stop.
_REFUSALS_MAX = 20
_MARATHON_PATHS = "^/(ui|v2|ping|help)(/|$)"
# Of Mesos: they are asked by GET and change something.
_CHANGING = "(^|/)(logging|profiler|memory-profiler)(/|$)"
# Reads the credentials where no configuration has them, and the cluster's domain, which HAProxy
# does not add to names by itself. No `$(`: a container's command expands it.
_SCRIPT = """\
set -eu
IFS= read -r WEB_ROUTE_MASTERS < "$4" || [ -n "$WEB_ROUTE_MASTERS" ]
WEB_ROUTE_MARATHON=
[ $# -lt 5 ] || IFS= read -r WEB_ROUTE_MARATHON < "$5" || [ -n "$WEB_ROUTE_MARATHON" ]
WEB_ROUTE_DOMAIN=
while read -r word more; do
  case "$word $more" in
    "search "*.svc.*) more=${more#*.svc.}; WEB_ROUTE_DOMAIN=.${more%% *} ;;
  esac
done < "$3"
export WEB_ROUTE_MASTERS WEB_ROUTE_MARATHON WEB_ROUTE_DOMAIN
exec haproxy -W -db -f "$1" -f "$2"
"""
COMMAND = ("sh", "-c", _SCRIPT, TIER)
"""Takes the configuration, the users, the resolver's configuration, the credential for masters, and
that for Marathon where there is one."""
RESOLVER = "/etc/resolv.conf"


@dataclass(frozen=True)
class WebRouteArgs:
    """`masters` are those of both colours, `marathon` its instances, host:port each. `certificate`
    is what browsers are shown; None where TLS ends in front of the route. `image` has HAProxy 2.6
    or newer and a shell, as the official one.

    Raises:
        ArgumentsError: nobody could be led anywhere.
    """

    image: str | None
    masters: tuple[str, ...]
    marathon: tuple[str, ...] = ()
    replicas: int = 2
    certificate: Certificate | None = None

    def __post_init__(self) -> None:
        if self.replicas < 1:
            msg = f"expected at least one replica of the route, saw {self.replicas}"
            raise ArgumentsError(msg)
        if not self.masters:
            msg = "expected masters that the route leads to, saw none"
            raise ArgumentsError(msg)
        for address in (*self.masters, *self.marathon):
            check_address(address)


def check_address(address: str) -> str:
    """Refuse what is no host:port: it becomes a part of a line of configuration.

    Raises:
        ArgumentsError: it is none.
    """
    if not _ADDRESS.fullmatch(address):
        msg = f"expected host:port of an interface, saw {address!r}"
        raise ArgumentsError(msg)
    return address


class WebRoute(Component):
    """The route; `urls` are where its replicas are asked."""

    urls: list[str]

    def __init__(self, args: WebRouteArgs, placing: Placing) -> None:
        target = placing.target
        ends = [
            target.endpoint(TIER, None, PortRole.WEB_ROUTE, index) for index in range(args.replicas)
        ]
        scheme = "https" if args.certificate else "http"
        self.urls = [f"{scheme}://{end}" for end in ends]
        folder = target.certificate_dir() if args.certificate else None
        members = tuple(
            Member(
                f"{TIER}-{index}",
                index,
                configuration(f"{target.listen_host()}:{end.port}", args, folder),
                {PortRole.WEB_ROUTE: end.port},
            )
            for index, end in enumerate(ends)
        )
        own = (MARATHON_SECRET,) if args.marathon else ()
        credentials = (Secret.MESOS_OPERATOR, *own)
        workload = Workload(
            name=TIER,
            tier=TIER,
            color=None,
            # Names of its own for each, so that each can be asked who it lets in.
            shape=Shape.STATEFUL,
            program=Program(COMMAND, args.image),
            members=members,
            config_suffix=".cfg",
            arguments=(
                *("{config}", target.secret(USERS), RESOLVER),
                *(target.secret(one) for one in credentials),
            ),
            readiness=Readiness(Probe.TCP, PortRole.WEB_ROUTE)
            if args.certificate
            else Readiness(Probe.HTTP, PortRole.WEB_ROUTE, path=HEALTH_PATH),
            secrets=(USERS, *credentials),
            needs=Needs(memory_mb=256, cpus=0.05),
            client_ports=(PortRole.WEB_ROUTE,),
            certificate=args.certificate,
        )
        super().__init__("network", "WebRoute", workload, placing)
        self.finish({"urls": self.urls})


def configuration(listen: str, args: WebRouteArgs, certificate_dir: str | None) -> str:
    """HAProxy's configuration, without users and without a credential."""
    lines = (
        *_head(),
        *_frontend(listen, certificate_dir, has_marathon=bool(args.marathon)),
        "",
        "backend masters",
        *_shown(_MASTERS),
        # A leader is named by an address that leads nobody here.
        r"  http-response replace-header Location ^([a-z]+:)?//[^/]*/?(.*)$ /\2",
        "  option httpchk",
        # Followers answer that somebody else leads.
        f"  http-check send {_WHO_LEADS} hdr Authorization {_MASTERS}",
        "  http-check expect status 200",
        *_servers(args.masters),
        *(("", "backend marathon", *_shown(_MARATHON)) if args.marathon else ()),
        # Whoever of them does not lead passes requests on.
        # The real one wants credentials there too: that it asks for them says that it serves.
        *(
            ("  option httpchk GET /ping", "  http-check expect rstatus ^(200|401)$")
            if args.marathon
            else ()
        ),
        *_servers(args.marathon),
    )
    return "\n".join(lines) + "\n"


_WHO_LEADS = "meth GET uri /master/weights ver HTTP/1.1 hdr Host web-route"
_MASTERS = '"Basic %[env(WEB_ROUTE_MASTERS),base64]"'
_MARATHON = '"Basic %[env(WEB_ROUTE_MARATHON),base64]"'


def _shown(credential: str) -> Iterable[str]:
    return (
        f"  http-request set-header Authorization {credential}",
        # A browser that is asked again would send a person's password, which is none there.
        "  http-response set-status 502 if { status 401 }",
        "  http-response del-header WWW-Authenticate",
    )


def _head() -> Iterable[str]:
    return (
        "global",
        "  maxconn 1000",
        "  log stdout format raw local0",
        # A certificate's files are called tls.crt and tls.key.
        "  ssl-load-extra-del-ext",
        "  ssl-default-bind-options ssl-min-ver TLSv1.2",
        "",
        "defaults",
        "  mode http",
        "  log global",
        '  log-format "%ci %{+Q}[var(txn.user)] %HM %{+Q}HPO %ST"',
        "  timeout connect 5s",
        "  timeout client 60s",
        # Events of Marathon may be far apart.
        "  timeout server 10m",
        "  timeout tunnel 1h",
        "  timeout http-request 10s",
        "",
        "resolvers cluster",
        "  parse-resolv-conf",
        "  hold valid 5s",
        "",
    )


def _frontend(listen: str, certificate_dir: str | None, *, has_marathon: bool) -> Iterable[str]:
    tls = f" ssl crt {certificate_dir}/tls.crt alpn h2,http/1.1" if certificate_dir else ""
    is_viewer, is_operator = "{ var(txn.viewer) -m bool }", "{ var(txn.operator) -m bool }"
    is_known = f"{{ http_auth({TIER}) }}"
    groups = f"http_auth_group({TIER})"
    reading = "{ method GET HEAD OPTIONS }"
    given = "{ req.hdr(authorization) -m found }"
    origin = "req.hdr(origin)"
    is_own = f"{{ {origin},regsub(^https?://,),strcmp(txn.host) eq 0 }}"
    deny = "  http-request deny deny_status"
    return (
        "frontend web-route",
        f"  bind {listen}{tls}",
        f"  monitor-uri {HEALTH_PATH}",
        "  stick-table type ipv6 size 100k expire 1m store gpc0,gpc0_rate(1m)",
        "  http-request track-sc0 src",
        f"{deny} 429 if {{ sc_gpc0_rate(0) gt {_REFUSALS_MAX} }}",
        # Whoever sends it himself is nobody yet.
        f"  http-request del-header {USER_HEADER}",
        # Each of these hashes the password, so none is asked twice.
        f"  http-request set-var(txn.operator) bool(true) if {{ {groups} {OPERATORS} }}",
        f"  http-request set-var(txn.viewer) bool(true) if {is_operator}",
        f"  http-request set-var(txn.viewer) bool(true) if !{is_operator} {{ {groups} {VIEWERS} }}",
        f"  http-request sc-inc-gpc0(0) if {given} !{is_viewer} !{is_known}",
        f"  http-request auth realm mesos-platform if !{is_viewer} !{is_known}",
        "  http-request set-var(txn.user) http_auth_user",
        f"{deny} 403 if !{is_viewer}",
        f"{deny} 403 if !{reading} !{is_operator}",
        # A socket is opened by GET and does anything afterwards.
        f"{deny} 403 if {{ req.hdr(upgrade) -m found }} !{is_operator}",
        f"{deny} 403 if {{ path,url_dec -m reg {_CHANGING} }} !{is_operator}",
        # A browser sends what it knows along with requests that another site made.
        "  http-request set-var(txn.host) req.hdr(host)",
        f"{deny} 403 if {{ {origin} -m found }} !{is_own}",
        # What is left in the log: who changed something, and who was refused.
        f"  http-request set-log-level silent if {reading}",
        f"  http-request set-header {USER_HEADER} %[var(txn.user)]",
        "  http-response set-header X-Frame-Options DENY",
        "  http-response set-header X-Content-Type-Options nosniff",
        "  http-response set-header Referrer-Policy same-origin",
        *(
            (f"  use_backend marathon if {{ path -m reg {_MARATHON_PATHS} }}",)
            if has_marathon
            else ()
        ),
        "  default_backend masters",
    )


def _servers(addresses: Sequence[str]) -> Iterable[str]:
    for number, address in enumerate(addresses):
        host, _, port = check_address(address).rpartition(":")
        domain = "${WEB_ROUTE_DOMAIN}" if host.endswith(_IN_CLUSTER) else ""
        yield (
            f'  server s{number} "{host}{domain}:{port}" check inter 2s fall 2 rise 1'
            " init-addr last,libc,none resolvers cluster resolve-prefer ipv4"
        )
