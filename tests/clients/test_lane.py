"""Calls on one connection: their order, what cuts them off, and that none is made twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.mesos import ProtocolError, UnreachableError
from clients.mesos.lane import Answers, Lane

ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
REFUSED = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 9\r\n\r\nno offers"
CHUNKED = (
    b"HTTP/1.1 503 Wait\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwait\r\n3;x=1\r\n up\r\n0\r\n\r\n"
)
CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\n"


class Master:
    """Takes requests apart and answers them as told; `answer` gets the number of the request."""

    def __init__(self, answer: Callable[[int], bytes | None]) -> None:
        self._answer = answer
        self.bodies: list[bytes] = []
        self.heads: list[bytes] = []
        self.connections = 0
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split()[0])
                self.heads.append(head)
                self.bodies.append(await reader.readexactly(length))
                answer = self._answer(len(self.bodies))
                if answer is None:
                    return
                writer.write(answer)
        except (asyncio.IncompleteReadError, OSError):
            pass  # The client has gone.
        finally:
            writer.close()

    @asynccontextmanager
    async def lane(self, timeout_s: float = 5.0) -> AsyncGenerator[Lane]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        request = httpx.Request(
            "POST", f"http://127.0.0.1:{port}/api/v1/scheduler", headers={"Mesos-Stream-Id": "s"}
        )
        lane = Lane(request, tls=None, timeout_s=timeout_s)
        async with server:
            try:
                yield lane
            finally:
                lane.close()


async def test_calls_do_not_wait_for_each_other_and_arrive_in_their_order() -> None:
    everything_there = asyncio.Event()

    def answer(number: int) -> bytes:
        # Nothing is answered before all of it has arrived.
        if number < 50:
            return b""
        everything_there.set()
        return REFUSED + ACCEPTED * 49

    master = Master(answer)
    async with master.lane() as lane:
        answers = await asyncio.gather(*(lane.post(b"%d" % number) for number in range(50)))
    assert everything_there.is_set()
    assert master.bodies == [b"%d" % number for number in range(50)]
    assert [one.status_code for one in answers] == [400] + [202] * 49
    assert answers[0].text == "no offers"
    assert master.connections == 1
    assert b"\r\nMesos-Stream-Id: s\r\n" in master.heads[0]
    assert master.heads[0].startswith(b"POST /api/v1/scheduler HTTP/1.1\r\n")


async def test_a_connection_that_ends_fails_all_that_wait_and_nothing_is_sent_twice() -> None:
    master = Master(lambda number: ACCEPTED if number == 1 else b"" if number < 4 else None)
    async with master.lane() as lane:
        calls = (lane.post(b"%d" % number) for number in range(4))
        first, *rest = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(first, httpx.Response)
        assert all(isinstance(one, UnreachableError) for one in rest)
        assert master.bodies == [b"0", b"1", b"2", b"3"]
        master.bodies.clear()
        assert (await lane.post(b"after")).status_code == 202
    assert master.bodies == [b"after"]
    assert master.connections == 2


async def test_a_lane_that_is_closed_waits_for_answers_and_takes_no_more() -> None:
    arrived = asyncio.Event()

    def answer(_: int) -> bytes:
        arrived.set()
        return b""

    master = Master(answer)
    async with master.lane() as lane:
        last = asyncio.ensure_future(lane.post(b"teardown"))
        await arrived.wait()
        lane.close()
        with pytest.raises(UnreachableError, match="subscribe again"):
            await lane.post(b"too late")
        assert not last.done()
        master.writers[0].write(ACCEPTED)
        assert (await last).status_code == 202
    assert master.bodies == [b"teardown"]


async def test_silence_fails_what_waits_within_the_time_out() -> None:
    async with Master(lambda _: b"").lane(timeout_s=0.05) as lane:
        with pytest.raises(UnreachableError, match="TimeoutError"):
            await lane.post(b"{}")


async def test_a_page_that_is_no_http_is_told_apart() -> None:
    async with Master(lambda _: b"<html>hello</html>\r\n\r\n").lane() as lane:
        with pytest.raises(ProtocolError, match="HTTP/1"):
            await lane.post(b"{}")


async def test_nobody_at_the_address_is_said_with_the_address() -> None:
    request = httpx.Request("POST", "http://127.0.0.1:1/")
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1"):
        await Lane(request, tls=None, timeout_s=1).post(b"{}")


async def test_a_call_that_nobody_waits_for_any_more_takes_no_other_calls_answer() -> None:
    seen = asyncio.Event()

    def answer(number: int) -> bytes:
        seen.set()
        return b"" if number == 1 else REFUSED + ACCEPTED

    async with Master(answer).lane() as lane:
        given_up = asyncio.ensure_future(lane.post(b"0"))
        await seen.wait()
        given_up.cancel()
        assert (await lane.post(b"1")).status_code == 202


@settings(deadline=None)
@given(st.lists(st.sampled_from([ACCEPTED, REFUSED, CHUNKED]), max_size=6), st.data())
def test_answers_are_the_same_however_they_are_cut(
    answers: list[bytes], data: st.DataObject
) -> None:
    whole = b"".join(CONTINUED + one for one in answers)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    taken = Answers()
    found = [
        one
        for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)
        for one in taken.feed(whole[begin:end])
    ]
    texts = {ACCEPTED: (202, ""), REFUSED: (400, "no offers"), CHUNKED: (503, "wait up")}
    assert [(one.status_code, one.text) for one in found] == [texts[one] for one in answers]


@pytest.mark.parametrize(
    "data",
    [
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 202 Accepted\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"x" * 70_000,
    ],
)
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Answers().feed(data)


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    taken = Answers()
    assert taken.feed(b"HTTP/1.0 500 Oops\r\n\r\nproxy") == []
    (answer,) = taken.end()
    assert (answer.status_code, answer.text) == (500, "proxy")
