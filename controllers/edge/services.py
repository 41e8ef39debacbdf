"""What apps ask of the edge, read from their labels: those of marathon-lb. Pure.

A label ends up in the configuration of a program that everybody's requests pass through, so each
value must be of a form of its own: templates and whole lines of configuration, which marathon-lb
takes from labels too, are not taken. What cannot be is a `Problem` of its app, and left out; it
never takes another app's service away.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from clients.marathon.model import App, Task
from controllers.instances import Problem, declared_ports, running

PREFIX = "HAPROXY_"
GROUP = "HAPROXY_GROUP"
DEPLOYMENT_GROUP = "HAPROXY_DEPLOYMENT_GROUP"
KEYS: Mapping[str, str] = {
    "GROUP": "edge that serves this port, in place of the app's",
    "ENABLED": "`false` leaves this port out",
    "VHOST": "host names, by commas; `*.` before one takes every name below it",
    "PATH": "only requests whose path begins so, on those hosts",
    "PORT": "port of the edge, in place of the service port",
    "MODE": "`http` or `tcp`; http where there is a VHOST, else tcp",
    "BALANCE": "algorithm: roundrobin, leastconn, source, first, random or uri",
    "STICKY": "`true` sends a client to the same instance again, by a cookie",
}
"""Of `HAPROXY_<index of the port>_<key>`, what each means."""
# Of bounded length: to read a number of thousands of digits is an error of its own.
_LABEL = re.compile(rf"{PREFIX}(?P<index>[0-9]{{1,5}})_(?P<key>[A-Z_]+)")
_PORT = re.compile(r"[0-9]{1,5}")
_HOST = re.compile(
    r"(?:\*\.)?[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*"
)
_PATH = re.compile(r"/[A-Za-z0-9._~/-]*")
_BALANCE = frozenset({"roundrobin", "leastconn", "source", "first", "random", "uri"})
_TRUE, _FALSE = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no"})
_PORT_MAX = 65_535
# HAProxy cuts words off at some 8,000, and then finds a backend no more that is called so.
_NAME_CHARS_MAX = 1_000
_TOLD_CHARS_MAX = 60


class Mode(StrEnum):
    """What the proxy understands of what it passes on."""

    HTTP = "http"
    TCP = "tcp"


@dataclass(frozen=True, order=True)
class Server:
    """Where an instance answers. `is_ending`: it was asked to end, and may answer until it does."""

    host: str
    port: int
    is_ending: bool = False

    @property
    def is_address(self) -> bool:
        """Whether no name has to be looked up."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True


@dataclass(frozen=True)
class Service:
    """One port of an app, or of apps that are deployed in place of each other."""

    name: str
    index: int
    mode: Mode
    hosts: tuple[str, ...] = ()
    path: str | None = None
    port: int | None = None
    balance: str = "roundrobin"
    is_sticky: bool = False
    health_path: str | None = None
    servers: tuple[Server, ...] = ()

    @property
    def backend(self) -> str:
        """Its name in the configuration."""
        return f"{re.sub('[^a-z0-9.-]', '_', self.name.strip('/'))}_{self.index}"


@dataclass(frozen=True)
class Found:
    """What apps ask for; services by name. `unknown` are instances of which Marathon knows no
    health: whether they get requests follows from whether they did."""

    services: tuple[Service, ...]
    problems: tuple[Problem, ...]
    unknown: int = 0


class _WrongError(Exception):
    def __init__(self, label: str, why: str) -> None:
        self.label = label
        self.why = why
        super().__init__(f"{label}: {why}")


def _wrong(label: str, why: str) -> _WrongError:
    return _WrongError(label, why)


def find(
    apps: Sequence[App],
    tasks: Sequence[Task],
    *,
    group: str,
    taken: frozenset[int] = frozenset(),
    served: Iterable[Service] = (),
) -> Found:
    """What apps of a group ask for, and where their instances answer.

    An instance gets requests while its task runs and, where its app has health checks, is healthy;
    one that was asked to end, only while nobody else can take them. A leader of Marathon that was
    just elected has heard of no check: where it knows no health, who is `served` already stays, and
    who is not waits. `taken` are ports of the edge's own. Where two services want the same port, or
    the same host and path, the one of the first id has it.
    """
    by_name: dict[tuple[str, int], Service] = {}
    problems: list[Problem] = []
    unknown = 0
    instances = running(apps, tasks)
    places = {
        (service.name, service.index): {(one.host, one.port) for one in service.servers}
        for service in served
    }
    for app in sorted(apps, key=lambda one: one.id):
        for service in _of_app(app, group, problems):
            key = (service.name, service.index)
            servers: list[Server] = []
            for one in instances.get(app.id, ()):
                if service.index >= len(one.task.ports):
                    continue
                unknown += one.is_well is None
                server = Server(one.host, one.task.ports[service.index], one.is_ending)
                is_served = (server.host, server.port) in places.get(key, ())
                if one.is_well or (one.is_well is None and is_served):
                    servers.append(server)
            before = by_name.get(key)
            if before is not None:
                # Another app of the same deployment group: the first one's labels count for both.
                servers += before.servers
                service = before  # noqa: PLW2901 - two apps, one service
            by_name[key] = replace(service, servers=_by_place(servers))
    services = _without_clashes(by_name.values(), taken, problems)
    return Found(tuple(services), tuple(problems), unknown)


def without_ports(found: Found, unusable: Mapping[int, str]) -> Found:
    """The same without ports that cannot be listened on; who has a host name is served by it."""
    problems = list(found.problems)
    services: list[Service] = []
    for service in found.services:
        if service.port is None or service.port not in unusable:
            services.append(service)
            continue
        why = f"port {service.port} cannot be listened on: {unusable[service.port]}"
        _teller(service, problems)("PORT", why)
        if service.hosts:
            services.append(replace(service, port=None))
    return replace(found, services=tuple(services), problems=tuple(problems))


def _by_place(servers: Iterable[Server]) -> tuple[Server, ...]:
    """Each place once: a configuration with two servers of one name is refused whole. Tasks may
    share one while an agent has given a port again and the end of who had it is not known yet;
    who was not asked to end is the one that answers."""
    ending: dict[tuple[str, int], bool] = {}
    for one in servers:
        place = (one.host, one.port)
        ending[place] = one.is_ending and ending.get(place, True)
    return tuple(Server(*place, is_ending) for place, is_ending in sorted(ending.items()))


def _of_app(app: App, group: str, problems: list[Problem]) -> Iterator[Service]:
    labels: dict[str, str] = app.definition.get("labels") or {}
    # Of the tasks' ports in their order; 0: none was given.
    service_ports = [
        int(one.get("servicePort") or one.get("port") or 0)
        for one in declared_ports(app.definition)
    ]
    by_index: dict[int, dict[str, str]] = {}
    for label, value in sorted(labels.items()):
        if not label.startswith(PREFIX) or label in {GROUP, DEPLOYMENT_GROUP}:
            continue
        found = _LABEL.fullmatch(label)
        if found is None or found["key"] not in KEYS:
            problems.append(Problem(app.id, label, f"not followed; known are {', '.join(KEYS)}"))
        elif int(found["index"]) >= len(service_ports):
            problems.append(Problem(app.id, label, f"the app has {len(service_ports)} ports"))
        else:
            by_index.setdefault(int(found["index"]), {})[found["key"]] = value.strip()
    name = labels.get(DEPLOYMENT_GROUP) or app.id
    if len(name) > _NAME_CHARS_MAX:
        why = f"expected a name of at most {_NAME_CHARS_MAX} characters, saw {len(name)}"
        problems.append(Problem(app.id, DEPLOYMENT_GROUP, why))
        return
    for index, port in enumerate(service_ports):
        given = by_index.get(index, {})
        if group not in _split(given.get("GROUP") or labels.get(GROUP, "")):
            continue
        try:
            service = _service(name, index, port, given)
        except _WrongError as error:
            problems.append(Problem(app.id, f"{PREFIX}{index}_{error.label}", error.why))
            continue
        if service is not None:
            yield replace(service, health_path=_health_path(app.definition, index))


def _service(name: str, index: int, port: int, given: Mapping[str, str]) -> Service | None:
    if not _flag(given, "ENABLED", default=True):
        return None
    hosts = tuple(
        _of_form("VHOST", one.lower(), _HOST, "a host name")
        for one in _split(given.get("VHOST", ""))
    )
    path = given.get("PATH")
    if path is not None:
        _of_form("PATH", path, _PATH, "a path of letters, digits and ._~/-")
        if not hosts:
            raise _wrong(label="PATH", why="a path needs a VHOST")
    text = given.get("MODE", Mode.HTTP if hosts else Mode.TCP).lower()
    if text not in {*Mode}:
        raise _wrong(label="MODE", why=f"expected http or tcp, saw {text!r}")
    mode = Mode(text)
    if hosts and mode is Mode.TCP:
        raise _wrong(label="MODE", why="a VHOST is read from requests of HTTP, so the mode is http")
    balance = given.get("BALANCE", "roundrobin")
    if balance not in _BALANCE:
        raise _wrong(label="BALANCE", why=f"expected one of {', '.join(sorted(_BALANCE))}")
    sticky = _flag(given, "STICKY", default=False)
    if sticky and mode is Mode.TCP:
        raise _wrong(
            label="STICKY", why="a cookie is read from requests of HTTP, so the mode is http"
        )
    return Service(
        name=name,
        index=index,
        mode=mode,
        hosts=hosts,
        path=path,
        port=_port(given, port),
        balance=balance,
        is_sticky=sticky,
    )


def _port(given: Mapping[str, str], port: int) -> int | None:
    text = given.get("PORT")
    if text is None:
        return port or None
    if not _PORT.fullmatch(text) or not 0 < int(text) <= _PORT_MAX:
        raise _wrong(label="PORT", why=f"expected a port, saw {text[:_TOLD_CHARS_MAX]!r}")
    return int(text)


def _flag(given: Mapping[str, str], key: str, *, default: bool) -> bool:
    text = given.get(key, str(default)).lower()
    if text not in _TRUE | _FALSE:
        raise _wrong(label=key, why=f"expected true or false, saw {text!r}")
    return text in _TRUE


def _of_form(key: str, text: str, form: re.Pattern[str], what: str) -> str:
    if not form.fullmatch(text):
        raise _wrong(label=key, why=f"expected {what}, saw {text!r}")
    return text


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _health_path(definition: Mapping[str, Any], index: int) -> str | None:
    """Path that an app's own health check of a port asks for, where it is one of HTTP. One that
    names a port by its number may ask somebody else there; older definitions say 0 for none."""
    for check in definition.get("healthChecks") or ():
        protocol = str(check.get("protocol", "HTTP"))
        path = str(check.get("path") or "/")
        is_plain = protocol in {"HTTP", "MESOS_HTTP"} and _PATH.fullmatch(path)
        if is_plain and not check.get("port") and int(check.get("portIndex") or 0) == index:
            return path
    return None


def _without_clashes(
    services: Iterable[Service], taken: frozenset[int], problems: list[Problem]
) -> Iterator[Service]:
    ports: dict[int, str] = dict.fromkeys(taken, "the edge itself")
    routes: dict[tuple[str, str], str] = {}
    backends: dict[str, str] = {}
    for service in sorted(services, key=lambda one: (one.name, one.index)):
        told = _teller(service, problems)
        if service.backend in backends:
            told("GROUP", f"its name is that of {backends[service.backend]} in a configuration")
            continue
        backends[service.backend] = service.name
        if service.port in ports:
            told("PORT", f"port {service.port} is {ports[service.port]}'s already")
            service = replace(service, port=None)  # noqa: PLW2901 - as far as it can be served
        free = tuple(h for h in service.hosts if (h, service.path or "") not in routes)
        for host in (h for h in service.hosts if h not in free):
            told("VHOST", f"{host}{service.path or ''} is {routes[host, service.path or '']}'s")
        routes |= {(host, service.path or ""): service.name for host in free}
        if service.port is not None:
            ports[service.port] = service.name
        if service.port is not None or free:
            yield replace(service, hosts=free)


def _teller(service: Service, problems: list[Problem]) -> Callable[[str, str], None]:
    def told(key: str, why: str) -> None:
        problems.append(Problem(service.name, f"{PREFIX}{service.index}_{key}", why))

    return told
