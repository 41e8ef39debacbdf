"""Service ports: numbers for load balancers, given to every port that asks for any (port 0).

They are unique over all apps. An app that changes keeps those that it had.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from stacks.local.errors import ApiError
from stacks.local.marathon.definition import App, versioned
from stacks.local.marathon.groups import Tree
from stacks.local.marathon.settings import MarathonSettings
from stacks.local.mesos.values import Json


def service_ports(app: App) -> list[int]:
    """Those of an app, in the order of its ports; 0 where none was given yet."""
    name = "port" if app.has_host_networking else "servicePort"
    return [int(port.get(name, 0)) for port in app.ports]


def assign(before: Tree, target: Tree, settings: MarathonSettings) -> Tree:
    """Give a number to every port that has none.

    Raises:
        ApiError: the range is used up.
    """
    lacking = [app for app in target.apps.values() if 0 in service_ports(app)]
    if not lacking:
        return target
    used = {port for app in target.apps.values() for port in service_ports(app)}
    dynamic = range(settings.local_port_min, settings.local_port_max)
    free = (port for port in dynamic if port not in used)
    changed: dict[str, App] = {}
    for app in lacking:
        old = before.apps.get(app.id)
        had = service_ports(old) if old is not None else []
        own = iter([port for port in had if port in dynamic and port not in service_ports(app)])
        changed[app.id] = _with_ports(app, old, own, free, settings)
        used |= set(service_ports(changed[app.id]))
    return target.with_apps(changed)


def _with_ports(
    app: App, old: App | None, own: Iterator[int], free: Iterator[int], settings: MarathonSettings
) -> App:
    def number() -> int:
        found = next(own, None) or next(free, None)
        if found is None:
            least, most = settings.local_port_min, settings.local_port_max
            raise ApiError.of(500, f"All ports in the range [{least}-{most}) are already in use")
        return found

    name = "port" if app.has_host_networking else "servicePort"
    numbered: list[Json] = [
        port if port.get(name) else {**port, name: number()} for port in app.ports
    ]
    definition = dict(app.definition)
    if app.has_host_networking:
        definition["portDefinitions"] = numbered
    else:
        definition["container"] = {**definition["container"], "portMappings": numbered}
    if old is not None:
        return versioned(old, definition, app.version)
    return replace(app, definition=definition)
