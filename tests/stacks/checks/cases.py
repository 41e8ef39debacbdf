"""A small cluster: what is declared of it, and agents that masters tell of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from clients.mesos.model import Agent, Agents
from stacks.agents import ListedAgents
from stacks.checks.declared import Declared, Group, Profile
from stacks.topology import Color, Standing

MASTERS = ("m:1", "m:2", "m:3")
GROUP = Group(
    Color.BLUE,
    ("z:1", "z:2", "z:3"),
    MASTERS,
    ListedAgents(("a:1", "a:2")),
    voting=frozenset({1, 2, 3}),
)
RESOURCES = {"cpus": 8.0, "mem": 8192.0, "disk": 8192.0}
DECLARED = Declared(Standing(), (GROUP,), (Profile(RESOURCES),))


def agent(address: str, **changes: Any) -> Agent:
    host, _, port = address.partition(":")
    made = Agent(
        id=address, hostname=host, port=int(port), pid=f"slave(1)@{address}", version="1",
        active=True, deactivated=False, registered_at=0.0, reregistered_at=None, attributes={},
        resources=RESOURCES, allocated={}, drain=None,
    )  # fmt: skip
    return replace(made, **changes)


def known(*registered: Agent) -> Agents:
    return Agents(registered, ())
