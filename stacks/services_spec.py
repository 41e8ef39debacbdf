"""What stands beside a cluster: the edge, names, metrics, the way to web interfaces, the probe;
nothing of it unless asked for.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from components.monitoring.elasticsearch import ElasticsearchArgs, Operation, check_version
from components.monitoring.logs import Keeping
from components.monitoring.probe_settings import check_app
from components.monitoring.probe_watch import Watch
from components.network.discovery import Discovery, check_zone
from stacks.config_model import Model
from stacks.kubernetes_config import Image, IssuerConfig


def _app(given: str) -> str:
    check_app(given)
    return given


App = Annotated[str, AfterValidator(_app)]


def _is_address(text: str) -> str:
    return str(ipaddress.ip_address(text))


class EdgeConfig(Model):
    """HAProxy in front of Marathon's apps (docs/edge.md)."""

    replicas: int = Field(default=0, ge=0)
    """Replicas; 0: none. One machine has room for 1, and must have HAProxy."""
    group: str = Field(default="external", pattern=r"^[a-z][a-z0-9-]{0,20}$")
    """Apps that name it in their label HAPROXY_GROUP are served."""
    image: Image | None = None
    """On Kubernetes: `edge` of components/images, or this project with HAProxy 2.6 or newer."""


class StubZoneConfig(Model):
    """How the cluster's name servers learn of the zone: a ConfigMap that the Corefile of CoreDNS
    imports as `*.server`."""

    address: Annotated[str, AfterValidator(_is_address)]
    """A free address of the cluster's network of Services, for all servers of the zone: name
    servers are told addresses, which must outlive every Service."""
    namespace: str = "kube-system"
    """Where it lies."""
    config_map: str = "coredns-custom"
    """Its name: that of k3s and Azure; elsewhere whatever the Corefile imports. It is the stack's
    own, and nobody else may have made it."""


class DiscoveryConfig(Model):
    """Names of tasks, on Kubernetes."""

    kind: Discovery = Discovery.MESOS_DNS
    """`mesos-dns` or `consul`, which a registrator tells of Marathon's apps
    (docs/registrator.md)."""
    replicas: int = Field(default=0, ge=0)
    """Servers; 0: none. Consul's come in odd numbers."""
    zone: Annotated[str, AfterValidator(check_zone)] = "mesos"
    """What they answer for."""
    image: Image | None = None
    """Their image. That of Mesos-DNS has `mesos-dns` on PATH or as `/mesos-dns`, a shell, `cat` and
    `mkdir`. It is a principal of its own with masters, `principal-mesos-dns`, which sees frameworks
    and tasks and does nothing."""
    stub_zone: StubZoneConfig | None = None
    """None: somebody else tells the cluster's name servers."""

    @model_validator(mode="after")
    def _has_an_image(self) -> DiscoveryConfig:
        if self.replicas and self.image is None:
            msg = "servers of names need an image"
            raise ValueError(msg)
        if self.stub_zone is not None and not self.replicas:
            msg = "stub_zone hands names on to servers of names: set replicas"
            raise ValueError(msg)
        if self.kind is Discovery.CONSUL and self.replicas and self.replicas % 2 == 0:
            msg = f"Consul's servers are a quorum: odd numbers (1, 3, 5), saw {self.replicas}"
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


class ProbeTlsConfig(Model):
    """Certificates for apps at https, as files of a Secret."""

    secret: str = Field(min_length=1)
    """Secret of both namespaces, filled by somebody else, with `ca.crt`: whom apps' certificates
    are checked against."""
    shows_own: bool = False
    """Whether apps are shown a certificate, `tls.crt` with `tls.key` of that Secret."""


class ProbeConfig(Model):
    """The probe, on Kubernetes: an agent on every node, and two that watch the cluster."""

    apps: tuple[App, ...] = ()
    """Apps that are told what it sees, `http://host:port`; none: there is no probe."""
    namespace: str | None = Field(default=None, pattern=r"^[a-z0-9]([a-z0-9-]{0,55}[a-z0-9])?$")
    """Of who watches the cluster; `<namespace of the stack>-probe` when None. Agents look at nodes,
    which no level of pod security admits: they lie in `<namespace>-nodes`."""
    token_secret: str | None = None
    """Secret of both namespaces, filled by somebody else, whose key `token` apps are shown."""
    tls: ProbeTlsConfig | None = None
    """None: certificates of apps are checked against the image's own authorities."""
    watch: tuple[Watch, ...] = (Watch.ZOOKEEPER,)
    """What of the stack is looked at, of both colours: `zookeeper` takes no credential; `mesos`
    the key `principal-probe`, of a principal that masters let see and do nothing; `marathon` the
    key `principal-marathon`, which may do everything. Keys are those of the Secret `mesos-platform`
    in `namespace`, filled by the secret store or by somebody else; masters want `principal-probe`
    in theirs, too."""
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
    """`probe` of components/images, or this project with its extra `probe`; `images.platform` when
    None."""


class LoggingConfig(Model):
    """Logs of masters, agents, ZooKeeper, the real Marathon and sandboxes in Elasticsearch, on
    Kubernetes."""

    replicas: int = Field(default=0, ge=0)
    """Servers of Elasticsearch, one or three and more; 0: logs stay where they are."""
    operation: Operation = Operation.ECK
    """`eck`: by Elastic's operator, which must be installed; `plain`: without it, with the Secrets
    `logs-es-elastic-user` and `logs-tls` that somebody makes in both namespaces."""
    version: str = "9.5.2"
    """Of Elasticsearch and Filebeat, as their images have it; 8.8.0 or newer."""
    elasticsearch: Image | None = None
    """Image of Elasticsearch."""
    filebeat: Image | None = None
    """Image of Filebeat."""
    issuer: IssuerConfig | None = None
    """Makes `logs-tls` for `plain` in the stack's namespace; None: somebody makes it."""
    memory_mb: int = Field(default=2048, ge=1024)
    """Of each server; half of it is heap."""
    days: int = 30
    """Logs are kept so long."""
    warm_after_days: int = 3
    """From then on nobody writes to an index any more, and it is made smaller."""
    index_gib: int = 30
    """A new index begins before one is larger, and after a day."""
    tolerations: tuple[str, ...] = ()
    """Keys of taints of nodes that are read too."""

    @property
    def keeping(self) -> Keeping:
        """As components take it."""
        return Keeping(self.days, self.warm_after_days, self.index_gib)

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        _ = self.keeping
        if not self.replicas:
            return self
        if self.elasticsearch is None or self.filebeat is None:
            msg = "logs need images of elasticsearch and filebeat"
            raise ValueError(msg)
        ElasticsearchArgs(self.elasticsearch, self.replicas, self.memory_mb)
        check_version(self.version)
        return self


class ServicesConfig(Model):
    """Services beside a cluster."""

    edge: EdgeConfig = EdgeConfig()
    discovery: DiscoveryConfig = DiscoveryConfig()
    logging: LoggingConfig = LoggingConfig()
    metrics: MetricsConfig = MetricsConfig()
    web_route: WebRouteConfig = WebRouteConfig()
    probe: ProbeConfig = ProbeConfig()
