"""What is known of the sockets of one network namespace between two looks."""

from __future__ import annotations

from dataclasses import dataclass, field

from probe.agent.edges import Flow
from probe.agent.netlink import Dumped
from probe.agent.proc_net import Usage


@dataclass(slots=True)
class Open:
    """An open socket. `tries`: how often its owner was looked for."""

    flow: Flow
    is_server: bool
    inode: int
    pid: int = 0
    tries: int = 0


@dataclass
class Place:
    """One network namespace. `pid` is a process in it; None for our own."""

    namespace: int
    pid: int | None
    usage: Usage | None = None
    looked_at: float = float("-inf")
    open: dict[bytes, Open] = field(default_factory=dict[bytes, Open])
    keys: dict[int, set[bytes]] = field(default_factory=dict[int, set[bytes]])
    closing: set[bytes] = field(default_factory=set[bytes])
    listening: dict[int, set[bytes]] = field(default_factory=dict[int, set[bytes]])
    listeners: dict[bytes, tuple[int, Dumped]] = field(
        default_factory=dict[bytes, tuple[int, Dumped]]
    )
