"""Questions to an ensemble: what answers say, and real servers."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from pathlib import Path

import pytest

from sync_engine import ensemble as questions
from sync_engine.ensemble import EnsembleAddress, read_cons, read_srvr, summarise
from sync_engine.errors import EnsembleUnreachableError, RulesError
from sync_engine.lane import Lane
from sync_engine.znode import WORLD_ALL
from tests.sync_engine.servers import AUTH, Ensemble, Server, start_all

SRVR = """Zookeeper version: 3.9.4-7246445ec281f3dbf53dc54e970c914f39713903, built on 2025-08-19
Latency min/avg/max: 0/0.0/0
Connections: 1
Zxid: 0x1f00000002
Mode: leader
Node count: 5
"""
CONS = """ /127.0.0.1:53942[1](queued=0,recved=3,sent=3,sid=0x100000a1b2c0001,lop=PING,to=10000)
 /127.0.0.1:1234[0](queued=0,recved=1,sent=0)
 /127.0.0.1:1235[1](queued=0,recved=1,sent=1,sid=0xff00000000000001,lop=SESS)
 /127.0.0.1:1236[1](queued=0,recved=1,sent=1,sid=0x0,lop=NA)

"""


def test_a_servers_facts_are_read() -> None:
    facts = read_srvr("a:1", SRVR)
    assert (facts.mode, facts.zxid, facts.version) == ("leader", 0x1F00000002, "3.9.4")


def test_a_server_without_a_quorum_is_reachable_and_has_no_mode() -> None:
    facts = read_srvr("a:1", "This ZooKeeper instance is not currently serving requests\n")
    assert (facts.reachable, facts.mode, facts.zxid) == (True, None, None)


def test_the_newest_of_two_leaders_counts() -> None:
    old = read_srvr("a:1", SRVR.replace("1f", "1e"))
    new = read_srvr("b:1", SRVR)
    facts = summarise((old, new, read_srvr("c:1", None)))
    assert (facts.leader, facts.epoch, facts.has_quorum) == ("b:1", 0x1F, True)


def test_followers_alone_have_no_quorum() -> None:
    facts = summarise((read_srvr("a:1", SRVR.replace("leader", "follower")),))
    assert (facts.leader, facts.has_quorum) == (None, False)


def test_sessions_are_signed_and_the_question_itself_is_none() -> None:
    assert read_cons(CONS) == {0x100000A1B2C0001, 0xFF00000000000001 - (1 << 64)}


async def test_a_server_that_gives_a_session_and_goes_silent_is_not_waited_for_without_end() -> (
    None
):
    session = struct.pack(">iiqi16s?", 0, 10_000, 1, 16, bytes(16), False)
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(int.from_bytes(await reader.readexactly(4)))
        writer.write(len(session).to_bytes(4) + session)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        over.set()

    async with await asyncio.start_server(serve, "127.0.0.1") as server:
        address = EnsembleAddress(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(EnsembleUnreachableError, match=r"to tell /x within 0\.2 s, saw no"):
            await questions.read(address, "/x", timeout_s=0.2)
        await over.wait()


async def test_an_ensemble_tells_its_leader_and_sessions(ensemble: Ensemble) -> None:
    address = EnsembleAddress(ensemble.hosts, ensemble.auth_file)
    facts = await questions.facts(address)
    assert facts.leader == ensemble.leader.hosts
    assert sorted(str(server.mode) for server in facts.servers) == [
        "follower",
        "follower",
        "leader",
    ]
    assert facts.epoch == facts.zxid >> 32 >= 1
    lane = Lane(ensemble.hosts, AUTH, session_timeout_s=5)
    await lane.start()
    assert lane.session_id in await questions.session_ids(address)
    await lane.close()
    assert lane.session_id not in await questions.session_ids(address)


async def test_a_standalone_server_is_an_ensemble_of_one(zookeeper: str) -> None:
    facts = await questions.facts(EnsembleAddress(zookeeper))
    assert (facts.leader, facts.has_quorum) == (zookeeper, True)
    assert facts.servers[0].mode == "standalone"


async def test_one_ensemble_is_known_under_any_name(pair: tuple[Server, Server]) -> None:
    a, b = (EnsembleAddress(server.hosts, server.auth_file) for server in pair)
    alias = EnsembleAddress(a.hosts.replace("127.0.0.1", "localhost"))

    assert not await questions.are_one(a, b)
    assert await questions.are_one(a, alias)
    assert await questions.are_one(alias, a)
    assert not await questions.are_one(b, alias)


async def test_a_raised_epoch_is_told(tmp_path: Path) -> None:
    server = Server(tmp_path, initial_epoch=40)
    with start_all(server):
        facts = await questions.facts(EnsembleAddress(server.hosts))
    assert facts.epoch > 40
    assert facts.has_quorum


async def test_children_and_data_are_read_and_may_be_absent(
    lane: Lane, root: str, zookeeper: str
) -> None:
    address = EnsembleAddress(zookeeper)
    await lane.create(f"{root}/b", b"data", WORLD_ALL)
    await lane.create(f"{root}/a", None, WORLD_ALL)
    assert await questions.children(address, root) == ("a", "b")
    assert await questions.children(address, f"{root}/missing") == ()
    assert await questions.read(address, f"{root}/b") == b"data"
    assert await questions.read(address, f"{root}/missing") is None


async def test_servers_that_are_down_are_facts_until_all_are(own_server: Server) -> None:
    down = "127.0.0.1:1"
    facts = await questions.facts(EnsembleAddress(f"{down},{own_server.hosts}"))
    assert [server.reachable for server in facts.servers] == [False, True]
    assert await questions.session_ids(EnsembleAddress(f"{down},{own_server.hosts}")) == frozenset()
    with pytest.raises(EnsembleUnreachableError) as caught:
        await questions.facts(EnsembleAddress(down))
    assert caught.value.retryable
    with pytest.raises(EnsembleUnreachableError):
        await questions.session_ids(EnsembleAddress(down))


async def test_a_hanging_server_might_have_clients(own_server: Server, zookeeper: str) -> None:
    own_server.pause()
    address = EnsembleAddress(f"{zookeeper},{own_server.hosts}")
    assert not (await questions.facts(address, timeout_s=0.5)).servers[1].reachable
    with pytest.raises(EnsembleUnreachableError, match="no answer to cons"):
        await questions.session_ids(address, timeout_s=0.5)


async def test_a_broken_auth_file_is_told_before_connecting(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match="missing"):
        await questions.read(EnsembleAddress("127.0.0.1:1", tmp_path / "missing"), "/")
