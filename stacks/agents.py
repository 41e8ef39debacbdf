"""Which of the agents that masters know are a colour's.

On one machine every agent has an address before it runs, and a colour's are those at its addresses.
On a cluster every node of a pool has an agent, by whose address masters know it: nobody can declare
that, so a colour's are those that carry what all of them were declared with, its port and the ports
that they give to tasks. Colour is no attribute (components.mesos.agents says why), and the port
alone is also that of anybody's agent with Mesos' usual settings.

Pure: no input or output.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clients.mesos.model import Agent, Agents


@dataclass(frozen=True)
class ListedAgents:
    """Agents whose addresses, `host:port`, are known before they run. Without any: a colour that
    has none now."""

    addresses: tuple[str, ...] = ()

    def describe(self) -> str:
        """For people."""
        return ", ".join(self.addresses) or "none is declared"

    def own(self, known: Iterable[Agent]) -> tuple[Agent, ...]:
        """Those of them that masters know."""
        by_address = {agent.address: agent for agent in known}
        return tuple(by_address[one] for one in self.addresses if one in by_address)

    def lacking(self, known: Agents, beside: Sequence[Agent] = ()) -> tuple[str, ...]:
        """What is not there, for people. `beside` says nothing here."""
        del beside
        there = {agent.address for agent in known.registered}
        return tuple(f"agent {a} is not registered" for a in self.addresses if a not in there)


@dataclass(frozen=True)
class NodeAgents:
    """Agents on every node that a pool's labels choose: at `port` of it, with the first and last of
    the ports that they give to tasks. There are at least `count`; how many nodes there are, only
    the API server knows."""

    port: int
    task_ports: tuple[int, int]
    count: int

    def describe(self) -> str:
        """For people."""
        first, last = self.task_ports
        return (
            f"{self.count} or more, as agents.count says, at port {self.port} of their nodes, "
            f"which give tasks ports {first} to {last}"
        )

    def own(self, known: Iterable[Agent]) -> tuple[Agent, ...]:
        """Those of them that masters know."""
        return tuple(agent for agent in known if self._is_own(agent))

    def _is_own(self, agent: Agent) -> bool:
        first, last = self.task_ports
        within = all(first <= begin and end <= last for begin, end in agent.ports)
        return agent.port == self.port and bool(agent.ports) and within

    def lacking(self, known: Agents, beside: Sequence[Agent] = ()) -> tuple[str, ...]:
        """What is not there, for people. `beside` are agents of the other colour, each on a node
        that has to have one of this colour too: both are declared for the same nodes."""
        found = self.own(known.registered)
        reasons = [
            # Of one that has not come back, only name and port are known.
            f"agent {one.id} has not come back"
            for one in known.recovered
            if one.port == self.port
        ]
        if len(found) < self.count:
            reasons.append(
                f"{len(found)} of {self.count} agents at port {self.port} are registered; where "
                "fewer nodes are meant, correct agents.count and update the stack"
            )
        empty = {agent.hostname for agent in beside} - {agent.hostname for agent in found}
        if empty:
            reasons.append(
                f"no agent at port {self.port} of {', '.join(sorted(empty))}, where the other "
                "colour has one"
            )
        return tuple(reasons)

    def as_output(self) -> dict[str, Any]:
        """As a stack exports it."""
        return {"port": self.port, "task_ports": list(self.task_ports), "count": self.count}


OwnAgents = ListedAgents | NodeAgents


def read(output: Any) -> OwnAgents | None:
    """A colour's agents as a stack exports them; None where it exports none."""
    if output is None:
        return None
    if isinstance(output, Mapping):
        told: Mapping[str, Any] = output  # pyright: ignore[reportUnknownVariableType] - of JSON
        first, last = told["task_ports"]
        return NodeAgents(int(told["port"]), (int(first), int(last)), int(told["count"]))
    return ListedAgents(tuple(map(str, output)))
