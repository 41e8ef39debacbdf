"""What every pod and every container is held to, said once.

No root, no capabilities, no way to more rights, a root that nobody writes to, the runtime's seccomp
profile, no API token, and no service links (a Service named `marathon` would inject
`MARATHON_PORT`, which Marathon reads as a flag).

These are the defaults of `Pod` and `Container`. Whoever departs from them passes the departure, and
says beside it why: agents and what stands before them (components.targets.pods, init_containers),
the probe (components.monitoring.probe_pods), Filebeat (components.monitoring.shipping), and servers
that an operator completes (components.monitoring.log_stack).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, TypedDict

from pulumi_kubernetes import core

USER = 10001
"""A user of no other meaning, for images that are made for none."""
ROOT = 0


class PodFields(TypedDict):
    """Fields of a pod's specification, as arguments."""

    enable_service_links: bool
    automount_service_account_token: bool
    security_context: core.v1.PodSecurityContextArgs


@dataclass(frozen=True)
class Pod:
    """What all containers of a pod are held to.

    They run as `user`, with a group of the same number, which owns their volumes; `ROOT` has none,
    and where it is None containers say who they are. Without `has_own_group` that of the image
    holds.
    """

    user: int | None = USER
    has_own_group: bool = True
    asks_api: bool = False

    def args(self) -> PodFields:
        """For objects of Kubernetes' own kinds."""
        return PodFields(
            **self._fields(), security_context=core.v1.PodSecurityContextArgs(**self._security())
        )

    def document(self) -> dict[str, Any]:
        """For objects of other projects' kinds, as Kubernetes writes it."""
        return _written({**self._fields(), "security_context": _written(self._security())})

    def _fields(self) -> dict[str, bool]:
        return {
            "enable_service_links": False,
            "automount_service_account_token": self.asks_api,
        }

    def _security(self) -> dict[str, Any]:
        owner = self.user or None
        return _given(
            run_as_non_root=True if owner else None,
            run_as_user=self.user,
            run_as_group=owner if self.has_own_group else None,
            fs_group=owner,
            seccomp_profile={"type": "RuntimeDefault"},
        )


@dataclass(frozen=True)
class Container:
    """What a container is held to, besides what its pod is.

    `adds` are capabilities, `user` is another than the pod's, `app_armor` another profile than the
    runtime's. Of one that `is_node` nothing is bound but its root, because nothing can be.
    """

    adds: tuple[str, ...] = ()
    user: int | None = None
    app_armor: str | None = None
    is_node: bool = False

    def args(self) -> core.v1.SecurityContextArgs:
        """For objects of Kubernetes' own kinds."""
        return core.v1.SecurityContextArgs(**self._security())

    def document(self) -> dict[str, Any]:
        """For objects of other projects' kinds, as Kubernetes writes it."""
        return _written(self._security())

    def _security(self) -> dict[str, Any]:
        bound = None if self.is_node else False
        return _given(
            privileged=True if self.is_node else None,
            run_as_user=self.user,
            allow_privilege_escalation=bound,
            read_only_root_filesystem=True,
            capabilities=None
            if self.is_node
            else _given(drop=["ALL"], add=list(self.adds) or None),
            app_armor_profile={"type": self.app_armor} if self.app_armor else None,
        )


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _written(fields: dict[str, Any]) -> dict[str, Any]:
    return {re.sub("_([a-z])", lambda m: m[1].upper(), key): of for key, of in fields.items()}
