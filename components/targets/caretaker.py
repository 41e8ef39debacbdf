"""The workload that looks after another one: replaces its pods in order, copies its volumes, and
changes who votes in an ensemble.

It runs `controllers.caretaker` with the rights that this takes in its namespace, and no others.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from components.errors import ArgumentsError
from components.workload import (
    ApiRule,
    Member,
    Needs,
    Program,
    Replacing,
    Shape,
    Workload,
)

TIER = "caretakers"
_KINDS = {Shape.STATEFUL: "statefulsets", Shape.PER_NODE: "daemonsets"}
_HOUR_S = 3600


def is_needed(workload: Workload) -> bool:
    """Whether a workload wants to be looked after."""
    is_rolled = workload.replacement.order is not Replacing.ROLLING
    return is_rolled or workload.snapshots is not None or workload.electorate is not None


def comes_and_goes(workload: Workload) -> bool:
    """Whether who looks after a workload does so for a while, and so is never protected."""
    return is_needed(workload) and not is_needed(replace(workload, electorate=None))


def credential_of(workload: Workload) -> str | None:
    """The secret that looking after a workload takes."""
    if workload.electorate is not None:
        return workload.electorate.credential
    return workload.replacement.credential


def name_of(workload: Workload) -> str:
    """Name of the workload that looks after another, and of the class of its snapshots."""
    return f"{workload.name}-caretaker"


def caretaker(
    workload: Workload,
    program: Program | None,
    *,
    namespace: str,
    labels: dict[str, str],
    credential_file: str | None,
) -> Workload:
    """What looks after a workload whose pods and claims have these labels.

    Raises:
        ArgumentsError: nothing is known that could run it.
    """
    if program is None:
        msg = f"{workload.name}: expected a program that looks after its pods, saw none"
        raise ArgumentsError(msg)
    name = name_of(workload)
    credential = credential_of(workload)
    config: dict[str, Any] = {
        "namespace": namespace,
        "workload": workload.name,
        "kind": _KINDS[workload.shape],
        "labels": labels,
        "members": len(workload.members) if workload.running else 0,
        "order": _order(workload.replacement.order),
        "masters": list(workload.replacement.masters),
        "credential_file": credential_file if workload.replacement.credential else None,
    }
    if workload.electorate is not None:
        config["ensemble"] = {
            "servers": [
                {"id": one.id, "address": str(one.address), "description": one.description}
                for one in workload.electorate.members
            ],
            "voters": workload.electorate.voters,
            "credential_file": credential_file,
        }
    if workload.shape is Shape.PER_NODE:
        config["agent_port"] = next(iter(workload.members[0].ports.values()))
    if workload.snapshots is not None:
        config["copies"] = {
            "snapshot_class": f"{namespace}-{name}",
            "every_s": workload.snapshots.every_h * _HOUR_S,
            "keep": workload.snapshots.keep,
        }
    return Workload(
        name=name,
        tier=TIER,
        color=workload.color,
        shape=Shape.STATELESS,
        program=program,
        members=(Member(f"{name}-0", 0, json.dumps(config, indent=2) + "\n"),),
        config_suffix=".json",
        secrets=(credential,) if credential else (),
        needs=Needs(memory_mb=256, cpus=0.05),
        api_rules=_rules(workload),
    )


def _order(order: Replacing) -> str:
    return "none" if order is Replacing.ROLLING else str(order)


def _rules(workload: Workload) -> tuple[ApiRule, ...]:
    rules: list[ApiRule] = []
    if workload.replacement.order is not Replacing.ROLLING:
        own = (workload.name,)
        apart = workload.shape is Shape.PER_NODE
        verbs = ("get",) if workload.shape is Shape.STATEFUL else ("get", "patch")
        rules += [
            ApiRule("apps", (_KINDS[workload.shape],), verbs, own, apart),
            ApiRule("apps", ("controllerrevisions",), ("list",), (), apart),
            ApiRule("", ("pods",), ("list",), (), apart),
            ApiRule("", ("pods/eviction",), ("create",), (), apart),
        ]
    if workload.snapshots is not None:
        copies = ("create", "list", "delete")
        rules += [
            ApiRule("snapshot.storage.k8s.io", ("volumesnapshots",), copies),
            ApiRule("", ("persistentvolumeclaims",), ("list",)),
        ]
    return tuple(rules)
