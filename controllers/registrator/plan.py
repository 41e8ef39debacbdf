"""What it takes to make Consul's catalog equal to what is wanted: a pure function of both.

Nodes and services that are ours bear a mark with the name of our cluster in their meta; nothing
else is ever touched. A node stands for the host of an agent (`external-node`: Consul has no agent
of its own there), a service for a port of an instance, its check for what Marathon says of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from clients.consul import Node, Service, Status
from controllers.instances import Problem
from controllers.registrator.entries import Entry

MARK = "mesos-platform"
_EXTERNAL = {"external-node": "true", "external-probe": "false"}
_OUTPUTS = {
    Status.PASSING: "Marathon: it runs",
    Status.CRITICAL: "Marathon: not healthy, or asked to end",
}


@dataclass(frozen=True)
class Held:
    """What the catalog has of a node: its services, and the statuses of checks by their ids. Of
    nodes that are not ours nothing but that they are there."""

    node: Node
    services: tuple[Service, ...] = ()
    statuses: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Register:
    """Let a service be there as it is here."""

    node: Node
    service: Service
    status: Status

    @property
    def check(self) -> str:
        """Id of its check."""
        return check_id(self.service.id)

    @property
    def output(self) -> str:
        """What its check says."""
        return _OUTPUTS[self.status]


@dataclass(frozen=True)
class Deregister:
    """Take a service away; None: the node, with the `services` that it has, all of them ours."""

    node: str
    service_id: str | None
    services: int = 1


@dataclass(frozen=True)
class Plan:
    """First what is registered, then what is deregistered: an app that moves has an answer all the
    time. `owned` are the services that are ours now, `wanted` those that are to be."""

    registers: tuple[Register, ...]
    deregisters: tuple[Deregister, ...]
    problems: tuple[Problem, ...]
    owned: int
    wanted: int

    @property
    def removed(self) -> int:
        """Services that are deregistered."""
        return sum(one.services for one in self.deregisters)

    def is_loss(self, share: float, entries: int) -> bool:
        """Whether all is taken away, or more than a share of what is there and than a few entries:
        a Marathon that has lost its state has no apps either."""
        if not self.removed:
            return False
        return not self.wanted or self.removed > max(entries, share * self.owned)


def plan(wanted: Sequence[tuple[Entry, str]], held: Sequence[Held], cluster: str) -> Plan:
    """Compare; `wanted` are entries with the addresses of their hosts."""
    by_node = {one.node.name: one for one in held}
    problems: dict[Problem, None] = {}
    registers: list[Register] = []
    kept: dict[str, set[str]] = {}
    for entry, address in wanted:
        there = by_node.get(node_name(cluster, entry.host))
        known = _service(there, entry.id)
        foreign = _foreign(there, known, cluster)
        if foreign is not None:
            problems[Problem(entry.app_id, "host", foreign)] = None
            continue
        register = _register(entry, address, cluster, there)
        kept.setdefault(register.node.name, set()).add(entry.id)
        if there is None or not _is_there(register, known, there):
            registers.append(register)
    ours = [one for one in held if is_ours(one.node.meta, cluster)]
    deregisters = [
        call for one in ours for call in _deregisters(one, kept.get(one.node.name, set()), cluster)
    ]
    return Plan(
        tuple(registers),
        tuple(deregisters),
        tuple(problems),
        owned=sum(is_ours(service.meta, cluster) for one in ours for service in one.services),
        wanted=len(wanted),
    )


def after(held: Sequence[Held], calls: Sequence[Register | Deregister]) -> tuple[Held, ...]:
    """What the catalog has once calls were made."""
    found = {one.node.name: one for one in held}
    for call in calls:
        if isinstance(call, Register):
            before = found.get(call.node.name, Held(call.node))
            others = [one for one in before.services if one.id != call.service.id]
            statuses = {**before.statuses, call.check: str(call.status)}
            found[call.node.name] = Held(call.node, (*others, call.service), statuses)
        elif call.service_id is None:
            found.pop(call.node, None)
        elif call.node in found:
            before = found[call.node]
            left = tuple(one for one in before.services if one.id != call.service_id)
            own = check_id(call.service_id)
            statuses = {check: one for check, one in before.statuses.items() if check != own}
            found[call.node] = Held(before.node, left, statuses)
    return tuple(found.values())


def is_ours(meta: Mapping[str, str], cluster: str) -> bool:
    """Whether a node or a service bears our mark."""
    return meta.get(MARK) == cluster


def node_name(cluster: str, host: str) -> str:
    """The node of an agent's host; an agent of Consul's own there has the host's name itself."""
    return f"{cluster}-{host}"


def check_id(service_id: str) -> str:
    """Id of a service's check, on its node."""
    return f"{MARK}:{service_id}"


def _foreign(held: Held | None, known: Service | None, cluster: str) -> str | None:
    """What of somebody else's stands in the place of an entry."""
    if held is not None and not is_ours(held.node.meta, cluster):
        return f"Consul has a node {held.node.name} that is not ours"
    if known is not None and not is_ours(known.meta, cluster):
        return f"Consul has a service {known.id} that is not ours"
    return None


def _register(entry: Entry, address: str, cluster: str, held: Held | None) -> Register:
    mark = {MARK: cluster}
    status = entry.status
    if status is None:
        last = held.statuses.get(check_id(entry.id)) if held else None
        status = Status.PASSING if last == Status.PASSING else Status.CRITICAL
    meta = {**mark, "app": entry.app_id}
    return Register(
        Node(node_name(cluster, entry.host), address, {**_EXTERNAL, **mark}),
        Service(entry.id, entry.name, address, entry.port, entry.tags, meta),
        status,
    )


def _service(held: Held | None, service_id: str) -> Service | None:
    services = held.services if held else ()
    return next((one for one in services if one.id == service_id), None)


def _is_there(register: Register, known: Service | None, held: Held) -> bool:
    is_same = held.node == register.node and known == register.service
    return is_same and held.statuses.get(register.check) == register.status


def _deregisters(held: Held, kept: set[str], cluster: str) -> list[Deregister]:
    ours = [one.id for one in held.services if is_ours(one.meta, cluster)]
    gone = [one for one in ours if one not in kept]
    if not kept and len(ours) == len(held.services):
        return [Deregister(held.node.name, None, len(gone))]
    return [Deregister(held.node.name, one) for one in gone]
