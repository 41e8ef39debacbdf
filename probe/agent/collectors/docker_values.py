"""What is told of a container that a Docker engine knows: pure, from its inspection.

Its command and its labels are not here, because they have to be judged first.
"""

from __future__ import annotations

from datetime import UTC, datetime

from probe.agent import docker
from probe.agent.text import clean, clean_all
from probe.report.schema import Value

_FRACTION_DIGITS = 6
# A pod's first container, which only holds its namespaces.
_PAUSE_LABELS = {"io.kubernetes.docker.type": "podsandbox", "io.cri-containerd.kind": "sandbox"}

_POD_LABEL = "io.kubernetes.pod.uid"


def facts(found: docker.Container) -> dict[str, Value]:
    """Columns of a container."""
    config, state, settings = found.config, found.state, found.network_settings
    labels = config.labels or {}
    networks = settings.networks or {}
    addresses = [
        address
        for one in networks.values()
        if one is not None
        for address in (one.ip_address, one.ip_v6_address)
        if address
    ]
    mode = found.host_config.network_mode
    return {
        "image": clean(found.image) or None,
        "name": clean(found.name.lstrip("/")),
        "image_name": clean(config.image),
        "runtime": "docker",
        "state": clean(state.status, 32),
        "health": clean(state.health.status, 32) if state.health is not None else None,
        "hostname": clean(config.hostname) or None,
        "pid": state.pid or None,
        "created_ms": time_ms(found.created),
        "started_ms": time_ms(state.started_at),
        "exit_code": None if state.pid else state.exit_code,
        "restarts": found.restart_count,
        "networks": clean_all(list(networks)),
        "addresses": clean_all(addresses),
        "ports": clean_all(ports(settings.ports or {})),
        "host_network": mode == "host",
        "pause": any(labels.get(name) == value for name, value in _PAUSE_LABELS.items()),
        "pod": clean(labels.get(_POD_LABEL, "")) or None,
        "task": mesos_task(config.env or []),
    }


def ports(bound: dict[str, list[docker.PortBinding] | None]) -> list[str]:
    """`0.0.0.0:8080->80/tcp`, or `80/tcp` for one that is not published."""
    found: list[str] = []
    for port, bindings in bound.items():
        for binding in bindings or ():
            host = f"[{binding.host_ip}]" if ":" in binding.host_ip else binding.host_ip
            found.append(f"{host}:{binding.host_port}->{port}")
        if not bindings:
            found.append(port)
    return found


def mesos_task(environment: list[str]) -> str | None:
    """The node of the Mesos task that a container runs, by what Mesos puts into its environment."""
    names = dict(
        one.split("=", 1) for one in environment if one.startswith("MESOS_") and "=" in one
    )
    framework, task = names.get("MESOS_FRAMEWORK_ID"), names.get("MESOS_EXECUTOR_ID")
    return f"{clean(framework)};{clean(task)}" if framework and task else None


def time_ms(text: str) -> int | None:
    """`2026-01-22T11:35:53.901949748Z` in ms since 1970; None for no time and for none at all."""
    if not text or text.startswith("0001-"):
        return None
    whole, dot, rest = text.partition(".")
    if dot:
        digits = rest.rstrip("Z").partition("+")[0].partition("-")[0]
        zone = rest[len(digits) :]
        text = f"{whole}.{digits[:_FRACTION_DIGITS]:0<6}{zone}"
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return round(when.timestamp() * 1000)
