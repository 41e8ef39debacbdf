"""Who is offered what: rounds of fair offers between roles and, within a role, between frameworks.

Each round goes over the agents twice, as the hierarchical allocator does. First roles get what
their guarantees still lack; then all roles share the rest, the one with the lowest dominant share
over its weight first, within its limits, and only as far as enough stays free for guarantees that
are not met yet. A declined offer hides that agent from that framework and role for a while, unless
it then has more than was declined. An offer carries all free ports of its agent, and tells when its
machine goes into maintenance.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from stacks.local.mesos import ports, registry, values
from stacks.local.mesos.cluster import Agent, Cluster, Framework, Offer
from stacks.local.mesos.values import Json, Scalars

# `min_allocatable_resources` of the real master: cpus:0.01|mem:32.
_CPUS_MIN = 0.01
_MEM_MIN = 32.0
_REFUSE_S = 5.0
Key = tuple[str, str, str]


@dataclass
class Filters:
    """Agents that frameworks do not want to hear of for a while, by role."""

    _refused: dict[Key, tuple[float, Scalars]] = field(
        default_factory=dict[Key, tuple[float, Scalars]]
    )

    def refuse(self, offer: Offer, filters: Json | None) -> None:
        """Remember a declined offer, or what an accepted one left over."""
        seconds = float((filters or {}).get("refuse_seconds", _REFUSE_S))
        if seconds > 0:
            until = time.monotonic() + seconds
            key = (offer.framework_id, offer.role, offer.agent_id)
            self._refused[key] = (until, offer.resources)

    def clear(self, framework_id: str) -> None:
        """Forget what a framework declined."""
        for key in [key for key in self._refused if key[0] == framework_id]:
            del self._refused[key]

    def hides(self, key: Key, available: Scalars) -> bool:
        """Whether an offer would be declined again."""
        entry = self._refused.get(key)
        if entry is None:
            return False
        until, refused = entry
        if time.monotonic() >= until:
            del self._refused[key]
            return False
        return values.contains(refused, available)


class Allocator:
    """Makes offers."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.filters = Filters()
        self.runs = 0
        self.run_ms: list[float] = []

    def run(self, document: Json, candidates: frozenset[str] | None = None) -> None:
        """One round over those agents; None: over all."""
        started = time.monotonic()
        members: dict[str, list[Framework]] = {}
        for framework in self._cluster.frameworks.values():
            if framework.connected:
                for role in framework.roles:
                    if role not in framework.suppressed:
                        members.setdefault(role, []).append(framework)
        if members:
            made = _Round(self._cluster, self.filters, members, document).run(candidates)
            for framework_id, offers in made.items():
                rendered = [self._render(offer, document) for offer in offers]
                event = {"type": "OFFERS", "offers": {"offers": rendered}}
                self._cluster.frameworks[framework_id].tell(event)
        self.runs += 1
        self.run_ms = [*self.run_ms[-99:], (time.monotonic() - started) * 1000]

    def _render(self, offer: Offer, document: Json) -> Json:
        agent = self._cluster.agents[offer.agent_id]
        host, port = agent.info["hostname"], agent.info["port"]
        resources = values.scalar_list(offer.resources, role=offer.role, allocated=True)
        if offer.ports:
            resources.append(ports.resource(offer.ports, role=offer.role))
        address = agent.pid.partition("@")[2].rpartition(":")[0]
        rendered: Json = {
            "id": {"value": offer.id},
            "framework_id": {"value": offer.framework_id},
            "agent_id": {"value": offer.agent_id},
            "hostname": host,
            "url": {
                "scheme": "http",
                "address": {"hostname": host, "ip": address, "port": port},
                "path": "/slave(1)",
                "query": [],
            },
            "resources": resources,
            "attributes": agent.info.get("attributes", []),
            "allocation_info": {"role": offer.role},
        }
        unavailability = unavailability_of(document, host, address)
        if unavailability is not None:
            rendered["unavailability"] = unavailability
        return rendered


class _Round:
    """What one round looks at; `held` and `free` follow the offers that it makes."""

    def __init__(
        self,
        cluster: Cluster,
        filters: Filters,
        members: dict[str, list[Framework]],
        document: Json,
    ) -> None:
        self._cluster = cluster
        self._filters = filters
        self._members = members
        self._weights = registry.section(document, "weights")
        quota = registry.section(document, "quota")
        self._limits = {role: _quantities(config, "limits") for role, config in quota.items()}
        self._guarantees = {
            role: found
            for role, config in quota.items()
            if (found := _quantities(config, "guarantees"))
        }
        named = {*members, *self._guarantees, *self._limits}
        roles = {part for role in named for part in lineage(role)}
        self._held = {role: cluster.held(role) for role in roles}
        self._made: dict[str, list[Offer]] = {}
        self._free = values.subtract(
            cluster.capacity,
            values.total(
                values.total((*f.used_by_role.values(), *f.offered_by_role.values()))
                for f in cluster.frameworks.values()
            ),
        )

    def run(self, candidates: frozenset[str] | None) -> dict[str, list[Offer]]:
        """Offers by framework."""
        known = self._cluster.agents
        looked_at = known.values() if candidates is None else _of(known, candidates)
        agents = [
            agent
            for agent in looked_at
            if agent.active and _allocatable(agent.available) and not self._is_hidden(agent)
        ]
        for agent in agents if self._guarantees else ():
            lacking = {role for role in self._guarantees if self._lacks(role)}
            due = [role for role in self._members if lineage(role)[0] in lacking]
            self._offer(agent, due, guaranteed=True)
        for agent in agents:
            self._offer(agent, self._members, guaranteed=False)
        return self._made

    def _is_hidden(self, agent: Agent) -> bool:
        """Whether everybody has declined an agent as it is: most are, most of the time."""
        return all(
            self._filters.hides((framework.id, role, agent.id), agent.available)
            for role, frameworks in self._members.items()
            for framework in frameworks
        )

    def _lacks(self, role: str) -> Scalars:
        """What a role's guarantee still lacks."""
        held, wanted = self._held[role], self._guarantees.get(role, {})
        return {n: v - held.get(n, 0.0) for n, v in wanted.items() if v > held.get(n, 0.0)}

    def _offer(self, agent: Agent, roles: Iterable[str], *, guaranteed: bool) -> None:
        """Offer an agent's resources to whom they are due; more may be left for another role."""
        for role in sorted(roles, key=lambda r: (self._shares(r), r)):
            available = agent.available
            if not _allocatable(available):
                return
            for framework in sorted(
                self._members[role], key=lambda f: (self._dominant(f.held(role)), f.id)
            ):
                offered = self._within(role, available, guaranteed=guaranteed)
                key = (framework.id, role, agent.id)
                if not _allocatable(offered) or self._filters.hides(key, offered):
                    continue
                self._make(agent, framework, role, offered)
                break

    def _make(self, agent: Agent, framework: Framework, role: str, offered: Scalars) -> None:
        number = self._cluster.next_offer_id()
        offer = Offer(number, framework.id, agent.id, role, offered, agent.free_ports)
        self._cluster.add_offer(offer)
        self._made.setdefault(framework.id, []).append(offer)
        for part in lineage(role):
            self._held[part] = values.add(self._held[part], offered)
        self._free = values.subtract(self._free, offered)

    def _within(self, role: str, available: Scalars, *, guaranteed: bool) -> Scalars:
        """What of an agent a role may have: quota is that of its top-level role."""
        top = lineage(role)[0]
        held, limits = self._held[top], self._limits.get(top, {})
        bound = {
            name: min(value, max(0.0, limits[name] - held.get(name, 0.0)))
            if name in limits
            else value
            for name, value in available.items()
        }
        if guaranteed:
            lacking = self._lacks(top)
            return {
                name: min(value, lacking.get(name, 0.0)) if name in self._guarantees[top] else value
                for name, value in bound.items()
            }
        if not self._guarantees:
            return bound
        kept = values.total(self._lacks(other) for other in self._guarantees if other != top)
        return {
            name: min(value, max(0.0, self._free.get(name, 0.0) - kept.get(name, 0.0)))
            for name, value in bound.items()
        }

    def _shares(self, role: str) -> tuple[float, ...]:
        """From the top of its tree down: siblings share what their parent has."""
        return tuple(
            self._dominant(self._held[part]) / float(self._weights.get(part, 1.0))
            for part in lineage(role)
        )

    def _dominant(self, held: Scalars) -> float:
        capacity = self._cluster.capacity
        shares = [amount / capacity[n] for n, amount in held.items() if capacity.get(n, 0.0) > 0]
        return max(shares, default=0.0)


@functools.lru_cache(maxsize=4096)
def lineage(role: str) -> tuple[str, ...]:
    """A role's ancestors from the top on, and itself: `a/b` is below `a`."""
    parts = role.split("/")
    return tuple("/".join(parts[: number + 1]) for number in range(len(parts)))


def _of(known: Mapping[str, Agent], candidates: frozenset[str]) -> list[Agent]:
    """Those that are still there, in an order that does not change from run to run."""
    return [known[agent_id] for agent_id in sorted(candidates) if agent_id in known]


def _quantities(config: Json, name: str) -> Scalars:
    return {key: float(item["value"]) for key, item in values.part(config, name).items()}


def _allocatable(resources: Scalars) -> bool:
    return resources.get("cpus", 0.0) >= _CPUS_MIN or resources.get("mem", 0.0) >= _MEM_MIN


def unavailability_of(document: Json, hostname: str, address: str) -> Json | None:
    """When a machine is scheduled for maintenance."""
    for window in registry.section(document, "schedule").get("windows", ()):
        for machine in window.get("machine_ids", ()):
            name = str(machine.get("hostname", hostname)).lower()
            if name == hostname.lower() and machine.get("ip", address) == address:
                return window["unavailability"]
    return None
