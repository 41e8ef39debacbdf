"""What stands beside a cluster: the edge, names, metrics; left out unless asked for."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from components.network.discovery import Discovery, check_zone
from components.targets.image import check_image
from stacks.config_model import Model

Image = Annotated[str, AfterValidator(check_image)]


class EdgeConfig(Model):
    """HAProxy in front of Marathon's apps (docs/edge.md)."""

    replicas: int = Field(default=0, ge=0)
    """Replicas; 0: none. One machine has room for 1, and must have HAProxy."""
    group: str = Field(default="external", pattern=r"^[a-z][a-z0-9-]{0,20}$")
    """Apps that name it in their label HAPROXY_GROUP are served."""
    image: Image | None = None
    """On Kubernetes: this project with HAProxy 2.6 or newer."""


class DiscoveryConfig(Model):
    """Names of tasks, on Kubernetes."""

    kind: Discovery = Discovery.MESOS_DNS
    """`mesos-dns` or `consul`."""
    replicas: int = Field(default=0, ge=0)
    """Servers; 0: none. Consul's come in odd numbers."""
    zone: Annotated[str, AfterValidator(check_zone)] = "mesos"
    """What they answer for."""
    image: Image | None = None
    """Their image."""

    @model_validator(mode="after")
    def _has_an_image(self) -> DiscoveryConfig:
        if self.replicas and self.image is None:
            msg = "servers of names need an image"
            raise ValueError(msg)
        return self


class MetricsConfig(Model):
    """What Prometheus is told."""

    exporter: bool = False
    """Whether there is an exporter of Mesos' metrics for each colour."""
    objects: bool = False
    """On Kubernetes: whether ServiceMonitors, rules and dashboards are declared. Prometheus'
    operator must be installed."""
    labels: dict[str, str] = Field(default_factory=lambda: {"release": "prometheus"})
    """What the operator selects its objects by."""
    interval_s: int = Field(default=15, ge=5, le=60)
    """Between two scrapes."""


class ServicesConfig(Model):
    """Services beside a cluster."""

    edge: EdgeConfig = EdgeConfig()
    discovery: DiscoveryConfig = DiscoveryConfig()
    metrics: MetricsConfig = MetricsConfig()
