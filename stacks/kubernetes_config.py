"""Configuration of the target `kubernetes`."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, Field, field_validator

from components.targets.image import check_image
from components.workload import Spread
from stacks.config_model import Model

Image = Annotated[str, AfterValidator(check_image)]


class ImagesConfig(Model):
    """Container images, pinned by digest. There is no default: nobody maintains one."""

    zookeeper: Image
    """Runs ZooKeeper servers: the official image, or one laid out like it."""
    mesos: Image
    """Runs masters and agents."""
    platform: Image
    """Runs the sync engine, the frameworks and the client groups."""


class KubernetesConfig(Model):
    """The target `kubernetes`."""

    images: ImagesConfig
    node_networks: tuple[str, ...] = Field(min_length=1)
    """Networks of the cluster's nodes, such as 10.0.0.0/16: agents use them, and so policies have
    to know them."""
    namespace: str = Field(default="mesos", pattern=r"^[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?$")
    """Namespace of every object but those of agents, which lie in `<namespace>-agents`."""
    spread: Spread = Spread.HOSTS
    """How far members of a tier are kept apart: `zones`, `hosts`, or `any` where there is one."""
    storage_class: str | None = None
    """Class of claimed volumes; the cluster's default when None."""
    volume_gib: int = Field(default=10, ge=1)
    """Size of each claimed volume."""
    ready_timeout_s: int = Field(default=600, ge=1)
    """An update fails when pods are not ready within this time; what was made stays."""

    @field_validator("node_networks")
    @classmethod
    def _are_networks(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for text in given:
            ipaddress.ip_network(text)
        return given
