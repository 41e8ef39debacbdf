"""Weight of a role: its share of what is offered, relative to others.

Masters know no "delete": a role without a weight has 1, so deleting the resource sets 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
from pulumi.dynamic import Resource as DynamicResource

from components.errors import AlreadyThereError
from components.mesos.endpoint import MesosEndpoint, connect
from components.runtime import Json, ObjectProvider, Session

if TYPE_CHECKING:
    from clients.mesos import OperatorClient

DEFAULT = 1.0
Observed = Mapping[str, float]


@dataclass(frozen=True)
class WeightSpec:
    """What is declared.

    Raises:
        ValueError: no role, or a weight that masters refuse.
    """

    role: str
    weight: float
    adopt: bool = False

    def __post_init__(self) -> None:
        if not self.role:
            msg = "expected a role, saw none"
            raise ValueError(msg)
        if not self.weight > 0:
            msg = f"expected a weight above 0 for role {self.role}, saw {self.weight:g}"
            raise ValueError(msg)


@dataclass(frozen=True)
class UpdateWeight:
    """Set a role's weight."""

    role: str
    weight: float


def plan(
    old: WeightSpec | None, new: WeightSpec | None, observed: Observed
) -> tuple[UpdateWeight, ...]:
    """Decide what to call so that `new` holds; other roles are left alone.

    Raises:
        AlreadyThereError: the role has another weight that was not declared here.
    """
    calls: list[UpdateWeight] = []
    is_left = old is not None and (new is None or new.role != old.role)
    if old is not None and is_left and observed.get(old.role, DEFAULT) != DEFAULT:
        calls.append(UpdateWeight(old.role, DEFAULT))
    if new is not None and (found := observed.get(new.role, DEFAULT)) != new.weight:
        is_ours = old is not None and old.role == new.role
        if found != DEFAULT and not is_ours and not new.adopt:
            raise AlreadyThereError(what=f"the weight of role {new.role}", seen=f"{found:g}")
        calls.append(UpdateWeight(new.role, new.weight))
    return tuple(calls)


class WeightSession(Session[WeightSpec, Observed, UpdateWeight]):
    """Weights of one cluster."""

    def __init__(self, client: OperatorClient) -> None:
        self._client = client

    async def observe(self, spec: WeightSpec) -> Observed:
        """All weights."""
        del spec
        return await self._client.weights()

    def plan(
        self, old: WeightSpec | None, new: WeightSpec | None, observed: Observed
    ) -> tuple[UpdateWeight, ...]:
        """See `plan`."""
        return plan(old, new, observed)

    async def perform(self, call: UpdateWeight) -> None:
        """Set it."""
        await self._client.update_weights({call.role: call.weight})

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.close()


class WeightProvider(ObjectProvider[WeightSpec, Observed, UpdateWeight]):
    """Carries weights to Pulumi."""

    def read_spec(self, spec: Json) -> WeightSpec:
        """Parse."""
        return WeightSpec(str(spec["role"]), float(spec["weight"]), adopt=bool(spec["adopt"]))

    def session(self, endpoint: Json, spec: Json) -> WeightSession:
        """Connect."""
        del spec
        return WeightSession(connect(endpoint))

    def identity(self, spec: Json) -> str:
        """The role, apart from its quota."""
        return f"{spec['role']}/weight"

    def expected(self, spec: WeightSpec) -> Json:
        """The weight."""
        return {"weight": spec.weight}

    def seen(self, spec: WeightSpec, observed: Observed) -> Json | None:
        """The role's weight; it always has one."""
        return {"weight": observed.get(spec.role, DEFAULT)}


@dataclass(frozen=True)
class WeightArgs:
    """A role and its weight, above 0."""

    role: str
    weight: float
    adopt: bool = False

    @property
    def properties(self) -> Json:
        """As plain values of a resource."""
        return {"role": self.role, "weight": float(self.weight), "adopt": self.adopt}


class Weight(DynamicResource, module="mesos", name="Weight"):
    """Weight of one role."""

    def __init__(
        self,
        name: str,
        args: WeightArgs,
        endpoint: MesosEndpoint,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        properties = {"endpoint": endpoint.properties, "spec": args.properties}
        super().__init__(WeightProvider(), name, properties, opts)
