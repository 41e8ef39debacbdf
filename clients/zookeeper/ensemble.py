"""What servers say of themselves, and an ensemble of who votes in it, as values. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from clients.zookeeper.errors import RefusedError

CONFIGURATION_PATH = "/zookeeper/config"
"""Where an ensemble keeps who votes; everybody may read it."""
_MODE = re.compile(r"^Mode: (\S+)", re.MULTILINE)
_ZXID = re.compile(r"^Zxid: 0x([0-9a-f]+)", re.MULTILINE)
_LINE = re.compile(r"server\.(?P<id>[0-9]+)=(?P<address>[^;]*?)(?P<watches>:observer)?(;.*)?")


@dataclass(frozen=True)
class ServerAnswer:
    """What a server says: `leader`, `follower`, …, and the last transaction that it has."""

    mode: str
    zxid: int


@dataclass(frozen=True)
class Ensemble:
    """Ids of who votes, and the version of that."""

    version: int
    voters: frozenset[int]


def parse_answer(text: str) -> ServerAnswer | None:
    """An answer to `srvr`; None: the server serves in no quorum."""
    mode, zxid = _MODE.search(text), _ZXID.search(text)
    return ServerAnswer(mode[1], int(zxid[1], 16)) if mode and zxid else None


def parse_configuration(text: str) -> Ensemble:
    """The configuration that an ensemble holds of itself.

    Raises:
        RefusedError: the text is none.
    """
    lines = text.splitlines()
    versions = [line.removeprefix("version=") for line in lines if line.startswith("version=")]
    servers = [found for line in lines if (found := _LINE.fullmatch(line))]
    if len(versions) != 1 or not servers:
        msg = (
            f"expected an ensemble's configuration in {CONFIGURATION_PATH}, saw {text!r}: its "
            "servers must have reconfigEnabled=true"
        )
        raise RefusedError(msg)
    voters = frozenset(int(one["id"]) for one in servers if not one["watches"])
    return Ensemble(int(versions[0], 16), voters)
