"""What stands beside a cluster: the edge, names, metrics, the way to web interfaces, the probe;
nothing of it unless asked for.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from components.monitoring.probe_settings import check_app
from components.network.discovery import Discovery, check_zone
from stacks.config_model import Model
from stacks.kubernetes_config import Image, IssuerConfig


def _app(given: str) -> str:
    check_app(given)
    return given


App = Annotated[str, AfterValidator(_app)]


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
    """Whether there is an exporter of Mesos' metrics for each colour, and on Kubernetes one of
    Marathon's."""
    objects: bool = False
    """On Kubernetes: whether ServiceMonitors, rules and dashboards are declared. Prometheus'
    operator must be installed."""
    labels: dict[str, str] = Field(default_factory=lambda: {"release": "prometheus"})
    """What the operator selects its objects by."""
    interval_s: int = Field(default=15, ge=5, le=60)
    """Between two scrapes."""


class WebTlsConfig(Model):
    """The certificate that browsers are shown: the Secret `web-route-tls` with `tls.crt`, `tls.key`
    and `ca.crt`."""

    issuer: IssuerConfig | None = None
    """Makes that Secret, by cert-manager; None: somebody else has made it."""
    names: tuple[str, ...] = ()
    """Names by which browsers ask for the route."""


class WebRouteConfig(Model):
    """The way to the web interfaces of masters and Marathon on Kubernetes: by user and password.

    What hands requests on to it, such as an ingress, stands in a namespace with the label
    `mesos-platform/may-use-web: "true"`.
    """

    replicas: int = Field(default=0, ge=0)
    """Replicas; 0: none, and nobody outside the cluster reaches an interface."""
    image: Image | None = None
    """HAProxy 2.6 or newer with a shell, as the official image. Users are the secret
    `web-route-users`, a `userlist web-route` with the groups `viewers` and `operators`."""
    tls: WebTlsConfig | None = None
    """None: what stands in front of it ends TLS. Without any, passwords are not protected."""

    @model_validator(mode="after")
    def _has_an_image(self) -> Self:
        if self.replicas and self.image is None:
            msg = "expected an image of HAProxy for the route to web interfaces, saw none"
            raise ValueError(msg)
        return self


class ProbeConfig(Model):
    """The probe, on Kubernetes: an agent on every node, and two that watch the cluster."""

    apps: tuple[App, ...] = ()
    """Apps that are told what it sees, `http://host:port`; none: there is no probe."""
    namespace: str | None = Field(default=None, pattern=r"^[a-z0-9]([a-z0-9-]{0,55}[a-z0-9])?$")
    """Of who watches the cluster; `<namespace of the stack>-probe` when None. Agents look at nodes,
    which no level of pod security admits: they lie in `<namespace>-nodes`."""
    token_secret: str | None = None
    """Secret of both namespaces, filled by somebody else, whose key `token` apps are shown."""
    cluster: str | None = None
    """Name of the Kubernetes cluster in the report; that of the stack when None."""
    cri_socket: str = "containerd/containerd.sock"
    """Socket of the nodes' container runtime, below their /run."""
    watchers: int = Field(default=2, ge=1)
    """Those that watch the cluster, of which one is elected."""
    agent_memory_mb: int = Field(default=128, ge=64)
    """Memory that each agent may use at most."""
    watcher_memory_mb: int = Field(default=256, ge=64)
    """The same of each that watches the cluster."""
    image: Image | None = None
    """This project with its extra `probe`; the platform's when None."""


class ServicesConfig(Model):
    """Services beside a cluster."""

    edge: EdgeConfig = EdgeConfig()
    discovery: DiscoveryConfig = DiscoveryConfig()
    metrics: MetricsConfig = MetricsConfig()
    web_route: WebRouteConfig = WebRouteConfig()
    probe: ProbeConfig = ProbeConfig()
