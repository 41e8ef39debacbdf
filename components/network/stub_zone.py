"""The cluster's own name servers hand a zone on: a file for CoreDNS, in a ConfigMap that it reads.

Installations let others add server blocks by a ConfigMap of their own (`coredns-custom` with k3s
and Azure), which the Corefile imports as `*.server`. Where it imports nothing, somebody adds that
line first; the Corefile itself is the cluster's, and is not touched.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes import core, meta

from components.base import token
from components.network.discovery import stub_zone
from components.targets.namespaces import TAKE_BACK


@dataclass(frozen=True)
class StubZoneArgs:
    """`address` is that of the servers' Service, `port` theirs; `config_map` lies in `namespace`.

    Raises:
        ArgumentsError: the zone is none, or the address.
    """

    zone: str
    address: str
    port: int
    namespace: str = "kube-system"
    config_map: str = "coredns-custom"

    def __post_init__(self) -> None:
        _ = self.block

    @property
    def block(self) -> str:
        """What CoreDNS reads."""
        return stub_zone(self.zone, [f"{self.address}:{self.port}"])


class StubZone(pulumi.ComponentResource):
    """The file; `opts` name the provider."""

    def __init__(self, name: str, args: StubZoneArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__(token("network", "StubZone"), name, {}, opts)
        core.v1.ConfigMap(
            name,
            metadata=meta.v1.ObjectMetaArgs(
                name=args.config_map, namespace=args.namespace, annotations=TAKE_BACK
            ),
            data={f"{args.zone}.server": args.block},
            opts=pulumi.ResourceOptions(parent=self, provider=opts.provider),
        )
        self.register_outputs({})
