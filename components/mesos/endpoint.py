"""Where a cluster's masters are reached, and with which files: references, never secrets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi

from clients.access import Tls

if TYPE_CHECKING:
    from clients.mesos import OperatorClient

Json = dict[str, Any]
# An election takes some ten seconds; a call made meanwhile should outlive it.
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class MesosEndpoint:
    """A cluster's masters of today. `cluster` is its name for ever, whatever colour serves it.

    A leader that is none of `masters` is refused: under a projection, one colour's masters lead to
    another's.
    """

    cluster: str
    masters: pulumi.Input[Sequence[pulumi.Input[str]]]
    credential_file: pulumi.Input[str] | None = None
    ca_file: pulumi.Input[str] | None = None

    @property
    def properties(self) -> Json:
        """As plain values of a resource."""
        return {
            "cluster": self.cluster,
            "addresses": self.masters,
            "credential_file": self.credential_file or "",
            "ca_file": self.ca_file or "",
        }


def files(endpoint: Json) -> tuple[Path | None, Tls | None]:
    """Credential and TLS of an endpoint's properties."""
    credential, ca_file = endpoint.get("credential_file"), endpoint.get("ca_file")
    return (Path(credential) if credential else None, Tls(Path(ca_file)) if ca_file else None)


def connect(endpoint: Json) -> OperatorClient:
    """A client of an endpoint's properties."""
    from clients.mesos import OperatorClient  # noqa: PLC0415 - no preview needs httpx

    credential, tls = files(endpoint)
    return OperatorClient(endpoint["addresses"], credential, timeout_s=TIMEOUT_S, tls=tls)
