"""Names of remote addresses: bounded, cached as long as is said, never waited for by others."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.agent import dns
from probe.agent.collector import State
from probe.agent.collectors import names
from probe.agent.collectors.names import NamesCollector
from probe.agent.errors import AnswerError
from probe.agent.site import KnownContainer, Site
from tests.probe.properties import patient
from tests.probe.sites import Clock, site

REMOTE = "192.0.2.7"
QUESTION = dns.reverse(REMOTE)


def wire_name(name: str) -> bytes:
    return b"".join(bytes((len(one),)) + one.encode() for one in name.split(".")) + b"\0"


def reply(asked: bytes, name: str | None, *, ttl_s: int = 300, code: int = 0) -> bytes:
    """An answer as servers write it: the record's name points to the question's."""
    number = asked[:2]
    header = number + struct.pack("!5H", 0x8180 | code, 1, 0 if name is None else 1, 0, 0)
    if name is None:
        return header + asked[12:]
    data = wire_name(name)
    return header + asked[12:] + b"\xc0\x0c" + struct.pack("!2HIH", 12, 1, ttl_s, len(data)) + data


Answering = Callable[[bytes, str], list[bytes]]


class Server(asyncio.DatagramProtocol):
    """A DNS server; `answering` may give any number of datagrams."""

    def __init__(self, answering: Answering) -> None:
        self.answering = answering
        self.asked: list[str] = []
        self.port = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        labels, place = list[str](), 12
        while size := data[place]:
            labels.append(data[place + 1 : place + 1 + size].decode())
            place += size + 1
        self.asked.append(".".join(labels))
        for one in self.answering(data, ".".join(labels)):
            self._transport.sendto(one, addr)


@contextlib.asynccontextmanager
async def serving(answering: Answering) -> AsyncGenerator[Server]:
    loop = asyncio.get_running_loop()
    server = Server(answering)
    transport, _ = await loop.create_datagram_endpoint(lambda: server, local_addr=("127.0.0.1", 0))
    try:
        yield server
    finally:
        transport.close()


def named(name: str | None = "db.example", **more: Any) -> Answering:
    return lambda asked, _: [reply(asked, name, **more)]


def silent(_: bytes, __: str) -> list[bytes]:
    return []


def place(*addresses: str, clock: Clock | None = None) -> Site:
    made = site(clock=clock or Clock())
    made.ledger["host"].put("node", addresses=["eth0 10.0.0.5/24"])
    for address in addresses:
        made.ledger["connection"].put(
            address, client="node;1;2", client_address="10.0.0.5", server_address=address
        )
    return made


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    (tmp_path / "resolv.conf").write_text("search x\nnameserver 127.0.0.1\n")
    return tmp_path


def collector(made: Site, etc: Path, server: Server, **more: Any) -> NamesCollector:
    return NamesCollector(made, etc=str(etc), port=server.port, **more)


def name_of(made: Site, id_: str = REMOTE, end: str = "server") -> Any:
    return made.ledger["connection"].get(id_, f"{end}_name")


async def test_a_remote_address_gets_its_name_and_a_local_one_none(etc: Path) -> None:
    made = place(REMOTE)
    made.containers["c"] = KnownContainer("c", 1, 1, ("10.1.0.2",))
    made.ledger["connection"].put("in", client_address="10.1.0.2", server_address="10.0.0.5")
    made.ledger["connection"].put("lo", client_address="127.0.0.1", server_address="::1")
    async with serving(named()) as server:
        looking = collector(made, etc, server)
        await looking.collect()

    assert name_of(made) == "db.example"
    assert server.asked == [QUESTION]
    for id_ in ("in", "lo"):
        assert not {"client_name", "server_name"} & made.ledger["connection"].node(id_).keys()
    capability = looking.capability()
    assert capability.state is State.FULL
    assert "DNS of 127.0.0.1, 5 lookups a second at most, 1 of 1 addresses named" in capability.mode


async def test_a_name_is_kept_as_long_as_is_said_and_asked_for_again_then(etc: Path) -> None:
    clock = Clock()
    made = place(REMOTE, clock=clock)
    async with serving(named("old.example", ttl_s=120)) as server:
        looking = collector(made, etc, server)
        await looking.collect()
        server.answering = named("new.example")
        clock.now += 119
        await looking.collect()
        assert (name_of(made), len(server.asked)) == ("old.example", 1)
        clock.now += 2
        await looking.collect()

    assert (name_of(made), len(server.asked)) == ("new.example", 2)


@pytest.mark.parametrize(("ttl_s", "kept_s"), [(0, 60), (1 << 31, 3_600)])
async def test_what_a_server_says_of_time_is_bounded(etc: Path, ttl_s: int, kept_s: int) -> None:
    clock = Clock()
    made = place(REMOTE, clock=clock)
    async with serving(named(ttl_s=ttl_s)) as server:
        looking = collector(made, etc, server)
        for step in (0, kept_s - 1, 2):
            clock.now += step
            await looking.collect()

    assert len(server.asked) == 2


async def test_that_there_is_no_name_is_kept_too(etc: Path) -> None:
    made = place(REMOTE)
    async with serving(named(None, code=3)) as server:
        looking = collector(made, etc, server)
        await looking.collect()
        await looking.collect()

    assert len(server.asked) == 1
    assert name_of(made) is None


async def test_no_more_is_asked_than_may_be_and_new_addresses_come_first(etc: Path) -> None:
    many = [f"192.0.2.{n}" for n in range(1, 60)]
    made = place(*many)
    async with serving(named()) as server:
        looking = collector(made, etc, server, lookups_per_s=2)
        for look in range(1, 7):
            await looking.collect()
            assert len(server.asked) == min(59, 10 * look)
        await looking.collect()

    assert len(set(server.asked)) == len(server.asked) == 59
    assert all(name_of(made, one) == "db.example" for one in many)


async def test_addresses_beyond_the_bound_are_told(
    etc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "ADDRESSES_MAX", 3)
    made = place(*(f"192.0.2.{n}" for n in range(1, 6)))
    async with serving(named()) as server:
        looking = collector(made, etc, server)
        await looking.collect()
        assert "names of 2 addresses beyond 3" in str(looking.capability().misses[0])
        # Others may take the places of those that are not talked to any more.
        made.ledger["connection"].keep({"192.0.2.5"})
        made.clock.now += 4_000  # pyright: ignore[reportFunctionMemberAccess] - the tests' own clock
        await looking.collect()
        assert looking.capability().misses == ()


async def test_a_server_that_is_silent_is_left_alone_and_the_next_one_is_tried(
    etc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "_TIMEOUT_S", 0.05)
    (etc / "resolv.conf").write_text("nameserver 127.0.0.1\nnameserver 127.0.0.2\n")
    clock = Clock()
    made = place(REMOTE, clock=clock)
    async with serving(silent) as server:
        looking = collector(made, etc, server)
        await looking.collect()
        capability = looking.capability()
        assert capability.state is State.PARTIAL
        assert "no answer of 127.0.0.1" in str(capability.misses[0])
        assert "DNS of 127.0.0.2" in capability.mode
        await looking.collect()
        for _ in range(5):
            await looking.collect()
        # Nobody listens at the second; then both are left alone.
        assert len(server.asked) == 1
        clock.now += 61
        server.answering = named()
        await looking.collect()

    assert name_of(made) == "db.example"
    assert looking.capability().state is State.FULL


async def test_without_a_server_or_lookups_the_hosts_file_is_read(etc: Path) -> None:
    (etc / "hosts").write_text(f"127.0.0.1 localhost\n{REMOTE} first alias # no\nbroken\n")
    made = place(REMOTE, "192.0.2.8")
    async with serving(named()) as server:
        looking = collector(made, etc, server, lookups_per_s=0)
        await looking.collect()
        assert (name_of(made), name_of(made, "192.0.2.8")) == ("first", None)
        assert server.asked == []
        assert looking.capability().state is State.FULL
        (etc / "hosts").write_text(f"{REMOTE} second-name\n")
        await looking.collect()
        assert name_of(made) == "second-name"
        (etc / "hosts").unlink()
        (etc / "resolv.conf").write_text("")
        looking = collector(made, etc, server)
        await looking.collect()
        assert name_of(made) is None
        assert "names no server" in str(looking.capability().misses[0])


def wrong_number(asked: bytes, _: str) -> list[bytes]:
    flipped = bytes((asked[0] ^ 1,)) + asked[1:]
    return [reply(flipped, "evil.example"), reply(asked, "good.example")]


def wrong_question(asked: bytes, _: str) -> list[bytes]:
    other = asked[:2] + dns.question(1, dns.reverse("192.0.2.99"))[2:]
    return [reply(other, "evil.example"), reply(asked, "good.example")]


def rubbish_first(asked: bytes, _: str) -> list[bytes]:
    return [b"", b"\0", asked, asked[:2] + b"\xff" * 30, reply(asked, "good.example")]


@pytest.mark.parametrize("answering", [wrong_number, wrong_question, rubbish_first])
async def test_an_answer_to_another_question_is_none(etc: Path, answering: Answering) -> None:
    made = place(REMOTE)
    async with serving(answering) as server:
        await collector(made, etc, server).collect()

    assert name_of(made) == "good.example"


async def test_a_hostile_name_is_made_harmless(etc: Path) -> None:
    made = place(REMOTE)
    async with serving(named("\x1b[31mevil\n.example")) as server:
        await collector(made, etc, server).collect()

    assert name_of(made) == "\ufffd[31mevil\ufffd.example"


async def test_a_connection_that_goes_while_names_are_asked_for_stays_gone(etc: Path) -> None:
    made = place(REMOTE)

    def going(asked: bytes, _: str) -> list[bytes]:
        made.ledger["connection"].remove(REMOTE)
        return [reply(asked, "db.example")]

    async with serving(going) as server:
        await collector(made, etc, server).collect()

    assert len(made.ledger["connection"]) == 0


def test_a_pointer_in_a_circle_and_a_label_too_long_are_refused() -> None:
    asked = dns.question(7, QUESTION)
    circle = reply(asked, "x")[: -len(wire_name("x"))] + b"\xc0" + bytes((len(asked) + 12,))
    for data in (circle, asked[:12] + b"\xc0\x0c", asked[:12] + b"\x80" + bytes(300)):
        with pytest.raises(AnswerError):
            dns.answer(data, QUESTION, nothing_ttl_s=1)


def test_a_failure_of_the_server_is_no_answer() -> None:
    asked = dns.question(7, QUESTION)
    with pytest.raises(AnswerError, match="failure 2"):
        dns.answer(reply(asked, None, code=2), QUESTION, nothing_ttl_s=1)


@patient
@given(st.binary(max_size=120), st.booleans())
def test_any_bytes_are_an_answer_or_a_typed_error(data: bytes, has_question: bool) -> None:
    asked = dns.question(7, QUESTION)
    whole = reply(asked, "x")[: len(asked)] + data if has_question else data
    with contextlib.suppress(AnswerError):
        found = dns.answer(whole, QUESTION, nothing_ttl_s=1)
        assert found.name is None or len(found.name) <= 255


@patient
@given(st.data())
def test_a_changed_answer_is_an_answer_or_a_typed_error(data: st.DataObject) -> None:
    message = bytearray(reply(dns.question(7, QUESTION), "db.example"))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(AnswerError):
        dns.answer(bytes(message), QUESTION, nothing_ttl_s=1)


def test_addresses_of_both_families_have_reverse_names() -> None:
    assert dns.reverse("192.0.2.7") == "7.2.0.192.in-addr.arpa"
    assert dns.reverse("2001:db8::1").endswith(".8.b.d.0.1.0.0.2.ip6.arpa")
