"""Plugins of Scope are taken unchanged; one that is slow, huge, wrong or gone harms nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from probe.agent.collector import State
from probe.agent.collectors.plugins import PluginsCollector
from probe.agent.errors import StuckError
from probe.agent.redaction import REDACTED
from probe.agent.site import KnownProcess, Site
from probe.report.table import Table
from tests.probe.sites import site

CONTAINER = "a" * 64


def spec(name: str = "iowait", **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "label": "IO wait",
        "description": "Adds a graph of CPU IO wait to hosts",
        "interfaces": ["reporter"],
        "api_version": "1",
        **more,
    }


def report(**more: Any) -> dict[str, Any]:
    """As Scope's own example plugin writes it."""
    stamp = "2026-01-22T11:35:53.9Z"
    return {
        "Host": {
            "nodes": {
                "elsewhere;<host>": {
                    "metrics": {"iowait": {"samples": [{"date": stamp, "value": 1.5}], "max": 100}},
                    "latest": {"note": {"timestamp": stamp, "value": "fine"}},
                }
            },
            "metric_templates": {"iowait": {"id": "iowait", "label": "IO Wait", "priority": 0.1}},
        },
        "Container": {
            "nodes": {
                f"{CONTAINER};<container>": {
                    "latest": {
                        "tc-latency": {"timestamp": stamp, "value": "5 ms"},
                        "docker_container_name": {"timestamp": stamp, "value": "not its affair"},
                    }
                },
                f"{'b' * 64};<container>": {
                    "latest": {"tc-latency": {"timestamp": stamp, "value": "7 ms"}}
                },
            }
        },
        "Process": {"nodes": {"elsewhere;77": {"latest": {"k": {"value": "v"}}}}},
        "Plugins": [spec()],
        **more,
    }


def place() -> Site:
    made = site()
    made.ledger["host"].put("node", name="node")
    made.ledger["container"].put(CONTAINER, name="web")
    made.ledger["process"].put("node;77;5", pid=77)
    made.processes[77] = KnownProcess("node;77;5", 1)
    return made


Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]
asked: list[bytes] = []
"""Heads of the requests that came in."""


def saying(document: Any, status: str = "200 OK") -> Answer:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()

    return answer


async def hanging(writer: asyncio.StreamWriter) -> None:
    del writer
    await asyncio.sleep(600)


@contextlib.asynccontextmanager
async def serving(folder: Path, **answers: Answer) -> AsyncGenerator[dict[str, Answer]]:
    """Plugins by name; what they answer may be changed."""
    tasks: set[asyncio.Task[Any]] = set()

    def handler(name: str) -> Callable[..., Awaitable[None]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while head := await reader.readuntil(b"\r\n\r\n"):
                    asked.append(head)
                    await answers[name](writer)
            writer.close()

        return serve

    servers = [
        await asyncio.start_unix_server(handler(name), str(folder / f"{name}.sock"))
        for name in answers
    ]
    try:
        yield answers
    finally:
        for server in servers:
            server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def look(made: Site, folder: Path) -> PluginsCollector:
    collector = PluginsCollector(made, str(folder))
    await collector.start()
    await collector.collect()
    return collector


async def test_what_a_plugin_tells_stands_beside_what_is_known(tmp_path: Path) -> None:
    made = place()
    async with serving(tmp_path, iowait=saying(report())):
        collector = await look(made, tmp_path)

        assert made.ledger["host"].node("node")["x:iowait:iowait"] == 1.5
        assert made.ledger["host"].node("node")["x:iowait:note"] == "fine"
        container = made.ledger["container"].node(CONTAINER)
        assert container == {"name": "web", "x:iowait:tc-latency": "5 ms"}
        assert made.ledger["process"].node("node;77;5")["x:iowait:k"] == "v"
        told = made.ledger["plugin"].node("node;iowait")
        assert (told["label"], told["state"]) == ("IO wait", "full")
        assert (told["nodes"], told["left_out"]) == (3, 1)
        assert collector.capability().state is State.FULL
        await collector.close()

    assert made.ledger["host"].node("node") == {"name": "node"}
    assert len(made.ledger["plugin"]) == 0


@pytest.mark.parametrize("redacts", [True, False])
async def test_secrets_that_a_plugin_tells_stay_here(tmp_path: Path, *, redacts: bool) -> None:
    url = f"https://me:{'hunter22' * 9}@h/"
    latest = {
        "api_token": {"value": "hunter22"},
        "line": {"value": "mysql -uroot -phunter22 shop"},
        # Neither is cut before it is judged.
        "url": {"value": "x " * 500 + url},
        "long": {"value": "y" * 8_150 + url * 300},
        "plain": {"value": "z" * 2_000},
    }
    told = report(
        Host={
            "nodes": {"n;<host>": {"latest": latest}},
            "metadata_templates": {"line": {"id": "line", "label": f"of {url}"}},
            "controls": {"reset": {"id": "reset", "human": f"Reset {url}"}},
        },
        Plugins=[spec(label=f"at {url}", description=f"Asks {url}", interfaces=[url])],
    )
    made = replace(place(), redact=redacts)
    wrong = saying(report(Plugins=[spec(f"https://m:hunter22@h/{'x' * 50}")]))
    async with serving(tmp_path, iowait=saying(told), other=wrong):
        collector = await look(made, tmp_path)
        capability = collector.capability()
        host = made.ledger["host"].node("node")
        seen = str([dict(table) for table in made.ledger.tables.values()]) + str(capability)

        assert ("hunter22" in seen) is not redacts
        assert str(host["x:iowait:plain"]) == "z" * 1_023 + "\u2026"
        if redacts:
            assert host["x:iowait:api_token"] == REDACTED
            assert host["x:iowait:line"] == f"mysql -uroot -p{REDACTED} shop"
            assert (
                made.ledger["plugin"].node("node;iowait")["label"] == f"at https://me:{REDACTED}@h/"
            )
        await collector.close()


BAD: dict[str, Answer] = {
    "slow": hanging,
    "crashing": saying(b"", "500 Oops"),
    "no JSON": saying(b"<html>"),
    "another's name": saying(report(Plugins=[spec("other")])),
    "no name": saying(report(Plugins=[])),
    "two names": saying(report(Plugins=[spec(), spec()])),
    "another version": saying(report(Plugins=[spec(api_version="2")])),
    "nodes of another shape": saying(report(Host={"nodes": [1]})),
    "an endless number": saying(b'{"Plugins": [1e999]}'),
}


@pytest.mark.parametrize("answer", BAD.values(), ids=BAD.keys())
async def test_a_bad_plugin_is_noted_and_the_other_is_heard(tmp_path: Path, answer: Answer) -> None:
    made = place()
    good = saying(report(Plugins=[spec("zgood")]))
    async with serving(tmp_path, iowait=answer, zgood=good):
        collector = await look(made, tmp_path)

        assert made.ledger["host"].node("node")["x:zgood:iowait"] == 1.5
        assert made.ledger["plugin"].node("node;iowait")["state"] == "failed"
        assert "x:iowait:iowait" not in made.ledger["host"].node("node")
        capability = collector.capability()
        assert capability.state is State.PARTIAL
        assert "iowait" in capability.misses[0].what
        await collector.close()


@pytest.mark.parametrize("pid", ["\u00b2", "9" * 5_000, "-77", "", "7_7", "\u0667\u0667"])
async def test_a_process_of_no_number_is_one_that_is_not_here(tmp_path: Path, pid: str) -> None:
    made = place()
    nodes = {f"elsewhere;{pid}": {"latest": {"k": {"value": "v"}}}}
    strange, good = report(Process={"nodes": nodes}), report(Plugins=[spec("zgood")])
    async with serving(tmp_path, iowait=saying(strange), zgood=saying(good)):
        collector = await look(made, tmp_path)

        assert made.ledger["plugin"].node("node;iowait")["state"] == "full"
        assert made.ledger["host"].node("node")["x:zgood:iowait"] == 1.5
        assert "x:iowait:k" not in made.ledger["process"].node("node;77;5")
        await collector.close()


async def test_what_a_plugin_told_goes_when_it_fails_and_comes_back_with_it(tmp_path: Path) -> None:
    made = place()
    async with serving(tmp_path, iowait=saying(report())) as answers:
        collector = await look(made, tmp_path)
        answers["iowait"] = saying(b"", "500 Oops")
        await collector.collect()
        assert made.ledger["host"].node("node") == {"name": "node"}
        answers["iowait"] = saying(report())
        await collector.collect()
        assert made.ledger["host"].node("node")["x:iowait:iowait"] == 1.5
        assert made.ledger["plugin"].node("node;iowait")["failures"] == 1
        await collector.close()


@pytest.mark.parametrize("stuck_at", range(1, 5))
async def test_what_a_plugin_told_goes_when_its_look_was_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stuck_at: int
) -> None:
    written = 0
    write = Table.set

    def interrupted(self: Table, row: int, column: str, value: Any) -> None:
        nonlocal written
        write(self, row, column, value)
        written += column.startswith("x:") and value is not None
        if written == stuck_at and value is not None:
            raise StuckError

    made = place()
    monkeypatch.setattr(Table, "set", interrupted)
    async with serving(tmp_path, iowait=saying(report())):
        collector = PluginsCollector(made, str(tmp_path))
        with pytest.raises(StuckError):
            await collector.collect()
        await collector.close()

    assert made.ledger["host"].node("node") == {"name": "node"}
    assert made.ledger["container"].node(CONTAINER) == {"name": "web"}
    assert made.ledger["process"].node("node;77;5") == {"pid": 77}


async def test_a_plugin_that_keeps_failing_is_asked_less_and_less_often(tmp_path: Path) -> None:
    asked = 0

    async def failing(writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await saying(b"", "500 Oops")(writer)

    made = place()
    async with serving(tmp_path, iowait=failing):
        collector = await look(made, tmp_path)
        for _ in range(30):
            await collector.collect()
        await collector.close()

    assert 4 <= asked <= 8


async def test_no_folder_is_no_trouble(tmp_path: Path) -> None:
    collector = await look(place(), tmp_path / "none")
    assert collector.capability().state is State.FULL
