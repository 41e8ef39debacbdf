"""Which port of a stack's block is whose, and so how many of each one machine has room for.

A stack has 100 consecutive ports. Colours come first, at the same offsets each; what has no colour
stands above. Values only: configuration is checked against them before anything is declared.
"""

from __future__ import annotations

from components.workload import PortRole

SIZE = 100
COLOR_OFFSETS = {"blue": 0, "green": 40}
# Agents of one machine must not give the same port to two tasks.
TASK_PORTS = 4
_TASKS = 20
_ROLES = {
    PortRole.ZOOKEEPER_CLIENT: (0, 3),
    PortRole.ZOOKEEPER_QUORUM: (3, 3),
    PortRole.ZOOKEEPER_ELECTION: (6, 3),
    PortRole.MASTER: (10, 5),
    PortRole.EXPORTER: (9, 1),
    PortRole.AGENT: (15, 5),
}
_SHARED = {
    PortRole.FRAMEWORK: (80, 5),
    PortRole.MARATHON: (85, 3),
    PortRole.EDGE_HTTP: (88, 1),
    PortRole.EDGE_ADMIN: (89, 1),
    PortRole.ENGINE: (90, 1),
    PortRole.CLIENTS: (91, 9),
}


def room_for(role: PortRole) -> int:
    """How many ports a role has, in each colour where it has one."""
    return {**_ROLES, **_SHARED}[role][1]


def offset_of(role: PortRole, color: str | None) -> int:
    """Of the first port of a role in the block."""
    if color is None:
        return _SHARED[role][0]
    return COLOR_OFFSETS[color] + _ROLES[role][0]


def task_ports(color: str, index: int) -> tuple[int, int]:
    """First and last offset of the ports that an agent may give to its tasks."""
    first = COLOR_OFFSETS[color] + _TASKS + index * TASK_PORTS
    return first, first + TASK_PORTS - 1
