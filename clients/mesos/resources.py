"""Resources of an answer, as they are told of agents, roles and offers: sums and ranges."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from clients.mesos.model import Scalars


def scalars(resources: Iterable[dict[str, Any]] | None) -> Scalars:
    """Sums by name, of all roles and reservations together."""
    found: dict[str, float] = {}
    for resource in resources or ():
        scalar = resource.get("scalar")
        if scalar is None:
            continue
        name, value = str(resource["name"]), float(scalar["value"])
        # Sums alone need rounding, and most are of one.
        found[name] = round(found[name] + value, 3) if name in found else value
    return found


def ranges_of_ports(resources: Iterable[dict[str, Any]] | None) -> tuple[tuple[int, int], ...]:
    """First and last of each range, of all roles and reservations together."""
    return tuple(
        (int(one["begin"]), int(one["end"]))
        for resource in resources or ()
        if resource["name"] == "ports"
        for one in resource["ranges"].get("range") or ()
    )
