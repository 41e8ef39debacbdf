"""Namespaces: which pods they admit, and that nobody reaches anybody unless a policy says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi
from pulumi_kubernetes import core, meta, networking

from components.targets.network import deny_all

# Without it, a field that somebody changed by hand would be theirs, and updates would fail.
TAKE_BACK = {"pulumi.com/patchForce": "true"}
_LEVEL = "pod-security.kubernetes.io"


def declare(  # noqa: PLR0913 - the fields of an object
    name: str,
    namespace: str,
    level: str,
    notes: Mapping[str, str],
    opts: pulumi.ResourceOptions,
    *,
    may: Sequence[str] = (),
) -> list[pulumi.Resource]:
    """Declare a namespace that admits pods of a level, with notes on why it is not a stricter one;
    `may` are labels of what its pods may do with others'. Returns what everything in it depends
    on."""
    labels = {"app.kubernetes.io/managed-by": "pulumi", **dict.fromkeys(may, "true")}
    labels |= {f"{_LEVEL}/{mode}": level for mode in ("enforce", "audit", "warn")}
    made = core.v1.Namespace(
        name,
        metadata=meta.v1.ObjectMetaArgs(
            name=namespace, labels=labels, annotations={**TAKE_BACK, **notes}
        ),
        opts=opts,
    )
    denied = networking.v1.NetworkPolicy(
        f"{name}-deny",
        metadata=meta.v1.ObjectMetaArgs(
            name="deny-all", namespace=namespace, annotations=TAKE_BACK
        ),
        spec=deny_all(),
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[made])),
    )
    return [made, denied]
