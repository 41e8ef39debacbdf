"""Which server joins or leaves an ensemble next: one at a time, when it holds what was written.

A server that is empty, or far behind, may vote only after it has caught up: otherwise a majority
could be had without anybody who holds the data. Nothing changes while a server that stays does not
serve, so that every step leaves the quorum that it found; those that are gone anyway leave first,
and the leader last, because an election follows. Values in, one step out; the driver looks anew
after each. Source: ZooKeeper's Dynamic Reconfiguration guide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from controllers.caretaker.rolling import Done, Wait


class Mode(StrEnum):
    """What a server says that it is. One that does not vote yet follows too."""

    LEADER = "leader"
    FOLLOWER = "follower"
    OBSERVER = "observer"


@dataclass(frozen=True)
class Server:
    """A server that answers; `zxid` is the last transaction that it has."""

    mode: Mode
    zxid: int


@dataclass(frozen=True)
class Configuration:
    """Who votes, by ids, as the ensemble last agreed."""

    version: int
    voters: frozenset[int]


@dataclass(frozen=True)
class Join:
    """Give a server a vote, if the configuration is still of this version."""

    server: int
    version: int


@dataclass(frozen=True)
class Leave:
    """Take a server's vote, if the configuration is still of this version."""

    server: int
    version: int


Step = Join | Leave | Wait | Done


def next_step(  # noqa: PLR0911 - one a step
    configuration: Configuration,
    servers: Mapping[int, Server],
    *,
    wanted: frozenset[int],
    written: int,
) -> Step:
    """Decide the next step towards an ensemble in which `wanted` vote.

    `servers` are those that answer. `written` is the leader's last transaction of before they were
    asked: who has it had caught up.
    """
    voters = configuration.voters
    if voters == wanted:
        return Done()
    leaders = [number for number in voters & servers.keys() if _leads(servers[number])]
    if len(leaders) != 1:
        return Wait(f"{len(leaders)} servers say that they lead")
    stay = voters & wanted
    # Whoever leads may be one that leaves; somebody must be left to lead after it.
    if not stay:
        return Wait("no server that votes would stay: each has to be joined by others first")
    if missing := sorted(number for number in stay if not _holds(servers.get(number), written)):
        return Wait(f"server {missing[0]}, which stays, does not serve, or is behind")
    if joining := sorted(wanted - voters):
        behind = [number for number in joining if not _holds(servers.get(number), written)]
        ready = [number for number in joining if number not in behind]
        if ready:
            return Join(ready[0], configuration.version)
        return Wait(f"server {behind[0]}, which joins, does not serve, or is behind")
    leaving = sorted(
        voters - wanted,
        # What is gone takes nothing with it; an election is had once, at the end.
        key=lambda number: (number in servers, number in leaders, -number),
    )
    return Leave(leaving[0], configuration.version)


def _leads(server: Server) -> bool:
    return server.mode is Mode.LEADER


def _holds(server: Server | None, written: int) -> bool:
    return server is not None and server.mode is not Mode.OBSERVER and server.zxid >= written
