"""Who is offered what: rounds of fair offers, bounded by quota limits and declined filters.

Each round hands every agent's free resources to the framework with the lowest dominant share over
its role's weight. Limits of a role cut what it is offered. A declined offer hides that agent from
that framework for a while, unless it then has more than was declined. Not here: guarantees held
back for roles that are away, and ranges such as ports.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from stacks.local.mesos import ports, registry, values
from stacks.local.mesos.cluster import Agent, Cluster, Framework, Offer
from stacks.local.mesos.values import Json, Scalars

# `min_allocatable_resources` of the real master: cpus:0.01|mem:32.
_CPUS_MIN = 0.01
_MEM_MIN = 32.0
_REFUSE_S = 5.0


@dataclass
class Filters:
    """Agents that frameworks do not want to hear of for a while."""

    _refused: dict[tuple[str, str], tuple[float, Scalars]] = field(
        default_factory=dict[tuple[str, str], tuple[float, Scalars]]
    )

    def refuse(self, offer: Offer, filters: Json | None) -> None:
        """Remember a declined offer, or what an accepted one left over."""
        seconds = float((filters or {}).get("refuse_seconds", _REFUSE_S))
        if seconds > 0:
            until = time.monotonic() + seconds
            self._refused[offer.framework_id, offer.agent_id] = (until, offer.resources)

    def clear(self, framework_id: str) -> None:
        """Forget what a framework declined."""
        for key in [key for key in self._refused if key[0] == framework_id]:
            del self._refused[key]

    def hides(self, framework_id: str, agent_id: str, available: Scalars) -> bool:
        """Whether an offer would be declined again."""
        entry = self._refused.get((framework_id, agent_id))
        if entry is None:
            return False
        until, refused = entry
        if time.monotonic() >= until:
            del self._refused[framework_id, agent_id]
            return False
        return values.contains(refused, available)


class Allocator:
    """Makes offers."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.filters = Filters()
        self.runs = 0
        self.run_ms: list[float] = []

    def run(self, document: Json) -> None:
        """One round."""
        started = time.monotonic()
        eligible = [
            framework
            for framework in self._cluster.frameworks.values()
            if framework.connected and not framework.suppressed
        ]
        made: dict[str, list[Offer]] = {}
        if eligible:
            capacity = self._cluster.capacity()
            for agent in self._cluster.agents.values():
                if agent.active:
                    self._offer(agent, eligible, capacity, document, made)
        for framework in eligible:
            offers = made.get(framework.id)
            if offers:
                rendered = [self._render(offer) for offer in offers]
                framework.tell({"type": "OFFERS", "offers": {"offers": rendered}})
        self.runs += 1
        self.run_ms = [*self.run_ms[-99:], (time.monotonic() - started) * 1000]

    def _offer(
        self,
        agent: Agent,
        eligible: list[Framework],
        capacity: Scalars,
        document: Json,
        made: dict[str, list[Offer]],
    ) -> None:
        available = agent.available
        if not _allocatable(available):
            return
        weights = registry.section(document, "weights")
        for framework in sorted(eligible, key=lambda f: (_share(f, capacity, weights), f.id)):
            role = framework.roles[0]
            offered = self._within_limits(role, available, document)
            if not _allocatable(offered):
                continue
            if self.filters.hides(framework.id, agent.id, offered):
                continue
            offer = Offer(
                self._cluster.next_offer_id(),
                framework.id,
                agent.id,
                role,
                offered,
                agent.free_ports,
            )
            self._cluster.add_offer(offer)
            made.setdefault(framework.id, []).append(offer)
            return

    def _within_limits(self, role: str, available: Scalars, document: Json) -> Scalars:
        config = values.part(registry.section(document, "quota"), role)
        limits = values.part(config, "limits")
        if not limits:
            return available
        held = values.add(
            self._cluster.consumed(role),
            values.total(o.resources for o in self._cluster.offers.values() if o.role == role),
        )
        return {
            name: min(value, max(0.0, float(limits[name]["value"]) - held.get(name, 0.0)))
            if name in limits
            else value
            for name, value in available.items()
        }

    def _render(self, offer: Offer) -> Json:
        agent = self._cluster.agents[offer.agent_id]
        host, port = agent.info["hostname"], agent.info["port"]
        resources = values.scalar_list(offer.resources, role=offer.role, allocated=True)
        if offer.ports:
            resources.append(ports.resource(offer.ports, role=offer.role))
        return {
            "id": {"value": offer.id},
            "framework_id": {"value": offer.framework_id},
            "agent_id": {"value": offer.agent_id},
            "hostname": host,
            "url": {
                "scheme": "http",
                "address": {
                    "hostname": host,
                    "ip": agent.pid.partition("@")[2].rpartition(":")[0],
                    "port": port,
                },
                "path": "/slave(1)",
                "query": [],
            },
            "resources": resources,
            "attributes": agent.info.get("attributes", []),
            "allocation_info": {"role": offer.role},
        }


def _allocatable(resources: Scalars) -> bool:
    return resources.get("cpus", 0.0) >= _CPUS_MIN or resources.get("mem", 0.0) >= _MEM_MIN


def _share(framework: Framework, capacity: Scalars, weights: Json) -> float:
    held = values.add(framework.used, framework.offered)
    shares = [held.get(name, 0.0) / value for name, value in capacity.items() if value > 0]
    return max(shares, default=0.0) / float(weights.get(framework.roles[0], 1.0))
