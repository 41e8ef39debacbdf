"""What servers say of themselves, and of who votes; real ones are in test_resizing.py."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from clients.errors import AccessError
from clients.zookeeper import (
    Ensemble,
    EnsembleClient,
    RefusedError,
    ServerAnswer,
    UnreachableError,
)
from clients.zookeeper.ensemble import parse_configuration
from tests.ports import free_port

SRVR = b"Zookeeper version: 3.9.4\nLatency min/avg/max: 0/0/0\nZxid: 0x10000000a\nMode: %s\n"


async def told(*pieces: bytes) -> ServerAnswer | None:
    """What a client makes of a server's answer."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(4) == b"srvr"
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        return await client_of([]).ask(f"{host}:{port}")


def client_of(hosts: Sequence[str], secret: Path = Path("none")) -> EnsembleClient:
    return EnsembleClient(hosts, secret, timeout_s=1)


async def test_a_server_tells_its_mode_and_how_far_it_is() -> None:
    text = SRVR % b"follower"
    assert await told(text[:30], text[30:]) == ServerAnswer("follower", 0x1_0000_000A)


async def test_one_that_serves_in_no_quorum_or_is_not_there_tells_nothing() -> None:
    assert await told(b"This ZooKeeper instance is not currently serving requests\n") is None
    assert await client_of([]).ask(f"127.0.0.1:{free_port()}") is None


def test_observers_have_no_vote() -> None:
    lines = [
        "server.1=z-0.z.svc:2888:3888:participant;0.0.0.0:2181",
        "server.2=z-1.z.svc:2888:3888;0.0.0.0:2181",
        "server.3=z-2.z.svc:2888:3888:observer;0.0.0.0:2181",
        "version=1b00000002",
    ]
    assert parse_configuration("\n".join(lines)) == Ensemble(0x1B_0000_0002, frozenset({1, 2}))


@pytest.mark.parametrize("text", ["", "version=0", "server.1=a:1:2;b:3"])
def test_what_is_no_configuration_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match="reconfigEnabled=true"):
        parse_configuration(text)


async def test_an_ensemble_that_does_not_answer_and_a_secret_that_is_none_are_told(
    tmp_path: Path,
) -> None:
    secret = tmp_path / "super"
    hosts = [f"127.0.0.1:{free_port()}"]
    async with client_of(hosts, secret) as client:
        with pytest.raises(AccessError, match="expected a credential"):
            await client.ensemble()
    secret.write_text("super:a-password")
    async with client_of(hosts, secret) as client:
        with pytest.raises(UnreachableError, match="see that a majority serves") as refused:
            await client.join(4, "a:1:2;b:3", 7)
    assert "a-password" not in str(refused.value)
