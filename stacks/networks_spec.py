"""Networks of containers, as a person writes them."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from controllers.node_network.profiles import Bridge, Overlay, Profile, check
from stacks.config_model import Model


class BridgeConfig(Model):
    """Containers of one node on a bridge of its own, let out by address translation."""

    subnet: str = "172.31.254.0/24"
    """Their addresses, the same on every node."""
    mtu: int = Field(default=1500, ge=576, le=9000)
    """Largest packet, in bytes."""
    ports: bool = False
    """Whether ports of the node lead to those that a container maps, by Mesos' own plugin
    `mesos-cni-port-mapper`; the agents' image has to hold it."""


class OverlayConfig(Model):
    """Containers of all nodes on one network, joined by VXLAN (UDP port 4789 among nodes)."""

    network: str = "10.200.0.0/16"
    """Their addresses, of which each node has a part."""
    node_prefix: int = 24
    """Bits of a part: 24 leaves 253 containers a node."""
    vni: int = 4711
    """Number of the VXLAN; another one than that of the cluster's own network."""
    mtu: int = Field(default=1450, ge=576)
    """Largest packet, in bytes: 50 less than nodes can send each other, at most 1450."""
    nodes: dict[int, str] = Field(min_length=1)
    """Addresses of nodes by number, which says whose part is whose. A number that was given once
    stays its node's; nodes learn of others within seconds, and no agent is replaced for it."""


class NetworksConfig(Model):
    """Networks for containers, by the names that tasks ask for; on every agent's node."""

    bridges: dict[str, BridgeConfig] = Field(default_factory=dict[str, BridgeConfig])
    overlays: dict[str, OverlayConfig] = Field(default_factory=dict[str, OverlayConfig])

    @property
    def declared(self) -> tuple[Profile, ...]:
        """As components take them."""
        return check(
            (
                *(Bridge(name, **dict(one)) for name, one in sorted(self.bridges.items())),
                *(Overlay(name, **dict(one)) for name, one in sorted(self.overlays.items())),
            )
        )

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        _ = self.declared
        return self
