"""Quota of a role: what it may use at most, and what is kept free for it.

Roles need no creating: they exist while somebody uses them. Deleting the resource clears the quota;
masters go on listing the role, which reads as no quota.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import Resource as DynamicResource

from clients.mesos.model import Quota as QuotaValue
from clients.mesos.model import Scalars
from components.errors import AlreadyThereError
from components.mesos.endpoint import MesosEndpoint, connect
from components.runtime import Json, ObjectProvider, Session

if TYPE_CHECKING:
    from clients.mesos import OperatorClient

Observed = Mapping[str, QuotaValue]


@dataclass(frozen=True)
class QuotaSpec:
    """What is declared. `force` lets a limit be set below what the role uses already."""

    quota: QuotaValue
    force: bool = False
    adopt: bool = False


@dataclass(frozen=True)
class UpdateQuota:
    """Set a role's quota; one without limits and guarantees clears it."""

    quota: QuotaValue
    force: bool


def plan(
    old: QuotaSpec | None, new: QuotaSpec | None, observed: Observed
) -> tuple[UpdateQuota, ...]:
    """Decide what to call so that `new` holds; other roles are left alone.

    Raises:
        AlreadyThereError: the role has another quota that was not declared here.
    """
    calls: list[UpdateQuota] = []
    if old is not None and (new is None or new.quota.role != old.quota.role):
        role = old.quota.role
        if role in observed:
            calls.append(UpdateQuota(QuotaValue(role), force=False))
    if new is not None:
        role = new.quota.role
        found = observed.get(role, QuotaValue(role))
        is_ours = old is not None and old.quota.role == role
        if not equal(found, new.quota):
            if role in observed and not is_ours and not new.adopt:
                raise AlreadyThereError(what=f"the quota of role {role}", seen=tell(found))
            calls.append(UpdateQuota(new.quota, new.force))
    return tuple(calls)


def equal(one: QuotaValue, other: QuotaValue) -> bool:
    """Whether two quota say the same; a guarantee of 0 says nothing, a limit of 0 does."""
    guaranteed = [{k: v for k, v in q.guarantees.items() if v} for q in (one, other)]
    return guaranteed[0] == guaranteed[1] and dict(one.limits) == dict(other.limits)


def tell(quota: QuotaValue) -> str:
    """In words."""
    limits = ", ".join(f"{name} ≤ {value:g}" for name, value in sorted(quota.limits.items()))
    kept = ", ".join(f"{name} ≥ {value:g}" for name, value in sorted(quota.guarantees.items()))
    return "; ".join(part for part in (limits, kept) if part) or "no quota"


class QuotaSession(Session[QuotaSpec, Observed, UpdateQuota]):
    """Quota of one cluster."""

    def __init__(self, client: OperatorClient) -> None:
        self._client = client

    async def observe(self, spec: QuotaSpec) -> Observed:
        """All quota."""
        del spec
        return {quota.role: quota for quota in await self._client.quota()}

    def plan(
        self, old: QuotaSpec | None, new: QuotaSpec | None, observed: Observed
    ) -> tuple[UpdateQuota, ...]:
        """See `plan`."""
        return plan(old, new, observed)

    async def perform(self, call: UpdateQuota) -> None:
        """Set it."""
        await self._client.update_quota([call.quota], force=call.force)

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.close()


class QuotaProvider(ObjectProvider[QuotaSpec, Observed, UpdateQuota]):
    """Carries quota to Pulumi."""

    def read_spec(self, spec: Json) -> QuotaSpec:
        """Parse."""
        quota = QuotaValue(
            str(spec["role"]), _scalars(spec["limits"]), _scalars(spec["guarantees"])
        )
        if not quota.limits and not quota.guarantees:
            msg = f"expected limits or guarantees for role {quota.role}, saw neither"
            raise ValueError(msg)
        return QuotaSpec(quota, force=bool(spec["force"]), adopt=bool(spec["adopt"]))

    def session(self, endpoint: Json, spec: Json) -> QuotaSession:
        """Connect."""
        del spec
        return QuotaSession(connect(endpoint))

    def identity(self, spec: Json) -> str:
        """The role."""
        return str(spec["role"])

    def expected(self, spec: QuotaSpec) -> Json:
        """Limits and guarantees."""
        return _told(spec.quota)

    def seen(self, spec: QuotaSpec, observed: Observed) -> Json | None:
        """The role's quota; none is gone."""
        found = observed.get(spec.quota.role)
        if found is None:
            return None
        return self.expected(spec) if equal(found, spec.quota) else _told(found)


def _scalars(values: Mapping[str, Any]) -> Scalars:
    return {str(name): float(value) for name, value in values.items()}


def _told(quota: QuotaValue) -> Json:
    return {"limits": dict(quota.limits), "guarantees": dict(quota.guarantees)}


@dataclass(frozen=True)
class QuotaArgs:
    """Scalars by resource: cpus, mem and disk (MB), gpus, network_bandwidth."""

    role: str
    limits: Mapping[str, float] = field(default_factory=dict[str, float])
    guarantees: Mapping[str, float] = field(default_factory=dict[str, float])
    force: bool = False
    adopt: bool = False

    @property
    def properties(self) -> Json:
        """As plain values of a resource."""
        return {
            "role": self.role,
            "limits": {name: float(value) for name, value in self.limits.items()},
            "guarantees": {name: float(value) for name, value in self.guarantees.items()},
            "force": self.force,
            "adopt": self.adopt,
        }


class Quota(DynamicResource, module="mesos", name="Quota"):
    """Quota of one role."""

    def __init__(
        self,
        name: str,
        args: QuotaArgs,
        endpoint: MesosEndpoint,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        properties = {"endpoint": endpoint.properties, "spec": args.properties}
        super().__init__(QuotaProvider(), name, properties, opts)
