"""What a caretaker is told: which workload, in which order its pods go, which volumes to copy, and
who votes in it where it is an ensemble.

Unknown keys are errors. Durations are seconds.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

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


class MemberSettings(Part):
    """A server of an ensemble."""

    id: Annotated[int, Field(ge=1)]
    """The number that the others know it by."""
    address: str
    """`host:port` where clients reach it."""
    description: str
    """What the others are told of it: `host:quorum:election;host:client`."""


class EnsembleSettings(Part):
    """The ensemble of ZooKeeper that the workload is."""

    servers: tuple[MemberSettings, ...] = Field(min_length=3)
    """All that run."""
    voters: Annotated[int, Field(ge=3)]
    """So many of them vote, the first ones by id."""
    credential_file: Path
    """File with the super user's `super:password`."""
    timeout_s: Annotated[float, Field(gt=0)] = 10.0
    """Bound of a question, and of a change."""

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        ids = [server.id for server in self.servers]
        if ids != list(range(1, len(ids) + 1)):
            msg = f"expected servers by their ids from 1, saw {ids}"
            raise ValueError(msg)
        if self.voters % 2 == 0 or self.voters > len(ids):
            msg = f"expected an odd number of at most {len(ids)} voters, saw {self.voters}"
            raise ValueError(msg)
        return self

    @property
    def wanted(self) -> frozenset[int]:
        """Ids of those that vote."""
        return frozenset(range(1, self.voters + 1))


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
    ensemble: EnsembleSettings | None = None
    interval_s: Annotated[float, Field(gt=0)] = 5.0
    """Between two looks."""
