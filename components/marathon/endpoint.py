"""Where Marathon's instances are reached, and with which files: references, never secrets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pulumi

from components.mesos.endpoint import TIMEOUT_S, files

if TYPE_CHECKING:
    from clients.marathon import MarathonClient

Json = dict[str, Any]


@dataclass(frozen=True)
class MarathonEndpoint:
    """Marathon's instances of today. `cluster` is its name for ever, whatever colour it runs on.

    A leader that is none of `instances` is refused, unless `any_leader` says that they are reached
    through something that hides them.
    """

    cluster: str
    instances: pulumi.Input[Sequence[pulumi.Input[str]]]
    credential_file: pulumi.Input[str] | None = None
    ca_file: pulumi.Input[str] | None = None
    any_leader: bool = False

    @property
    def properties(self) -> Json:
        """As plain values of a resource."""
        return {
            "cluster": self.cluster,
            "addresses": self.instances,
            "credential_file": self.credential_file or "",
            "ca_file": self.ca_file or "",
            "any_leader": self.any_leader,
        }


def connect(endpoint: Json) -> MarathonClient:
    """A client of an endpoint's properties."""
    from clients.marathon import MarathonClient  # noqa: PLC0415 - no preview needs httpx

    credential, tls = files(endpoint)
    return MarathonClient(
        endpoint["addresses"],
        credential,
        timeout_s=TIMEOUT_S,
        any_leader=bool(endpoint.get("any_leader", False)),
        tls=tls,
    )
