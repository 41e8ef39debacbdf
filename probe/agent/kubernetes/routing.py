"""Services and what leads to them, as far as a probe keeps it: names are the API's."""

from __future__ import annotations

import msgspec

from probe.agent.kubernetes.model import Condition, Int, Meta, ObjectRef, Texts


class ServicePort(msgspec.Struct, rename="camel"):
    """A port of a service."""

    name: str = ""
    port: Int = 0
    node_port: Int = 0
    protocol: str = "TCP"


class ServiceSpec(msgspec.Struct, rename="camel"):
    """What a service should be."""

    type: str = ""
    cluster_ips: list[str] | None = msgspec.field(default=None, name="clusterIPs")
    external_ips: list[str] | None = msgspec.field(default=None, name="externalIPs")
    external_name: str = ""
    ports: list[ServicePort] | None = None
    selector: Texts | None = None


class Outside(msgspec.Struct):
    """Where a load balancer is reached."""

    ip: str = ""
    hostname: str = ""


class Balancer(msgspec.Struct):
    """Of a service or an ingress."""

    ingress: list[Outside] | None = None


class Balanced(msgspec.Struct, rename="camel"):
    """A status that names a load balancer."""

    load_balancer: Balancer = msgspec.field(default_factory=Balancer)


class Service(msgspec.Struct):
    """One name for the pods that serve it."""

    metadata: Meta
    spec: ServiceSpec = msgspec.field(default_factory=ServiceSpec)
    status: Balanced = msgspec.field(default_factory=Balanced)


class EndpointConditions(msgspec.Struct):
    """Whether an endpoint is to be used; None counts as ready, the API says."""

    ready: bool | None = None


class Endpoint(msgspec.Struct, rename="camel"):
    """Somebody who serves."""

    addresses: list[str] | None = None
    conditions: EndpointConditions = msgspec.field(default_factory=EndpointConditions)
    target_ref: ObjectRef | None = None


class EndpointSlice(msgspec.Struct):
    """Some of a service's endpoints."""

    metadata: Meta
    endpoints: list[Endpoint] | None = None


class NamedBackend(msgspec.Struct):
    """A service of an ingress's own namespace."""

    name: str = ""


class Backend(msgspec.Struct):
    """Where an ingress leads to."""

    service: NamedBackend | None = None


class IngressPath(msgspec.Struct):
    """Requests for a path."""

    path: str = ""
    backend: Backend = msgspec.field(default_factory=Backend)


class IngressPaths(msgspec.Struct):
    """Of one host."""

    paths: list[IngressPath] | None = None


class IngressRule(msgspec.Struct):
    """Requests for a host."""

    host: str = ""
    http: IngressPaths = msgspec.field(default_factory=IngressPaths)


class IngressTls(msgspec.Struct):
    """Hosts with a certificate."""

    hosts: list[str] | None = None


class IngressSpec(msgspec.Struct, rename="camel"):
    """What an ingress should be."""

    ingress_class_name: str = ""
    default_backend: Backend | None = None
    rules: list[IngressRule] | None = None
    tls: list[IngressTls] | None = None


class Ingress(msgspec.Struct):
    """What leads HTTP requests from outside to services."""

    metadata: Meta
    spec: IngressSpec = msgspec.field(default_factory=IngressSpec)
    status: Balanced = msgspec.field(default_factory=Balanced)


class PathMatch(msgspec.Struct):
    """A path that is asked for."""

    value: str = "/"


class RouteMatch(msgspec.Struct):
    """Which requests a rule is for."""

    path: PathMatch = msgspec.field(default_factory=PathMatch)


class RouteRule(msgspec.Struct, rename="camel"):
    """Where some requests go."""

    matches: list[RouteMatch] | None = None
    backend_refs: list[ObjectRef] | None = None


class RouteSpec(msgspec.Struct, rename="camel"):
    """What a route should be."""

    parent_refs: list[ObjectRef] | None = None
    hostnames: list[str] | None = None
    rules: list[RouteRule] | None = None


class HttpRoute(msgspec.Struct):
    """What leads HTTP requests from a gateway to services."""

    metadata: Meta
    spec: RouteSpec = msgspec.field(default_factory=RouteSpec)


class Listener(msgspec.Struct):
    """Where a gateway listens."""

    hostname: str = ""
    port: Int = 0
    protocol: str = ""


class GatewaySpec(msgspec.Struct, rename="camel"):
    """What a gateway should be."""

    gateway_class_name: str = ""
    listeners: list[Listener] | None = None


class GatewayAddress(msgspec.Struct):
    """Where a gateway is reached."""

    value: str = ""


class GatewayStatus(msgspec.Struct):
    """How a gateway is."""

    addresses: list[GatewayAddress] | None = None
    conditions: list[Condition] | None = None


class Gateway(msgspec.Struct):
    """Where requests come into the cluster."""

    metadata: Meta
    spec: GatewaySpec = msgspec.field(default_factory=GatewaySpec)
    status: GatewayStatus = msgspec.field(default_factory=GatewayStatus)
