"""What ZooKeeper servers say of themselves, and what only looks like it."""

from __future__ import annotations

import asyncio

import pytest

from probe.agent import zookeeper
from probe.agent.errors import AnswerError, HttpError, UnreachableError

SRVR = """Zookeeper version: 3.9.4-7246445ec281f3, built on 2025-08-19 19:53 UTC
Latency min/avg/max: 0/0.4167/5
Received: 20
Sent: 19
Connections: 3
Outstanding: 0
Zxid: 0x10000002a
Mode: follower
Node count: 5
"""
MNTR = """zk_version\t3.9.4-7246445ec281f3, built on 2025-08-19 19:53 UTC
zk_server_state\tleader
zk_znode_count\t7
zk_watch_count\t4
zk_num_alive_connections\t2
zk_outstanding_requests\t1
zk_avg_latency\t0.25
zk_something_new\tNaN
"""


def test_srvr_gives_state_version_and_numbers() -> None:
    assert zookeeper.read_srvr(SRVR) == {
        "version": "3.9.4",
        "latency_ms": 0.4167,
        "connections": 3,
        "outstanding": 0,
        "zxid": "0x10000002a",
        "state": "follower",
        "znodes": 5,
    }


def test_mntr_adds_watches() -> None:
    found = zookeeper.read_mntr(MNTR)
    assert (found["state"], found["watches"], found["latency_ms"]) == ("leader", 4, 0.25)


def test_a_server_without_a_quorum_does_not_answer() -> None:
    with pytest.raises(UnreachableError, match="quorum"):
        zookeeper.read_srvr("This ZooKeeper instance is not currently serving requests\n")


@pytest.mark.parametrize("text", ["", "HTTP/1.1 400 Bad Request\r\n", "\x00\xff", "Mode"])
def test_what_is_no_server_is_said_to_be_none(text: str) -> None:
    with pytest.raises(AnswerError, match="is this a ZooKeeper server"):
        zookeeper.read_srvr(text)


async def ask(*answers: bytes) -> zookeeper.Server:
    """Ask somebody who gives these answers, one a connection, and then nothing."""
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        writer.write(left.pop(0) if left else b"")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        return await zookeeper.ask("127.0.0.1", server.sockets[0].getsockname()[1])


async def test_a_server_that_allows_srvr_alone_tells_what_it_may() -> None:
    refused = b"mntr is not executed because it is not in the whitelist.\n"
    found = await ask(SRVR.encode(), refused)

    assert not found.tells_all
    assert found.values["state"] == "follower"


async def test_one_that_allows_both_tells_all() -> None:
    found = await ask(SRVR.encode(), MNTR.encode())

    assert found.tells_all
    assert found.values["watches"] == 4


async def test_megabytes_of_something_else_are_bounded() -> None:
    with pytest.raises(HttpError):
        await ask(b"x" * 10_000_000)


async def test_one_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zookeeper, "_TIMEOUT_S", 0.1)

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with server:
        with pytest.raises(UnreachableError, match="within"):
            await zookeeper.ask("127.0.0.1", server.sockets[0].getsockname()[1])


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70_000), ("zk1..example", 2181)])
async def test_an_address_that_cannot_be_is_one_where_nobody_answers(host: str, port: int) -> None:
    with pytest.raises(UnreachableError, match="expected a connection"):
        await zookeeper.ask(host, port)
