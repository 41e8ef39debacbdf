"""Questions to an ensemble that need no engine: who serves and leads, which sessions are open.

Servers answer four-letter words on the client port: `srvr`, which every server allows, and `cons`,
which must be on `4lw.commands.whitelist`. All servers are asked at the same time, and one that
does not answer is a fact, not an error.

The epoch of a zxid is its upper half. A client that has seen a higher zxid than an ensemble's never
connects to it, so a target's epoch must be above its source's before clients move.
https://zookeeper.apache.org/doc/current/zookeeperAdmin.html#sc_4lw
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sync_engine.errors import (
    ConnectionLostError,
    EnsembleError,
    EnsembleUnreachableError,
    LaneError,
    NoNodeError,
)
from sync_engine.hosts import format_server, parse_hosts
from sync_engine.lane import Lane
from sync_engine.session import LaneState, SavedSession
from sync_engine.settings import SideAuth, SideTls, read_auth
from sync_engine.tls import make_context

_ANSWER_BYTES_MAX = 64 * 1024 * 1024
_SESSION_TIMEOUT_S = 10.0
_TIMEOUT_S = 10.0
_VERSION = re.compile(r"^Zookeeper version: ([^,\s]+?)(?:-[0-9a-f]{8,})?[,\s]", re.MULTILINE)
_MODE = re.compile(r"^Mode: (\S+)", re.MULTILINE)
_ZXID = re.compile(r"^Zxid: 0x([0-9a-f]+)", re.MULTILINE)
_SESSION = re.compile(r"[(,]sid=0x([0-9a-f]+)[,)]")
_LEADING = frozenset({"leader", "standalone"})


@dataclass(frozen=True)
class EnsembleAddress:
    """Where an ensemble is, and the file (0600) with `user:password` to read it with. With `tls`
    its servers are asked over TLS alone."""

    hosts: str
    auth_file: Path | None = None
    scheme: Literal["digest", "sasl"] = "digest"
    tls: SideTls | None = None


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """One server. `mode` is None while it has no quorum to serve with."""

    address: str
    reachable: bool
    mode: str | None = None
    zxid: int | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class EnsembleFacts:
    """All servers of an ensemble; `zxid` is the highest that one of them told, 0 if none did."""

    servers: tuple[ServerFacts, ...]
    leader: str | None
    epoch: int
    zxid: int
    has_quorum: bool


async def facts(address: EnsembleAddress, *, timeout_s: float = _TIMEOUT_S) -> EnsembleFacts:
    """Ask every server about itself.

    Raises:
        EnsembleUnreachableError: not one server answers.
    """
    names, tls = parse_hosts(address.hosts), make_context(address.tls)
    answers = await asyncio.gather(*(_ask(*name, "srvr", timeout_s, tls) for name in names))
    servers = tuple(
        read_srvr(format_server(*name), None if isinstance(answer, OSError) else answer)
        for name, answer in zip(names, answers, strict=True)
    )
    if not any(server.reachable for server in servers):
        raise EnsembleUnreachableError(_nobody(address, answers[0]))
    return summarise(servers)


def read_srvr(address: str, answer: str | None) -> ServerFacts:
    """The facts in an answer to `srvr`; None is no answer."""
    if answer is None:
        return ServerFacts(address, reachable=False)
    mode, zxid, version = (field.search(answer) for field in (_MODE, _ZXID, _VERSION))
    return ServerFacts(
        address,
        reachable=True,
        mode=mode[1] if mode else None,
        zxid=int(zxid[1], 16) if zxid else None,
        version=version[1] if version else None,
    )


def summarise(servers: tuple[ServerFacts, ...]) -> EnsembleFacts:
    """What the servers' facts say together. Of two that claim to lead, as during a hand-over, the
    one with the higher zxid counts."""
    leading = [server for server in servers if server.mode in _LEADING]
    leader = max(leading, key=lambda server: server.zxid or 0, default=None)
    zxid = max((server.zxid or 0 for server in servers), default=0)
    return EnsembleFacts(
        servers,
        leader=leader.address if leader else None,
        epoch=zxid >> 32,
        zxid=zxid,
        has_quorum=leader is not None,
    )


async def session_ids(address: EnsembleAddress, *, timeout_s: float = _TIMEOUT_S) -> frozenset[int]:
    """Sessions of all client connections.

    A session that is between two connections is not seen, so ask more than once before relying on
    there being none.

    Raises:
        EnsembleUnreachableError: no server answers; or one is up and silent, and may have clients.
            One that refuses connections has none.
        EnsembleError: a server does not allow `cons`.
    """
    names, tls = parse_hosts(address.hosts), make_context(address.tls)
    answers = await asyncio.gather(*(_ask(*name, "cons", timeout_s, tls) for name in names))
    if all(isinstance(answer, OSError) for answer in answers):
        raise EnsembleUnreachableError(_nobody(address, answers[0]))
    found: set[int] = set()
    for name, answer in zip(names, answers, strict=True):
        if isinstance(answer, ConnectionRefusedError):
            continue
        if isinstance(answer, OSError):
            msg = f"expected {format_server(*name)} to tell its clients, saw {answer}: look at it"
            raise EnsembleUnreachableError(msg)
        if "whitelist" in answer:
            msg = (
                f"expected {format_server(*name)} to answer cons, saw that it is not allowed: add "
                "it to 4lw.commands.whitelist"
            )
            raise EnsembleError(msg)
        found |= read_cons(answer)
    return frozenset(found)


def read_cons(answer: str) -> set[int]:
    """Session ids in an answer to `cons`, signed as clients know them.

    The connection that asks, and any other that has no session, is not among them.
    """
    ids = {int(match, 16) for match in _SESSION.findall(answer)}
    return {value - (1 << 64) if value >> 63 else value for value in ids if value}


async def children(address: EnsembleAddress, path: str) -> tuple[str, ...]:
    """Names of the children, sorted; none when the path is absent.

    Raises:
        EnsembleUnreachableError: no server takes the connection, or it broke.
    """
    async with open_lane(address) as lane:
        try:
            return tuple(sorted((await lane.children(path))[0]))
        except NoNodeError:
            return ()


async def read(
    address: EnsembleAddress, path: str, *, timeout_s: float = _TIMEOUT_S
) -> bytes | None:
    """Data of a path; None when it is absent or null.

    Raises:
        EnsembleUnreachableError: no server takes the connection, it broke, or none answers in time.
    """
    try:
        # A lane waits for the next server when one is lost, however long none is there.
        async with asyncio.timeout(timeout_s), open_lane(address) as lane:
            try:
                return (await lane.get(path))[0]
            except NoNodeError:
                return None
    except TimeoutError:
        msg = (
            f"expected one of the servers {address.hosts} to tell {path} within {timeout_s:g} s, "
            "saw no answer: see that a majority serves"
        )
        raise EnsembleUnreachableError(msg) from None


async def are_one(a: EnsembleAddress, b: EnsembleAddress) -> bool:
    """Whether both lead to the same ensemble, under whatever names. No znode is written.

    Raises:
        EnsembleUnreachableError: no server of one takes the connection, or it broke.
    """
    async with open_lane(a) as lane:
        return await is_session_known(_lane(b, lane.saved))


async def is_session_known(lane: Lane) -> bool:
    """Whether an ensemble knows the session that this lane, not started yet, was made with: it
    refuses one that another has opened. The lane is closed; a session that is known goes on, and
    whoever had it loses the connection."""
    is_known = True

    def on_state(state: LaneState) -> None:
        nonlocal is_known
        if state is LaneState.EXPIRED:
            is_known = False

    lane.on_state(on_state)
    try:
        await lane.start()
        return is_known
    finally:
        # It is its own lane's to end.
        await lane.close(keep_session=is_known)


@contextlib.asynccontextmanager
async def open_lane(address: EnsembleAddress) -> AsyncGenerator[Lane]:
    """A lane for one errand, on a server that has seen all that was acknowledged before.

    Raises:
        EnsembleUnreachableError: in place of a lost connection, also inside the block.
    """
    lane = _lane(address)
    try:
        await lane.start(bound_s=_TIMEOUT_S)
        await lane.sync()
        yield lane
    except ConnectionLostError as error:
        raise EnsembleUnreachableError(str(error)) from None
    except LaneError as error:
        raise EnsembleError(str(error)) from None
    finally:
        await lane.close()


def _lane(address: EnsembleAddress, saved: SavedSession | None = None) -> Lane:
    file = address.auth_file
    auth = None if file is None else SideAuth(scheme=address.scheme, file=file)
    return Lane(
        address.hosts,
        read_auth(auth),
        session_timeout_s=_SESSION_TIMEOUT_S,
        saved=saved,
        tls=make_context(address.tls),
    )


async def _ask(
    host: str, port: int, word: str, timeout_s: float, tls: ssl.SSLContext | None
) -> str | OSError:
    """The answer to a four-letter word, or why there is none."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port, ssl=tls)
            writer.write(word.encode())
            parts: list[bytes] = []
            size = 0
            while part := await reader.read(65536):
                parts.append(part)
                size += len(part)
                if size > _ANSWER_BYTES_MAX:
                    return OSError(f"more than {_ANSWER_BYTES_MAX} bytes in answer to {word}")
    except TimeoutError:
        return TimeoutError(f"no answer to {word} within {timeout_s:g} s")
    except OSError as error:
        return error
    finally:
        if writer is not None:
            writer.transport.abort()
    if not parts:
        return OSError(f"the connection closed without an answer to {word}")
    return b"".join(parts).decode(errors="replace")


def _nobody(address: EnsembleAddress, first: str | OSError) -> str:
    return (
        f"expected one of the servers {address.hosts} to answer, saw none ({first}): look at the "
        "servers and the network"
    )
