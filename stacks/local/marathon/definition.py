"""App definitions: what people send, made complete with Marathon's defaults, and compared.

A definition is kept as the JSON that Marathon answers, so that nothing is lost that this stand-in
does not act on. Old spellings (`ports`, `uris`, `ipAddress`, `container.docker.network` and its
port mappings) are rewritten as Marathon does, by AppNormalization.scala.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from stacks.local.errors import ApiError
from stacks.local.mesos.values import Json

_DEFAULTS: Json = {
    "acceptedResourceRoles": ["*"],
    "backoffFactor": 1.15,
    "backoffSeconds": 1,
    "cpus": 1,
    "disk": 0,
    "executor": "",
    "gpus": 0,
    "instances": 1,
    "killSelection": "YOUNGEST_FIRST",
    "labels": {},
    "maxLaunchDelaySeconds": 300,
    "mem": 128,
    "requirePorts": False,
    "role": "*",
}
# In the order in which Marathon writes them.
_FIELDS = (
    "id", "acceptedResourceRoles", "args", "backoffFactor", "backoffSeconds", "check", "cmd",
    "constraints", "container", "cpus", "dependencies", "disk", "env", "executor", "fetch",
    "healthChecks", "instances", "labels", "maxLaunchDelaySeconds", "mem", "gpus", "networks",
    "portDefinitions", "readinessChecks", "requirePorts", "resourceLimits", "role", "secrets",
    "taskKillGracePeriodSeconds", "tty", "upgradeStrategy", "user", "killSelection",
    "unreachableStrategy",
)  # fmt: skip
_OMITTED_WHEN_EMPTY = (
    "args", "constraints", "dependencies", "env", "fetch", "healthChecks", "readinessChecks",
    "secrets",
)  # fmt: skip
_HEALTH_DEFAULTS: Json = {
    "gracePeriodSeconds": 300,
    "intervalSeconds": 60,
    "maxConsecutiveFailures": 3,
    "timeoutSeconds": 20,
    "delaySeconds": 15,
}
_READINESS_DEFAULTS: Json = {
    "name": "readinessCheck",
    "protocol": "HTTP",
    "path": "/",
    "portName": "http-api",
    "intervalSeconds": 30,
    "timeoutSeconds": 10,
    "httpStatusCodesForReady": [200],
    "preserveLastResponse": False,
}
# A change of these alone restarts nothing.
_SCALING = frozenset({"instances"})
_NO_RESTART = frozenset(
    {
        "instances",
        "upgradeStrategy",
        "killSelection",
        "unreachableStrategy",
        "dependencies",
    }
)


@dataclass(frozen=True)
class App:
    """One version of an app; `definition` is complete but for its version."""

    definition: Json
    version: str
    last_scaling_at: str | None = None
    last_config_change_at: str | None = None

    @property
    def id(self) -> str:
        """Absolute path."""
        return str(self.definition["id"])

    @property
    def instances(self) -> int:
        """How many are wanted."""
        return int(self.definition["instances"])

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels."""
        return cast("Json", self.definition.get("labels") or {})

    @property
    def health_checks(self) -> list[Json]:
        """Health checks."""
        return list(self.definition.get("healthChecks", ()))

    @property
    def readiness_checks(self) -> list[Json]:
        """Readiness checks; Marathon takes one."""
        return list(self.definition.get("readinessChecks", ()))

    @property
    def constraints(self) -> list[list[str]]:
        """Field, operator and perhaps a value."""
        return list(self.definition.get("constraints", ()))

    @property
    def dependencies(self) -> list[str]:
        """Apps and groups that have to run first."""
        return list(self.definition.get("dependencies", ()))

    @property
    def config_version(self) -> str:
        """Version of what its instances run: a change of scale does not touch it."""
        return self.last_config_change_at or self.version

    @property
    def ports(self) -> list[Json]:
        """Port definitions or, where the app has a network of its own, its mapped ports."""
        if self.has_host_networking:
            return list(self.definition.get("portDefinitions", ()))
        container: Json = self.definition.get("container") or {}
        return list(container.get("portMappings") or ())

    @property
    def has_host_networking(self) -> bool:
        """Whether its ports are those of the agent."""
        return all(network["mode"] == "host" for network in self.definition["networks"])

    def rendered(self) -> Json:
        """As Marathon answers it."""
        known = {name: self.definition[name] for name in _FIELDS if name in self.definition}
        at = list(known).index("killSelection")
        items = list(known.items())
        versions: Json = {"version": self.version}
        if self.last_config_change_at is not None:
            versions["versionInfo"] = {
                "lastScalingAt": self.last_scaling_at,
                "lastConfigChangeAt": self.last_config_change_at,
            }
        return {**dict(items[:at]), **versions, **dict(items[at:])}

    def scaled(self, instances: int) -> App:
        """The same with another number of instances."""
        return replace(self, definition={**self.definition, "instances": instances})


def _differs(old: App, new: App, apart_from: frozenset[str]) -> bool:
    names = {*old.definition, *new.definition} - apart_from
    return any(old.definition.get(name) != new.definition.get(name) for name in names)


def is_same(old: App, new: App) -> bool:
    """Whether nothing changes."""
    return not _differs(old, new, frozenset())


def is_only_scale_change(old: App, new: App) -> bool:
    """Whether only the number of instances changes."""
    return not _differs(old, new, _SCALING) and old.instances != new.instances


def needs_restart(old: App, new: App) -> bool:
    """Whether instances have to be replaced."""
    return _differs(old, new, _NO_RESTART) or old.config_version != new.config_version


def versioned(old: App | None, new: Json, version: str) -> App:
    """A definition as the next version; a change of scale keeps `last_config_change_at`."""
    if old is None:
        return App(new, version)
    made = App(new, version)
    if is_same(old, made):
        return old
    kept = old.last_config_change_at or old.version
    if _differs(old, made, _SCALING):
        return replace(made, last_scaling_at=version, last_config_change_at=version)
    return replace(made, last_scaling_at=version, last_config_change_at=kept)


# Paths


def canonical(path: str, base: str = "/") -> str:
    """An absolute path; `..` and `.` are resolved against the base."""
    parts: list[str] = [] if path.startswith("/") else [p for p in base.split("/") if p]
    for part in path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part and part != ".":
            parts.append(part)
    return "/" + "/".join(parts)


def parent(path: str) -> str:
    """The group that holds a path."""
    return path.rpartition("/")[0] or "/"


_SEGMENT = re.compile(
    r"^(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])$"
)
_SEGMENT_TEXT = (
    "must fully match regular expression '^(([a-z0-9]|[a-z0-9][a-z0-9\\-]*[a-z0-9])\\.)*"
    "([a-z0-9]|[a-z0-9][a-z0-9\\-]*[a-z0-9])|(\\.|\\.\\.)$'"
)


def path_problem(path: str) -> str | None:
    """What is wrong with an app's or group's path."""
    if all(_SEGMENT.match(part) for part in path.strip("/").split("/") if part):
        return None
    return _SEGMENT_TEXT


# Making complete


def merge(old: App | None, update: Json) -> Json:
    """An update over what is there, field by field, as PATCH and PUT have it."""
    base = {} if old is None else {k: v for k, v in old.definition.items() if k not in update}
    if "cmd" in update:
        base.pop("args", None)
    if "args" in update:
        base.pop("cmd", None)
    if {"ports", "portDefinitions"} & set(update):
        base.pop("portDefinitions", None)
    if "uris" in update:
        base.pop("fetch", None)
    return {**base, **update}


def complete(given: Json, base: str = "/") -> Json:
    """A definition with defaults; `base` is the group in whose update it stands.

    Raises:
        ApiError: 400 for a field of another kind, 422 for values that cannot be.
    """
    from stacks.local.marathon.validation import check_kinds, validate

    check_kinds(given)
    made: Json = {**_DEFAULTS, **{k: v for k, v in given.items() if v is not None}}
    made["id"] = canonical(str(given.get("id", "")), base)
    made["dependencies"] = [canonical(str(one), base) for one in made.get("dependencies", ())]
    made["healthChecks"] = [_health(one) for one in made.get("healthChecks", ())]
    made["readinessChecks"] = [
        {**_READINESS_DEFAULTS, **one} for one in made.get("readinessChecks", ())
    ]
    made["constraints"] = [[str(part) for part in one] for one in made.get("constraints", ())]
    made["fetch"] = _fetch(made)
    _set_networks(made)
    _set_strategies(made)
    for name in _OMITTED_WHEN_EMPTY:
        if not made.get(name):
            made.pop(name, None)
    made = {name: made[name] for name in _FIELDS if name in made}
    problems = validate(made)
    if problems:
        raise invalid(problems)
    return made


def invalid(problems: Iterable[tuple[str, str]]) -> ApiError:
    """422 with the details that Marathon gives."""
    details = [{"path": path, "errors": [text]} for path, text in problems]
    return ApiError(422, {"message": "Object is not valid", "details": details})


def _health(check: Json) -> Json:
    made = {**_HEALTH_DEFAULTS, **check}
    made.setdefault("protocol", "HTTP")
    if made["protocol"] != "COMMAND":
        made.setdefault("ipProtocol", "IPv4")
        if "port" not in made:
            made.setdefault("portIndex", 0)
        if made["protocol"].endswith(("HTTP", "HTTPS")):
            made.setdefault("path", "/")
    if made["protocol"] in {"HTTP", "HTTPS"}:
        made.setdefault("ignoreHttp1xx", False)
    return made


def _fetch(made: Json) -> list[Json]:
    found: list[Json] = list(made.get("fetch") or [{"uri": uri} for uri in made.get("uris") or ()])
    archives = (".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz", ".zip")
    return [
        {
            "uri": one["uri"],
            "extract": one.get("extract", "fetch" in made or str(one["uri"]).endswith(archives)),
            "executable": one.get("executable", False),
            "cache": one.get("cache", False),
            **({"destPath": one["destPath"]} if "destPath" in one else {}),
        }
        for one in found
    ]


def _set_networks(made: Json) -> None:
    container: Json | None = made.get("container")
    docker: Json = (container or {}).get("docker") or {}
    networks: list[Json] = list(made.get("networks") or ())
    address: Json | None = made.get("ipAddress")
    if not networks:
        match str(docker.get("network", "")).upper():
            case "BRIDGE":
                networks = [{"mode": "container/bridge"}]
            case "USER":
                networks = [_named(address)]
            case "HOST":
                networks = [{"mode": "host"}]
            case _:
                networks = [{"mode": "host"}] if address is None else [_named(address)]
    made["networks"] = [{"mode": "container", **one} for one in networks]
    is_host = all(one["mode"] == "host" for one in made["networks"])
    if container is not None:
        made["container"] = _container(container, docker, is_host=is_host)
    if is_host:
        made["portDefinitions"] = _port_definitions(made)
    else:
        made.pop("portDefinitions", None)


def _named(address: Json | None) -> Json:
    given = address or {}
    named: Json = {"mode": "container", "name": given.get("networkName", "default")}
    return {**named, "labels": given["labels"]} if given.get("labels") else named


def _container(container: Json, docker: Json, *, is_host: bool) -> Json:
    made: Json = {"type": container.get("type", "MESOS"), **container}
    made["volumes"] = list(container.get("volumes") or ())
    if docker:
        kept = {k: v for k, v in docker.items() if k not in {"network", "portMappings"}}
        kept.setdefault("forcePullImage", bool(kept.pop("forcePull", False)))
        if made["type"] == "DOCKER":
            kept.setdefault("parameters", [])
            kept.setdefault("privileged", False)
        made["docker"] = kept
    mappings = container.get("portMappings", docker.get("portMappings"))
    made.pop("portMappings", None)
    if not is_host:
        default = [{"containerPort": 0, "name": "default"}]
        made["portMappings"] = [
            {"containerPort": 0, "hostPort": 0, "labels": {}, "protocol": "tcp", "servicePort": 0,
             **one}
            for one in (default if mappings is None else mappings)
        ]  # fmt: skip
    return made


def _port_definitions(made: Json) -> list[Json]:
    given: list[Json] | None = made.get("portDefinitions")
    if given is None and made.get("ports") is not None:
        given = [{"port": port} for port in made["ports"]]
    if given is None:
        given = [{"port": 0, "name": "default"}]
    return [{"port": 0, **one, "protocol": one.get("protocol", "tcp")} for one in given]


def _set_strategies(made: Json) -> None:
    container: Json = made.get("container") or {}
    resident = any("persistent" in one for one in container.get("volumes", ()))
    external = any("external" in one for one in container.get("volumes", ()))
    labels: Json = made.get("labels") or {}
    single = labels.get("MARATHON_SINGLE_INSTANCE_APP") == "true"
    over, least = 1, 1
    if single or external:
        over, least = 0, 0
    elif resident:
        over, least = 0, 0.5
    made["upgradeStrategy"] = {
        "maximumOverCapacity": over,
        "minimumHealthCapacity": least,
        **(made.get("upgradeStrategy") or {}),
    }
    if made.get("unreachableStrategy") is None:
        made["unreachableStrategy"] = (
            "disabled" if resident else {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0}
        )


def capacity(app: App) -> tuple[int, int]:
    """During an upgrade: how many must stay healthy, and how many may be there at most."""
    strategy = cast("dict[str, Any]", app.definition["upgradeStrategy"])
    least = math.ceil(app.instances * float(strategy["minimumHealthCapacity"]))
    most = int(app.instances * (1 + float(strategy["maximumOverCapacity"])))
    return least, most
