"""Mesos' values that more than one part of the stand-in needs: resources, task states, times.

Resources are counted as scalars by name; ranges (ports) are carried along but not allocated. JSON
shapes follow Mesos' v1 protobufs, as in the recorded exchanges.
"""

from __future__ import annotations

import base64
import secrets
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

Json = dict[str, Any]

VERSION = "1.12.0"
BUILD = {"build_date": "2026-11-23 16:31:54", "build_time": 1795451514.0, "build_user": ""}
MASTER_CAPABILITIES = ("AGENT_UPDATE", "AGENT_DRAINING", "QUOTA_V2")
AGENT_CAPABILITIES = (
    "MULTI_ROLE",
    "HIERARCHICAL_ROLE",
    "RESERVATION_REFINEMENT",
    "RESOURCE_PROVIDER",
    "RESIZE_VOLUME",
    "AGENT_OPERATION_FEEDBACK",
    "AGENT_DRAINING",
    "TASK_RESOURCE_LIMITS",
)
TERMINAL_STATES = frozenset(
    {
        "TASK_FINISHED",
        "TASK_FAILED",
        "TASK_KILLED",
        "TASK_ERROR",
        "TASK_LOST",
        "TASK_DROPPED",
        "TASK_GONE",
        "TASK_GONE_BY_OPERATOR",
    }
)
# Scalars are kept to three digits, as Mesos does.
_DIGITS = 3
# Below it `g` prints no exponent.
_PLAIN_MAX = 1e6
_TASK_KILLING_STATE = "TASK_KILLING_STATE"
_LEGACY_SCALARS = ("disk", "mem", "gpus", "cpus")

Scalars = dict[str, float]


def scalars(resources: Iterable[Mapping[str, Any]]) -> Scalars:
    """Sum of scalar resources by name."""
    total: Scalars = {}
    for resource in resources:
        if "scalar" in resource:
            name = str(resource["name"])
            total[name] = round(total.get(name, 0.0) + float(resource["scalar"]["value"]), _DIGITS)
    return total


def add(left: Scalars, right: Scalars) -> Scalars:
    """Sum by name."""
    names = [*left, *(name for name in right if name not in left)]
    return {name: round(left.get(name, 0.0) + right.get(name, 0.0), _DIGITS) for name in names}


def subtract(left: Scalars, right: Scalars) -> Scalars:
    """Difference by name, of the names on the left."""
    return {name: round(value - right.get(name, 0.0), _DIGITS) for name, value in left.items()}


def total(parts: Iterable[Scalars]) -> Scalars:
    """Sum of many."""
    result: Scalars = {}
    for part in parts:
        result = add(result, part)
    return result


def contains(outer: Scalars, inner: Scalars) -> bool:
    """Whether every quantity of `inner` fits."""
    return all(value <= outer.get(name, 0.0) + 1e-9 for name, value in inner.items())


def number(value: float) -> str:
    """As Mesos prints quantities in messages: no trailing `.0`."""
    return (
        f"{value:g}" if abs(value) < _PLAIN_MAX else str(round(value, _DIGITS)).removesuffix(".0")
    )


def text(quantities: Scalars) -> str:
    """As Mesos prints them in messages: `cpus:8; mem:4096`, by name."""
    return "; ".join(f"{name}:{number(quantities[name])}" for name in sorted(quantities))


def scalar_list(
    quantities: Scalars, *, role: str | None = None, allocated: bool = False
) -> list[Json]:
    """Back to v1 resources; names in the order Mesos has them."""
    result: list[Json] = []
    for name in sorted(quantities, key=_resource_order):
        if quantities[name] <= 0:
            continue
        resource: Json = {"name": name, "type": "SCALAR", "scalar": {"value": quantities[name]}}
        if role is not None and not allocated:
            resource["role"] = role
        if allocated:
            resource["role"] = "*"
            resource["allocation_info"] = {"role": role or "*"}
        result.append(resource)
    return result


def _resource_order(name: str) -> tuple[int, str]:
    order = ("cpus", "mem", "disk", "gpus")
    return (order.index(name) if name in order else len(order), name)


def legacy(quantities: Scalars, ports: str | None = None) -> Json:
    """As the unversioned endpoints show resources: four numbers, ports where there are any."""
    result: Json = {name: quantities.get(name, 0.0) for name in _LEGACY_SCALARS}
    if ports is not None:
        result["ports"] = ports
    return result


def port_ranges(resources: Iterable[Mapping[str, Any]]) -> str | None:
    """Ranges of ports as text, `[31000-31100]`."""
    parts = [
        f"{piece['begin']}-{piece['end']}"
        for resource in resources
        if resource["name"] == "ports"
        for piece in resource["ranges"]["range"]
    ]
    return f"[{', '.join(parts)}]" if parts else None


def part(message: Mapping[str, Any], name: str) -> Json:
    """A message within a message; empty where it is absent."""
    found: Json | None = message.get(name)
    return found or {}


def value(message: Mapping[str, Any], name: str) -> str | None:
    """The text of an id such as `{"agent_id": {"value": …}}`; None where it is absent."""
    found = part(message, name).get("value")
    return None if found is None else str(found)


def now() -> float:
    """Seconds since the epoch, to the microsecond, as Mesos' JSON has them."""
    return round(time.time(), 6)


def nanoseconds(seconds: float) -> Json:
    """A TimeInfo or DurationInfo."""
    return {"nanoseconds": int(seconds * 1e9)}


def duration_s(info: Mapping[str, Any] | None, default: float) -> float:
    """Seconds of a DurationInfo, which comes in `nanoseconds` or, from people, in `seconds`."""
    if not info:
        return default
    if "seconds" in info:
        return float(info["seconds"])
    return float(info.get("nanoseconds", default * 1e9)) / 1e9


def grace_period_s(task: Mapping[str, Any], default: float) -> float:
    """What a framework gives a task to end, else what its agent gives."""
    return duration_s(part(task, "kill_policy").get("grace_period"), default)


def hears_of_kills(framework_info: Mapping[str, Any]) -> bool:
    """Whether a framework knows the state between a kill and its end."""
    found: list[Json] = framework_info.get("capabilities") or []
    return any(capability.get("type") == _TASK_KILLING_STATE for capability in found)


def update_uuid() -> str:
    """A fresh status update UUID: 16 bytes, base64."""
    return base64.b64encode(secrets.token_bytes(16)).decode()


def new_id() -> str:
    """A fresh UUID as text."""
    return str(uuid.uuid4())
