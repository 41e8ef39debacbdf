"""What all components share: type tokens, names, and how options are handed down.

A token is `mesosplatform:<area>:<Noun>`. Names begin with what they are part of (`blue-zookeeper`,
`blue-zookeeper-0`), so that a URN tells colour and tier: contracts of the migration read them.
Children get `parent=self` and what is written out here, never the caller's options: those may hold
a parent, aliases or a protection that children must not inherit by accident.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pulumi

from components.workload import Places, Workload

PACKAGE = "mesosplatform"


def token(area: str, noun: str) -> str:
    """Type token of a component."""
    return f"{PACKAGE}:{area}:{noun}"


def workload_name(tier: str, color: str | None, detail: str | None = None) -> str:
    """Name of a workload: `blue-zookeeper`, `frameworks-sample`."""
    return "-".join(part for part in (color, tier, detail) if part)


class HostTarget(Places, Protocol):
    """Where workloads run."""

    def run(
        self,
        workload: Workload,
        *,
        parent: pulumi.Resource,
        depends_on: Sequence[pulumi.Resource],
        protect: bool,
    ) -> list[pulumi.Resource]:
        """Declare the resources that run a workload; returns the fewest after which it serves."""
        ...


@dataclass(frozen=True)
class Placing:
    """What every component is told besides its own arguments.

    `depends_on` holds what must exist first; keep it short (a gate, a readiness), because the
    engine's SDK is slow on long chains of dependencies.
    """

    target: HostTarget
    depends_on: Sequence[pulumi.Resource] = field(default_factory=tuple[pulumi.Resource, ...])
    protect: bool = False


class Component(pulumi.ComponentResource):
    """A component whose work is one workload. Who needs it serving depends on `ready`."""

    ready: list[pulumi.Resource]

    def __init__(self, area: str, noun: str, workload: Workload, placing: Placing) -> None:
        opts = pulumi.ResourceOptions(depends_on=list(placing.depends_on), protect=placing.protect)
        super().__init__(token(area, noun), workload.name, {}, opts)
        self.ready = placing.target.run(
            workload, parent=self, depends_on=placing.depends_on, protect=placing.protect
        )

    def finish(self, outputs: Mapping[str, Any]) -> None:
        """Register outputs; the last statement of a component's constructor."""
        self.register_outputs(dict(outputs))
