"""What Consul is to have of running apps: an entry for each port of each instance. Pure.

An app's service is called as Mesos-DNS calls it, by its path turned round (`/shop/web` is
`web-shop`), so that only the zone differs; its further ports have services of their own. Labels are
those of marathon-consul. What cannot be is a `Problem` of its app and left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clients.consul import Status
from clients.marathon.model import App, Task
from controllers.instances import Instance, Problem, declared_ports, running

LABEL = "consul"
"""Of an app or of one of its ports: a name of its own, or `false` for none."""
TAG = "tag"
"""A label with this value is a tag."""
RESERVED = frozenset({"consul"})
"""Services of Consul's own."""
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_TAG = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._=/:-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Entry:
    """A port of an instance, on the agent `host`; `port` is 0 where the app has none. `status` is
    None while Marathon does not know: whatever Consul has stays."""

    host: str
    id: str
    name: str
    port: int
    tags: tuple[str, ...]
    app_id: str
    status: Status | None


@dataclass(frozen=True)
class Found:
    """What is to be registered."""

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class _Port:
    index: int
    name: str
    tags: tuple[str, ...]
    is_named: bool


def find(apps: Sequence[App], tasks: Sequence[Task]) -> Found:
    """Entries of all apps. A name that follows from an app's path is that app's alone: another one
    that would have it, or is given it by a label, is left out. Apps that are all given a name by
    their labels share it."""
    problems: list[Problem] = []
    by_app = {app.id: list(_ports(app, problems)) for app in sorted(apps, key=lambda one: one.id)}
    owners: dict[str, str] = {}
    for app_id, ports in by_app.items():
        for port in ports:
            if not port.is_named:
                owners.setdefault(port.name, app_id)
    instances = running(apps, tasks)
    entries: list[Entry] = []
    for app_id, ports in by_app.items():
        for port in ports:
            owner = owners.get(port.name, app_id)
            if owner == app_id:
                entries += _entries(app_id, port, instances.get(app_id, ()))
            else:
                problems.append(Problem(app_id, LABEL, f"the name {port.name} is {owner}'s"))
    return Found(tuple(entries), tuple(problems))


def derived_name(app_id: str) -> str:
    """What an app is called where no label says otherwise."""
    return "-".join(reversed(app_id.strip("/").lower().replace(".", "-").split("/")))


def _ports(app: App, problems: list[Problem]) -> Iterator[_Port]:
    labels: Mapping[str, Any] = app.definition.get("labels") or {}
    given = _given(labels)
    if given == "false":
        return
    base = given or derived_name(app.id)
    # Without ports it still has an address.
    for index, declared in enumerate([*declared_ports(app.definition)] or [{}]):
        own_labels: Mapping[str, Any] = declared.get("labels") or {}
        own, port_name = _given(own_labels), str(declared.get("name") or "")
        if own == "false":
            continue
        suffix = f"-{port_name.lower() or index}" if index else ""
        name = own or f"{base}{suffix}"
        if not _NAME.fullmatch(name) or name in RESERVED:
            why = f"expected 1 to 63 of a-z, 0-9 and -, and no service of Consul's, saw {name!r}"
            problems.append(Problem(app.id, LABEL, why))
            continue
        wanted = {key for each in (labels, own_labels) for key in each if each[key] == TAG}
        tags = tuple(sorted(tag for tag in {*wanted, port_name} if _TAG.fullmatch(tag)))
        why = "expected a tag of letters, digits and ._=/:-"
        problems += [Problem(app.id, tag, why) for tag in sorted(wanted.difference(tags))]
        yield _Port(index, name, tags, is_named=bool(own or given))


def _given(labels: Mapping[str, Any]) -> str:
    """What a label says; empty: nothing of its own."""
    text = str(labels.get(LABEL) or "").strip().lower()
    return "" if text == "true" else text


def _entries(app_id: str, port: _Port, instances: Sequence[Instance]) -> Iterator[Entry]:
    for one in instances:
        ports = one.task.ports
        if port.index < len(ports) or not (ports or port.index):
            yield Entry(
                host=one.host.lower(),
                id=f"{one.task.id}:{port.index}",
                name=port.name,
                port=ports[port.index] if ports else 0,
                tags=port.tags,
                app_id=app_id,
                status=_status(one),
            )


def _status(one: Instance) -> Status | None:
    # What was asked to end is named to nobody new.
    if one.is_ending:
        return Status.CRITICAL
    if one.is_well is None:
        return None
    return Status.PASSING if one.is_well else Status.CRITICAL
