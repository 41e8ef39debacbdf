"""What plugins may send and leave behind: bounded in bytes, in values, in columns, in files."""

from __future__ import annotations

import asyncio
import json
import socket
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from probe.agent.collector import State
from probe.report.errors import ScopeReportError
from probe.report.ledger import Ledger
from probe.report.scope import plugin
from tests.probe.test_plugins import CONTAINER, Answer, look, place, report, saying, serving, spec

# An agent takes 30 to 50 MB of its 100: what a plugin sends must fit beside that.
MEMORY_BYTES_MAX = 50_000_000


def packed(**more: Any) -> bytes:
    return json.dumps({"Plugins": [spec()], **more}, separators=(",", ":")).encode()


def nodes(count: int, **node: Any) -> dict[str, Any]:
    return {"nodes": {f"{n:x}": node for n in range(count)}}


# Made in the test that wants it: together they are a third of what collecting all tests costs.
HUGE: dict[str, Callable[[], bytes]] = {
    "nodes": lambda: packed(Host=nodes(200_000)),
    "nodes with a value": lambda: packed(Container=nodes(60_000, latest={"a": {"value": "b"}})),
    "one large node": lambda: packed(Host={"nodes": {"h": {"sets": {"a": ["x"] * 200_000}}}}),
    "sections": lambda: packed(**{f"{n:x}": {} for n in range(200_000)}),
    "controls": lambda: packed(Host={"controls": {f"{n:x}": {} for n in range(200_000)}}),
    "templates": lambda: packed(Host={"metric_templates": {f"{n:x}": {} for n in range(200_000)}}),
    "plugins": lambda: packed(Plugins=[{"id": "iowait"}] * 180_000),
    "interfaces": lambda: packed(Plugins=[spec(interfaces=["x"] * 900_000)]),
    "depth": lambda: b'{"Plugins":' + b"[" * 2_000_000,
    "bytes": lambda: packed(Host={"x": "y" * (plugin.BYTES_MAX + 1)}),
}


@pytest.mark.parametrize("make", HUGE.values(), ids=HUGE.keys())
def test_a_huge_report_costs_no_more_memory_than_there_is(make: Callable[[], bytes]) -> None:
    data = make()
    tracemalloc.start()
    try:
        found = plugin.read(data, "iowait")
        assert sum(len(told) for told in found.nodes.values()) <= plugin.NODES_MAX
    except ScopeReportError as error:
        assert "expected" in str(error)  # noqa: PT017 - either is well
    finally:
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < MEMORY_BYTES_MAX


def test_values_beyond_the_bounds_are_left_out_and_counted() -> None:
    told = {f"k{n}": {"value": "v" * (100_000 if n == 0 else 3_000)} for n in range(40)}
    found = plugin.read(
        packed(Container={"nodes": {f"{CONTAINER};<container>": {"latest": told}}}), "iowait"
    )
    one = found.nodes["container"][CONTAINER]

    assert len(one) == plugin.COLUMNS_MAX
    assert all(len(str(value)) <= plugin.TEXT_CHARS_MAX for value in one.values())
    assert found.left_out == 40 - plugin.COLUMNS_MAX


def test_topologies_that_are_not_known_are_counted() -> None:
    found = plugin.read(packed(Tenant=nodes(3), Probe={"nonsense": nodes(2)}), "iowait")

    assert found.nodes == {}
    assert found.left_out == 5


async def flooding(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b" " * 65_536)
        await writer.drain()


async def test_an_answer_without_end_is_given_up(tmp_path: Path) -> None:
    made = place()
    async with serving(tmp_path, iowait=flooding, zgood=saying(report(Plugins=[spec("zgood")]))):
        collector = await look(made, tmp_path)

        assert made.ledger["plugin"].node("node;iowait")["state"] == "failed"
        assert made.ledger["host"].node("node")["x:zgood:iowait"] == 1.5
        await collector.close()


async def test_a_plugin_that_hangs_up_in_the_middle_is_noted(tmp_path: Path) -> None:
    async def half(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
        await writer.drain()
        writer.close()

    made = place()
    async with serving(tmp_path, iowait=half):
        collector = await look(made, tmp_path)
        assert made.ledger["plugin"].node("node;iowait")["state"] == "failed"
        await collector.close()


async def test_columns_that_come_and_go_leave_nothing_behind(tmp_path: Path) -> None:
    made = place()
    table = made.ledger["host"]
    async with serving(tmp_path, iowait=saying(report())) as answers:
        collector = await look(made, tmp_path)
        for number in range(50):
            stamp = {f"k{number}": {"value": "v"}}
            answers["iowait"] = saying(report(Host={"nodes": {"h;<host>": {"latest": stamp}}}))
            await collector.collect()
            made.ledger.delta(0, 1)
        await collector.close()
    made.ledger.delta(0, 1)

    assert table.node("node") == {"name": "node"}
    assert [name for name in table._values if name.startswith("x:")] == []  # pyright: ignore[reportPrivateUsage] # noqa: SLF001 - memory has no other witness


def test_a_column_that_was_emptied_can_come_back() -> None:
    ledger = Ledger("p", 1)
    for value in (1, None, 2):
        ledger["host"].put("h", **{"x:a": value})
        frame = ledger.delta(0, 1)
        assert [column.values for table in frame.tables for column in table.columns] == [[value]]

    assert ledger["host"].node("h") == {"x:a": 2}


def listen(path: Path) -> socket.socket:
    path.parent.mkdir(exist_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    return listening


async def test_sockets_that_no_plugin_can_have_are_told_and_the_others_are_heard(
    tmp_path: Path,
) -> None:
    made = place()
    bad = [listen(tmp_path / "a;b.sock"), listen(tmp_path / "sub" / "iowait.sock")]
    (tmp_path / "gone.sock").symlink_to(tmp_path / "nowhere")
    async with serving(tmp_path, iowait=saying(report())):
        collector = await look(made, tmp_path)
        told = [str(miss) for miss in collector.capability().misses]

        assert made.ledger["host"].node("node")["x:iowait:iowait"] == 1.5
        assert len(told) == 2
        assert "a;b.sock: name it of letters" in told[0]
        assert "sub/iowait.sock: give it another name" in told[1]
        await collector.close()
    for one in bad:
        one.close()


async def test_more_sockets_than_plugins_may_be_are_told(tmp_path: Path) -> None:
    many: dict[str, Answer] = {f"p{n}": saying(report(Plugins=[spec(f"p{n}")])) for n in range(34)}
    made = place()
    async with serving(tmp_path, **many):
        collector = await look(made, tmp_path)

        assert len(made.ledger["plugin"]) == 32
        assert len(collector.capability().misses) == 2
        await collector.close()


async def test_a_folder_that_may_not_be_read_is_a_miss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(_: str) -> None:
        raise PermissionError

    monkeypatch.setattr("os.scandir", forbidden)
    collector = await look(place(), tmp_path)

    assert collector.capability().state is State.PARTIAL
    assert "let this user list it" in collector.capability().misses[0].grant
