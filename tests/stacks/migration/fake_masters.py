"""Masters and a world around guards as plain values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

from clients.mesos.model import (
    Agent,
    Agents,
    Framework,
    Frameworks,
    Machine,
    MaintenanceSchedule,
    MaintenanceStatus,
    Quota,
    State,
    Task,
)
from clients.mesos.operator import OperatorClient
from stacks.agents import ListedAgents, OwnAgents
from stacks.migration.bounds import Bounds
from stacks.migration.executor import Situation
from stacks.migration.world import World
from stacks.topology import Color

BLUE, GREEN = Color.BLUE, Color.GREEN
SITUATION = cast("Situation", None)


@dataclass
class Masters:
    """Masters of one colour that keep a registry by a real master's rules."""

    masters: tuple[str, ...]
    flags_of: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    cluster: State | None = None
    kept_quota: dict[str, Quota] = field(default_factory=dict[str, Quota])
    schedule: MaintenanceSchedule = field(default_factory=MaintenanceSchedule)
    down: tuple[Machine, ...] = ()
    known: Agents = field(default_factory=lambda: Agents((), ()))

    async def agents(self) -> Agents:
        return self.known

    async def leader(self) -> str:
        return self.masters[0]

    async def flags(self, master: str | None = None) -> dict[str, str]:
        return self.flags_of.get(master or self.masters[0], {})

    async def state(self) -> State:
        assert self.cluster is not None
        return self.cluster

    async def frameworks(self) -> Frameworks:
        assert self.cluster is not None
        return self.cluster.frameworks

    async def quota(self) -> tuple[Quota, ...]:
        return tuple(self.kept_quota.values())

    async def weights(self) -> dict[str, float]:
        return {}

    async def maintenance_schedule(self) -> MaintenanceSchedule:
        return self.schedule

    async def maintenance_status(self) -> MaintenanceStatus:
        return MaintenanceStatus(down=self.down)

    async def update_quota(self, quota: list[Quota], *, force: bool) -> None:
        assert force
        self.kept_quota |= {one.role: one for one in quota}

    async def update_maintenance_schedule(self, schedule: MaintenanceSchedule) -> None:
        named = {machine for window in schedule.windows for machine in window.machines}
        assert named >= set(self.down), "a machine that is down cannot leave the schedule"
        self.schedule = schedule

    async def start_maintenance(self, machines: list[Machine]) -> None:
        named = {machine for window in self.schedule.windows for machine in window.machines}
        assert named >= set(machines), "only a scheduled machine can go down"
        self.down = (*self.down, *machines)

    async def stop_maintenance(self, machines: list[Machine]) -> None:
        self.down = tuple(one for one in self.down if one not in machines)
        windows = [
            replace(w, machines=tuple(m for m in w.machines if m not in machines))
            for w in self.schedule.windows
        ]
        self.schedule = MaintenanceSchedule(tuple(w for w in windows if w.machines))


def world_of(
    blue: Masters,
    green: Masters,
    *,
    consents: tuple[str, ...] = (),
    **parts: Any,
) -> World:
    sides = {BLUE: blue, GREEN: green}

    async def operator(color: Color) -> OperatorClient:
        return cast("OperatorClient", sides[color])

    async def leading() -> Color:
        return BLUE

    async def consented() -> frozenset[str]:
        return frozenset(consents)

    return cast(
        "World",
        SimpleNamespace(
            source=BLUE,
            target=GREEN,
            bounds=Bounds(masters_s=0.0, agents_s=0.0, frameworks_s=0.0, drain_s=0.0),
            operator=operator,
            leading=leading,
            consents=consented,
            masters=lambda color: sides[color].masters,  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType] - a stand-in's method
            **parts,
        ),
    )


def agent(number: int, address: str, **changes: Any) -> Agent:
    host, _, port = address.partition(":")
    made = Agent(
        id=f"agent-{number}", hostname=host, port=int(port), pid=f"slave(1)@{address}",
        version="1.11.0", active=True, deactivated=False, registered_at=1.0, reregistered_at=None,
        attributes={}, resources={}, allocated={}, drain=None,
    )  # fmt: skip
    return replace(made, **changes)


def listed(**addresses: tuple[str, ...]) -> Callable[[Color], OwnAgents]:
    """A world's `agents`, of each colour at these addresses."""
    return lambda color: ListedAgents(addresses.get(color, ()))


def framework(name: str, **changes: Any) -> Framework:
    made = Framework(f"id-{name}", name, ("*",), True, True, False, True, 7200.0, frozenset())
    return replace(made, **changes)


def task(name: str, framework_name: str, agent_number: int) -> Task:
    return Task(
        name,
        name,
        f"id-{framework_name}",
        f"agent-{agent_number}",
        "TASK_RUNNING",
        {},
        1,
        None,
        1.0,
    )
