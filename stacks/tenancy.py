"""Tenants of a cluster: their share as run-time objects, and the secrets that somebody must fill.

Quota and weights belong to the cluster and not to a colour: their endpoint is every master of both,
in an order that never changes, so that no update of a migration touches them.
"""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from components.mesos.access import ZOOKEEPER
from components.mesos.endpoint import MesosEndpoint
from components.mesos.quota import Quota, QuotaArgs
from components.mesos.weight import DEFAULT, Weight, WeightArgs
from components.network.web_route import USERS
from components.workload import Secret
from stacks.config import StackConfig
from stacks.tiers import Tiers
from stacks.topology import Color


def declare_tenants(
    config: StackConfig, stack: str, tiers: Tiers, depends_on: Sequence[pulumi.Resource]
) -> None:
    """Declare quota and weight of each role that has any."""
    reached = config.kubernetes and config.kubernetes.operator
    if reached is None:
        return
    known = reached.masters or tuple(a for color in Color for a in tiers.masters(color))
    endpoint = MesosEndpoint(stack, known, reached.credential_file)
    opts = pulumi.ResourceOptions(depends_on=list(depends_on))
    for tenant in config.cluster.access.tenants:
        # No tier's name: no update of a migration may touch them.
        name = "-".join(["roles", *tenant.role.split("/")])
        if tenant.limits or tenant.guarantees:
            args = QuotaArgs(tenant.role, tenant.limits, tenant.guarantees)
            Quota(f"{name}-quota", args, endpoint, opts)
        if tenant.weight != DEFAULT:
            Weight(f"{name}-weight", WeightArgs(tenant.role, tenant.weight), endpoint, opts)


def secret_keys(config: StackConfig) -> tuple[list[str], list[str]]:
    """Keys of the Secret that pods mount, and of that of agents' pods: all that any of them may
    want at any position, so that no update of a migration changes it."""
    access = config.access
    kubernetes = config.kubernetes
    identity = [ZOOKEEPER] if kubernetes and kubernetes.zookeeper_acl else []
    sasl = kubernetes.sasl_users if kubernetes else ()
    users = [USERS] if config.services.web_route.replicas else []
    keys = [*map(str, Secret), *access.master_secrets, *identity, *sasl, *users]
    node_keys = [*([access.agent_secret] if access.agent_secret else []), *identity]
    return keys, node_keys
