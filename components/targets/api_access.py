"""Service accounts of the few who use the API of Kubernetes, and what they may do there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import pulumi
from pulumi_kubernetes import core, rbac
from pulumi_kubernetes import meta as k8s_meta

from components.workload import ApiRule


class Place(Protocol):
    """Metadata of an object beside workloads, or where those of shape PER_NODE lie."""

    def __call__(self, *, per_node: bool) -> k8s_meta.v1.ObjectMetaArgs:
        """As said above."""
        ...


def declare(
    name: str, rules: Sequence[ApiRule], place: Place, opts: pulumi.ResourceOptions
) -> list[pulumi.Resource]:
    """Declare an account, and its rules where their objects lie; returns what pods that use it
    wait for."""
    if not rules:
        return []
    beside = place(per_node=False)
    account = core.v1.ServiceAccount(
        name,
        metadata=beside,
        # Pods ask for their token; whoever names the account by mistake gets none.
        automount_service_account_token=False,
        opts=opts,
    )
    subject = rbac.v1.SubjectArgs(kind="ServiceAccount", name=name, namespace=beside.namespace)
    metadata = place(per_node=any(rule.per_node for rule in rules))
    role = rbac.v1.Role(
        name,
        metadata=metadata,
        rules=[
            rbac.v1.PolicyRuleArgs(
                api_groups=[rule.group],
                resources=list(rule.resources),
                verbs=list(rule.verbs),
                resource_names=list(rule.names) or None,
            )
            for rule in rules
        ],
        opts=opts,
    )
    binding = rbac.v1.RoleBinding(
        name,
        metadata=metadata,
        role_ref=rbac.v1.RoleRefArgs(api_group="rbac.authorization.k8s.io", kind="Role", name=name),
        subjects=[subject],
        opts=opts,
    )
    return [account, role, binding]
