"""What a caretaker is told: which workload, in which order its pods go, and which volumes to copy.

Unknown keys are errors. Durations are seconds.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field

from controllers.settings import ControllerSettings, Part


class Order(StrEnum):
    """In which order pods are replaced; `none`: somebody else replaces them."""

    NONE = "none"
    LEADER_LAST = "leader-last"
    DRAINED = "drained"


class Kind(StrEnum):
    """What the workload is."""

    STATEFUL_SET = "statefulsets"
    DAEMON_SET = "daemonsets"


class CopySettings(Part):
    """Copies of the workload's volumes."""

    snapshot_class: str
    """Name of the VolumeSnapshotClass."""
    every_s: Annotated[float, Field(ge=60)]
    """Between two copies of a volume."""
    keep: Annotated[int, Field(ge=1)]
    """Copies of each volume that stay."""


class CaretakerSettings(ControllerSettings):
    """All of it."""

    namespace: str
    workload: str
    """Name of the StatefulSet or DaemonSet."""
    kind: Kind
    labels: dict[str, str] = Field(min_length=1)
    """Of its pods and claims."""
    members: Annotated[int, Field(ge=0)] = 0
    """Pods of a StatefulSet."""
    order: Order = Order.NONE
    masters: tuple[str, ...] = ()
    """`host:port` of the masters, where the order asks who leads or drains."""
    agent_port: int | None = None
    """Port of the agents, which tells them from those of the other colour on the same node."""
    credential_file: Path | None = None
    """File with `principal:secret` of an operator."""
    copies: CopySettings | None = None
    interval_s: Annotated[float, Field(gt=0)] = 5.0
    """Between two looks."""
