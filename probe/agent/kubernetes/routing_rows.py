"""What is told of services and of what leads to them: pure, from what a probe keeps of them."""

from __future__ import annotations

from collections.abc import Iterator

from probe.agent.kubernetes.model import ObjectRef
from probe.agent.kubernetes.routing import (
    Balanced,
    Gateway,
    HttpRoute,
    Ingress,
    Service,
    ServicePort,
    ServiceSpec,
)
from probe.agent.kubernetes.rows import Row, Scope, is_true
from probe.agent.text import TEXT_CHARS_MAX, clean, clean_all

_ANY_HOST = "*"


def service(found: Service, scope: Scope) -> Row:
    """Columns of a service; its endpoints are told by their slices."""
    meta, spec = found.metadata, found.spec
    external = [*(spec.external_ips or ()), *_outside(found.status)]
    if spec.external_name:
        external.append(spec.external_name)
    return scope.named(meta.name, meta.namespace), {
        **scope.labelled(meta),
        "type": _type(spec),
        "addresses": clean_all([one for one in spec.cluster_ips or () if one != "None"]),
        "external": clean_all(external),
        "ports": clean_all([_port(one) for one in spec.ports or ()]),
        "selector": scope.pairs(spec.selector),
    }


def _type(spec: ServiceSpec) -> str:
    is_headless = spec.type == "ClusterIP" and "None" in (spec.cluster_ips or ())
    return "Headless" if is_headless else clean(spec.type)


def _port(port: ServicePort) -> str:
    number = f"{port.port}:{port.node_port}" if port.node_port else str(port.port)
    return f"{f'{port.name} ' if port.name else ''}{number}/{port.protocol}"


def _outside(status: Balanced) -> list[str]:
    return [one.ip or one.hostname for one in status.load_balancer.ingress or ()]


def ingress(found: Ingress, scope: Scope) -> Row:
    """Columns of an ingress."""
    meta, spec = found.metadata, found.spec
    routes: list[tuple[str, str]] = []
    for rule in spec.rules or ():
        for path in rule.http.paths or ():
            if path.backend.service is not None:
                place = f"{rule.host or _ANY_HOST}{path.path or '/'}"
                routes.append((place, path.backend.service.name))
    default = spec.default_backend
    if default is not None and default.service is not None:
        routes.append((_ANY_HOST, default.service.name))
    return f"{scope.cluster};Ingress;{clean(meta.namespace)}/{clean(meta.name)}", {
        **scope.labelled(meta),
        "kind": "Ingress",
        "class": clean(spec.ingress_class_name) or None,
        "gateways": [],
        "services": _services([(meta.namespace, name) for _, name in routes], scope),
        "hosts": clean_all([rule.host for rule in spec.rules or () if rule.host]),
        "routes": clean_all([f"{place} {name}" for place, name in routes], TEXT_CHARS_MAX),
        "addresses": clean_all(_outside(found.status)),
        "tls_hosts": clean_all([host for tls in spec.tls or () for host in tls.hosts or ()]),
    }


def route(found: HttpRoute, scope: Scope) -> Row:
    """Columns of a route of a gateway."""
    meta, spec = found.metadata, found.spec
    hosts = spec.hostnames or []
    targets: list[tuple[str, str]] = []
    routes: list[str] = []
    for rule in spec.rules or ():
        paths = [match.path.value for match in rule.matches or ()] or ["/"]
        for backend in _of_kind(rule.backend_refs, "Service"):
            targets.append((backend.namespace or meta.namespace, backend.name))
            places = [f"{host}{path}" for host in hosts or [_ANY_HOST] for path in paths]
            routes += [f"{place} {backend.name}" for place in places]
    gateways = [
        scope.named(one.name, one.namespace or meta.namespace)
        for one in _of_kind(spec.parent_refs, "Gateway")
    ]
    return f"{scope.cluster};HTTPRoute;{clean(meta.namespace)}/{clean(meta.name)}", {
        **scope.labelled(meta),
        "kind": "HTTPRoute",
        "gateways": clean_all(gateways, TEXT_CHARS_MAX),
        "services": _services(targets, scope),
        "hosts": clean_all(hosts),
        "routes": clean_all(routes, TEXT_CHARS_MAX),
    }


def _of_kind(refs: list[ObjectRef] | None, kind: str) -> Iterator[ObjectRef]:
    """Those of a kind, which is the one that is meant where none is said."""
    return (one for one in refs or () if one.kind in {"", kind})


def _services(targets: list[tuple[str, str]], scope: Scope) -> list[str]:
    return clean_all([scope.named(name, place) for place, name in targets], TEXT_CHARS_MAX)


def gateway(found: Gateway, scope: Scope) -> Row:
    """Columns of a gateway."""
    meta, spec = found.metadata, found.spec
    listeners = [
        f"{one.protocol}:{one.port}{f' {one.hostname}' if one.hostname else ''}"
        for one in spec.listeners or ()
    ]
    return scope.named(meta.name, meta.namespace), {
        **scope.labelled(meta),
        "class": clean(spec.gateway_class_name) or None,
        "programmed": is_true(found.status.conditions or (), "Programmed"),
        "listeners": clean_all(listeners),
        "addresses": clean_all([one.value for one in found.status.addresses or ()]),
    }
