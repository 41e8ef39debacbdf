"""Offers against apps: what fits, why not, and the task that is launched.

The order of reasons is Marathon's funnel: an offer is counted under the first reason that refuses
it. Host ports are taken from the offer: named ones where `requirePorts` or a fixed host port says
so, else the lowest that are free.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from stacks.local.marathon.constraints import suits_all
from stacks.local.marathon.definition import App
from stacks.local.marathon.instances import Instance
from stacks.local.mesos import ports, values
from stacks.local.mesos.values import Json, Scalars

REASONS = (
    "UnfulfilledRole", "UnfulfilledConstraint", "NoCorrespondingReservationFound",
    "AgentMaintenance", "InsufficientCpus", "InsufficientMemory", "InsufficientDisk",
    "InsufficientGpus", "InsufficientPorts", "DeclinedScarceResources",
)  # fmt: skip
_SCALARS = {
    "cpus": "InsufficientCpus",
    "mem": "InsufficientMemory",
    "disk": "InsufficientDisk",
    "gpus": "InsufficientGpus",
}


@dataclass
class Left:
    """What is left of one offer."""

    scalars: Scalars
    ports: ports.Ranges

    @classmethod
    def of(cls, offer: Json) -> Left:
        """All of it."""
        return cls(values.scalars(offer["resources"]), ports.of(offer["resources"]))

    def take(self, app: App, host_ports: list[int]) -> None:
        """Take out what an instance of an app needs."""
        self.scalars = values.subtract(self.scalars, needs(app))
        self.ports = ports.subtract(self.ports, tuple((port, port) for port in host_ports))


def needs(app: App) -> Scalars:
    """Scalars of one instance."""
    wanted = {name: float(app.definition[name]) for name in _SCALARS}
    return {name: amount for name, amount in wanted.items() if amount > 0}


def attributes_of(offer: Json) -> dict[str, str]:
    """Text of an offer's attributes by name."""
    found: dict[str, str] = {}
    for item in offer.get("attributes", ()):
        if "text" in item:
            found[str(item["name"])] = str(item["text"]["value"])
        elif "scalar" in item:
            found[str(item["name"])] = values.number(float(item["scalar"]["value"]))
    return found


def reason_against(app: App, offer: Json, left: Left, placed: Iterable[Instance]) -> str | None:
    """Why an offer does not fit; None: it does."""
    allocated = values.part(offer, "allocation_info").get("role", "*")
    if allocated != app.definition["role"]:
        return "UnfulfilledRole"
    if not suits_all(app, str(offer["hostname"]), attributes_of(offer), placed):
        return "UnfulfilledConstraint"
    if "unavailability" in offer:
        return "AgentMaintenance"
    wanted = needs(app)
    for name, reason in _SCALARS.items():
        if wanted.get(name, 0.0) > left.scalars.get(name, 0.0) + 1e-9:
            return reason
    return "InsufficientPorts" if host_ports(app, left.ports) is None else None


def host_ports(app: App, free: ports.Ranges) -> list[int] | None:
    """Ports for an instance, one for each that the app names; None: they are not there."""
    chosen: list[int] = []
    if app.has_host_networking:
        fixed = bool(app.definition["requirePorts"])
        wanted = [int(port["port"]) if fixed else 0 for port in app.ports]
    else:
        wanted = [int(p["hostPort"]) for p in app.ports if p.get("hostPort") is not None]
    for port in wanted:
        if port and not ports.contains(free, ((port, port),)):
            return None
    taken = {port for port in wanted if port}
    rest = (port for begin, end in free for port in range(begin, end + 1) if port not in taken)
    for port in wanted:
        found = port or next(rest, None)
        if found is None:
            return None
        chosen.append(found)
    return chosen


def task_info(app: App, instance: Instance, offer: Json) -> Json:
    """What is launched."""
    allocation = {"role": values.part(offer, "allocation_info").get("role", "*")}
    resources = [
        {
            "name": name,
            "type": "SCALAR",
            "scalar": {"value": amount},
            "allocation_info": allocation,
        }
        for name, amount in needs(app).items()
    ]
    if instance.ports:
        pieces = ports.merge((port, port) for port in instance.ports)
        resources.append({**ports.resource(pieces), "allocation_info": allocation})
    info: Json = {
        "name": ".".join(reversed(app.id.strip("/").split("/"))),
        "task_id": {"value": instance.task_id},
        "agent_id": offer["agent_id"],
        "resources": resources,
        "command": {
            "shell": "args" not in app.definition,
            "value": command_of(app),
            "environment": {"variables": _variables(environment(app, instance))},
        },
        "labels": {"labels": [{"key": k, "value": v} for k, v in app.labels.items()]},
    }
    grace_s = app.definition.get("taskKillGracePeriodSeconds")
    if grace_s is not None:
        info["kill_policy"] = {"grace_period": {"nanoseconds": int(grace_s * 1e9)}}
    check = mesos_check(app, instance)
    if check is not None:
        info["health_check"] = check
    return info


def command_of(app: App) -> str:
    """A line for the shell; an image's own entry point cannot be run here."""
    import shlex

    if "cmd" in app.definition:
        return str(app.definition["cmd"])
    words: list[str] = list(app.definition.get("args", ()))
    return shlex.join(words) if words else "exec sleep 1000000"


def environment(app: App, instance: Instance) -> dict[str, str]:
    """Variables that Marathon gives every task; those of the app win."""
    made = {
        "MARATHON_APP_ID": app.id,
        "MARATHON_APP_VERSION": instance.version,
        "MARATHON_APP_LABELS": " ".join(sorted(k.upper() for k in app.labels)),
        "MARATHON_APP_RESOURCE_CPUS": str(app.definition["cpus"]),
        "MARATHON_APP_RESOURCE_MEM": str(app.definition["mem"]),
        "MARATHON_APP_RESOURCE_DISK": str(app.definition["disk"]),
        "MARATHON_APP_RESOURCE_GPUS": str(app.definition["gpus"]),
        "HOST": instance.host,
    }
    made |= {f"MARATHON_APP_LABEL_{k.upper()}": str(v) for k, v in app.labels.items()}
    for index, port in enumerate(instance.ports):
        made[f"PORT{index}"] = str(port)
        name = app.ports[index].get("name") if index < len(app.ports) else None
        if name:
            made[f"PORT_{str(name).upper().replace('-', '_')}"] = str(port)
    if instance.ports:
        made["PORT"] = str(instance.ports[0])
        made["PORTS"] = ",".join(str(port) for port in instance.ports)
    given: Mapping[str, Any] = app.definition.get("env") or {}
    # A secret needs a plugin that nobody ships: without it the variable is left out, silently.
    return made | {k: str(v) for k, v in given.items() if not isinstance(v, dict)}


def _variables(environment_: dict[str, str]) -> list[Json]:
    return [{"name": name, "value": value} for name, value in environment_.items()]


def mesos_check(app: App, instance: Instance) -> Json | None:
    """The one check that the executor runs: COMMAND and MESOS_* ones."""
    for check in app.health_checks:
        protocol = str(check["protocol"])
        if not protocol.startswith("MESOS_") and protocol != "COMMAND":
            continue
        made: Json = {
            "delay_seconds": check["delaySeconds"],
            "interval_seconds": check["intervalSeconds"],
            "timeout_seconds": check["timeoutSeconds"],
            "consecutive_failures": check["maxConsecutiveFailures"],
            "grace_period_seconds": check["gracePeriodSeconds"],
        }
        if protocol == "COMMAND":
            return {
                **made,
                "type": "COMMAND",
                "command": {"shell": True, "value": check["command"]["value"]},
            }
        port = check_port(check, instance)
        if protocol == "MESOS_TCP":
            return {**made, "type": "TCP", "tcp": {"port": port}}
        scheme = "https" if protocol.endswith("HTTPS") else "http"
        http = {"scheme": scheme, "port": port, "path": check.get("path", "/")}
        return {**made, "type": "HTTP", "http": http}
    return None


def check_port(check: Json, instance: Instance) -> int | None:
    """The port that a check looks at; None: the instance has none."""
    if "port" in check:
        return int(check["port"])
    index = int(check.get("portIndex", 0))
    return instance.ports[index] if index < len(instance.ports) else None
