"""Finding the leader: dead masters, elections, credentials, cut streams; nothing applied twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from clients.mesos import (
    AuthenticationError,
    NoLeaderError,
    OperatorClient,
    ProtocolError,
    UnreachableError,
)
from clients.mesos.recordio import Decoder
from tests.clients.scripted import Feed, take_all

MASTERS = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]
HEALTHY = '{"type":"GET_HEALTH","get_health":{"healthy":true}}'


def client_of(
    handler: Callable[[httpx.Request], httpx.Response],
    *,
    timeout_s: float = 1.0,
    credential_file: Path | None = None,
) -> OperatorClient:
    transport = httpx.MockTransport(handler)
    return OperatorClient(MASTERS, credential_file, transport=transport, timeout_s=timeout_s)


async def test_dead_masters_are_passed_over() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.port != 3:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, text=HEALTHY)

    async with client_of(handle) as client:
        assert await client.health()


async def test_an_election_is_waited_out() -> None:
    asked = 0

    def handle(_: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        if asked < 5:
            return httpx.Response(503, text="No leader elected")
        return httpx.Response(200, text=HEALTHY)

    async with client_of(handle) as client:
        assert await client.health()


async def test_no_leader_in_time_is_an_error_that_may_be_retried() -> None:
    async with client_of(lambda _: httpx.Response(503, text="No leader"), timeout_s=0.3) as client:
        with pytest.raises(NoLeaderError):
            await client.agents()


async def test_waiting_for_a_leader_is_no_storm_of_calls() -> None:
    asked = 0

    def handle(_: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        return httpx.Response(503, text="No leader elected")

    async with client_of(handle, timeout_s=0.8) as client:
        with pytest.raises(NoLeaderError):
            await client.agents()
    # Rounds of three after 0, 0.1, 0.3, 0.7 and 0.8 s.
    assert asked <= 15


async def test_nobody_answering_is_an_error_that_may_be_retried() -> None:
    def handle(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    async with client_of(handle, timeout_s=0.3) as client:
        with pytest.raises(UnreachableError):
            await client.agents()
        with pytest.raises(UnreachableError):
            await client.leader()


async def test_a_call_that_may_have_arrived_is_not_repeated() -> None:
    asked = 0

    def handle(_: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        raise httpx.ReadTimeout("no answer")

    async with client_of(handle, timeout_s=0.3) as client:
        with pytest.raises(UnreachableError):
            await client.teardown("f")
    assert asked == 1


async def test_a_wrong_credential_is_told_without_its_text(tmp_path: Path) -> None:
    secret = tmp_path / "credential"
    secret.write_text("operator:s3cret-word")
    headers = {"www-authenticate": 'Basic realm="mesos-master-readwrite"'}

    async with client_of(
        lambda _: httpx.Response(401, headers=headers), credential_file=secret
    ) as client:
        with pytest.raises(AuthenticationError, match="mesos-master-readwrite") as caught:
            await client.agents()
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "nocolon", ":secret"])
def test_a_credential_file_of_another_form_is_refused(tmp_path: Path, content: str) -> None:
    secret = tmp_path / "credential"
    secret.write_text(content)
    with pytest.raises(AuthenticationError, match="principal:secret"):
        OperatorClient(MASTERS, secret)
    with pytest.raises(AuthenticationError, match="0600"):
        OperatorClient(MASTERS, tmp_path / "missing")


async def test_a_stream_cut_midway_is_an_error() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/redirect":
            return httpx.Response(307, headers={"location": "//127.0.0.1:2"})
        return httpx.Response(200, content=b'20\n{"type":"HEARTBEAT"}20\n{"type":')

    async with client_of(handle) as client:
        events = client.events()
        assert await anext(events) == {"type": "HEARTBEAT"}
        with pytest.raises(ProtocolError, match="cut"):
            await anext(events)


@pytest.mark.parametrize("read", ["events", "subscribe"])
async def test_heartbeats_that_stay_away_end_a_stream_that_looks_alive(read: str) -> None:
    feed = Feed()
    told: dict[str, Any] = {"get_state": {}, "heartbeat_interval_seconds": 0.01}
    feed.record({"type": "SUBSCRIBED", "subscribed": told})
    feed.record({"type": "HEARTBEAT"})

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/redirect":
            return httpx.Response(307, headers={"location": "//127.0.0.1:2"})
        return httpx.Response(200, stream=feed)

    async with client_of(handle) as client:
        seen, end = await take_all(getattr(client, read)())
    assert len(seen) == 2
    assert isinstance(end, UnreachableError)
    assert "subscribe again" in str(end)
    assert feed.is_closed


def test_records_come_out_however_the_bytes_arrive() -> None:
    data = b'3\nabc0\n12\n{"a": "\xc3\xa4b"}'
    whole = Decoder().feed(data)
    decoder = Decoder()
    single = [record for byte in data for record in decoder.feed(bytes([byte]))]
    assert whole == single == [b"abc", b"", b'{"a": "\xc3\xa4b"}']
    assert decoder.pending_bytes == 0


@pytest.mark.parametrize("data", [b"<html>\n", b"-1\n", b"x" * 20, b"99999999999\n"])
def test_what_is_no_record_is_refused_at_once(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Decoder().feed(data)
