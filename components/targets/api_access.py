"""Service accounts of the few workloads that use the API of Kubernetes, and what they may do."""

from __future__ import annotations

from typing import Protocol

import pulumi
from pulumi_kubernetes import core, rbac
from pulumi_kubernetes import meta as k8s_meta

from components.workload import Workload


class Place(Protocol):
    """Metadata of an object beside a workload, or where workloads of shape PER_NODE lie."""

    def __call__(self, *, per_node: bool) -> k8s_meta.v1.ObjectMetaArgs:
        """As said above."""
        ...


def declare(
    workload: Workload, place: Place, opts: pulumi.ResourceOptions
) -> list[pulumi.Resource]:
    """Declare the account of a workload, and its rules where their objects lie; returns what its
    pods wait for."""
    if not workload.api_rules:
        return []
    beside = place(per_node=False)
    account = core.v1.ServiceAccount(
        workload.name,
        metadata=beside,
        # Pods ask for their token; whoever names the account by mistake gets none.
        automount_service_account_token=False,
        opts=opts,
    )
    subject = rbac.v1.SubjectArgs(
        kind="ServiceAccount", name=workload.name, namespace=beside.namespace
    )
    metadata = place(per_node=any(rule.per_node for rule in workload.api_rules))
    role = rbac.v1.Role(
        workload.name,
        metadata=metadata,
        rules=[
            rbac.v1.PolicyRuleArgs(
                api_groups=[rule.group],
                resources=list(rule.resources),
                verbs=list(rule.verbs),
                resource_names=list(rule.names) or None,
            )
            for rule in workload.api_rules
        ],
        opts=opts,
    )
    binding = rbac.v1.RoleBinding(
        workload.name,
        metadata=metadata,
        role_ref=rbac.v1.RoleRefArgs(
            api_group="rbac.authorization.k8s.io", kind="Role", name=workload.name
        ),
        subjects=[subject],
        opts=opts,
    )
    return [account, role, binding]
