"""Processes: met, looked at, and gone, on the real /proc and on one made by hand."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from probe.agent.collector import State
from probe.agent.collectors import process
from probe.agent.collectors.process import ProcessCollector
from probe.agent.errors import StuckError
from probe.agent.files import CounterFile
from probe.agent.redaction import REDACTED, command_line
from probe.agent.site import KnownContainer, Site
from tests.probe.sites import Clock, site, sleeper
from tests.waiting import until


def by_pid(place: Site, pid: int) -> dict[str, Any] | None:
    found = [dict(v) for _, v in place.ledger["process"] if v["pid"] == pid]
    return found[0] if found else None


async def test_a_process_is_told_of_with_what_it_is_and_uses() -> None:
    place = site()
    collector = ProcessCollector(place)
    with sleeper("--password=s3cret", "--port", "80") as process:

        async def described() -> dict[str, Any] | None:
            await collector.collect()
            node = by_pid(place, process.pid)
            return node if node and "time.sleep" in str(node.get("command_line")) else None

        await collector.start()
        node = await until(described, "it has its command line")
        assert node["ppid"] == os.getpid()
        assert node["user"] == str(os.geteuid())
        assert node["rss_bytes"] > 1_000_000
        assert node["threads"] == 1
        assert node["open_files"] >= 3
        assert node["started_ms"] > 1_600_000_000_000
        assert "s3cret" not in node["command_line"]
        assert node["command_line"].endswith("--port 80")
    await collector.collect()
    assert by_pid(place, process.pid) is None
    await collector.close()
    assert place.files.used == 0


async def test_a_process_that_becomes_another_of_the_same_name_is_described_anew() -> None:
    place = site()
    collector = ProcessCollector(place)
    then = [sys.executable, "-c", "import time; time.sleep(1000)", "after"]
    script = f"import os, sys; sys.stdin.read(1); os.execv(sys.executable, {then})"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, "before"), stdin=asyncio.subprocess.PIPE
    )
    try:

        async def line() -> str:
            await collector.collect()
            node = by_pid(place, process.pid)
            return str(node and node.get("command_line"))

        async def ends_with(word: str) -> bool:
            return (await line()).endswith(word)

        await collector.start()
        await until(lambda: ends_with("before"), "it is told with its first arguments")
        name = (by_pid(place, process.pid) or {})["name"]
        assert process.stdin is not None
        process.stdin.write(b"x")
        await process.stdin.drain()
        await until(lambda: ends_with("after"), "it is told with its new arguments")
        assert (by_pid(place, process.pid) or {})["name"] == name
    finally:
        process.kill()
        await process.communicate()
        await collector.close()


class Proc:
    """A /proc made by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "sys").mkdir()

    def put(
        self,
        pid: int,
        name: str = "app",
        *,
        start: int = 50,
        ticks: int = 0,
        ppid: int = 1,
        line: bytes = b"app\0--port\x0080\0",
        cgroup: str = "/",
    ) -> None:
        place = self.folder / str(pid)
        place.mkdir(exist_ok=True)
        zeros = " 0" * 8
        # State, parent, …, processor time, …, threads, …, start, size, resident pages.
        after = f"S {ppid}{zeros} 0 {ticks} 0 0 0 20 0 3 0 {start} 1000000 25 0"
        raw = f"{pid} ({name}) {after}".encode("utf-8", "surrogateescape")
        (place / "stat").write_bytes(raw)
        (place / "cmdline").write_bytes(line)
        (place / "cgroup").write_text(f"0::{cgroup}\n")
        (place / "limits").write_text("Max open files            1024      4096     files\n")
        (place / "fd").mkdir(exist_ok=True)


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


async def test_a_pid_that_is_given_out_again_is_another_process(
    proc: Proc, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc.put(7, "old", start=50)
    place = site(proc=str(proc.folder))
    collector = ProcessCollector(place)
    await collector.collect()
    assert place.ledger["process"].ids() == ["node;7;50"]

    # A file of the real /proc refuses to be read once its own process has ended.
    read = CounterFile.read
    ended = {id(one.file) for one in collector._known.values()}  # pyright: ignore[reportPrivateUsage] # noqa: SLF001 - only the kernel does this

    def gone(file: CounterFile) -> bytes:
        if id(file) in ended:
            ended.discard(id(file))
            raise ProcessLookupError
        return read(file)

    monkeypatch.setattr(CounterFile, "read", gone)
    proc.put(7, "new", start=90)
    await collector.collect()

    assert place.ledger["process"].ids() == ["node;7;90"]
    assert place.process_id(7) == "node;7;90"


async def test_processor_use_is_told_while_it_moves_and_goes_back_to_none(proc: Proc) -> None:
    clock = Clock()
    place = site(proc=str(proc.folder), clock=clock)
    collector = ProcessCollector(place)
    proc.put(7, ticks=0)
    await collector.collect()
    seen: list[Any] = []
    for ticks in (150, 150, 150):
        clock.now += 3
        proc.put(7, ticks=ticks)
        await collector.collect()
        seen.append(place.ledger["process"].get("node;7;50", "cpu_percent"))

    assert seen == [50.0, 0.0, 0.0]


HOSTILE = [
    "a) R 1 2 3 (b",
    "new\nline",
    "\x1b[31mred\x1b[0m",
    "\udcff\udcfe",
    "\u202eevil",
    " ",
]


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_name_is_made_harmless(proc: Proc, name: str) -> None:
    proc.put(7, name, line=name.encode("utf-8", "surrogateescape") + b"\0--x\0")
    place = site(proc=str(proc.folder))
    await ProcessCollector(place).collect()
    node = by_pid(place, 7)

    assert node is not None
    assert node["ppid"] == 1
    assert node["threads"] == 3
    assert node["name"].isprintable()
    assert node["command_line"].isprintable()
    node["name"].encode("utf-8")


async def test_a_megabyte_of_command_line_is_cut(proc: Proc) -> None:
    proc.put(7, line=b"app\0" + b"x" * 1_000_000 + b"\0")
    place = site(proc=str(proc.folder))
    await ProcessCollector(place).collect()
    node = by_pid(place, 7)

    assert node is not None
    assert len(node["command_line"]) <= 4096


async def test_secrets_go_before_a_line_is_cut_or_cleaned(proc: Proc) -> None:
    url = b"https://me:" + b"s3cr3tvalue" * 9 + b"@h/"
    key = b"-----BEGIN RSA " + b"PRIVATE KEY-----%s-----END RSA " + b"PRIVATE KEY-----"
    proc.put(7, line=b"sh\0-c\0cd /x\nmysql -ps3cr3tvalue\0")
    proc.put(8, line=b"app\0" + b"x " * 2035 + url + b"\0")
    # What takes up the most of what is read shows as three characters.
    proc.put(9, line=b"app\0" + key % (b"A" * 8000) + b"\0" + b"x " * 30 + url + b"\0")
    place = site(proc=str(proc.folder))
    collector = ProcessCollector(place)
    await collector.collect()
    lines = {pid: (by_pid(place, pid) or {})["command_line"] for pid in (7, 8, 9)}
    assert lines[7] == f"sh -c cd /x\ufffdmysql -p{REDACTED}"
    assert lines[8].startswith("app x x")
    assert "s3cr3t" not in str(lines)
    await collector.close()


async def test_a_command_line_that_cannot_be_judged_hides_no_other_process(
    proc: Proc, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judged(arguments: Sequence[str]) -> str:
        if "odd" in arguments:
            msg = "s3cr3tvalue"
            raise ValueError(msg)
        return command_line(arguments)

    monkeypatch.setattr(process, "command_line", judged)
    for pid, line in ((7, b"app\0-a\0"), (8, b"app\0odd\0"), (9, b"app\0-b\0")):
        proc.put(pid, line=line)
    place = site(proc=str(proc.folder))
    collector = ProcessCollector(place)
    await collector.collect()

    lines = {pid: (by_pid(place, pid) or {})["command_line"] for pid in (7, 8, 9)}
    assert lines == {7: "app -a", 8: REDACTED, 9: "app -b"}
    capability = collector.capability()
    assert capability.state is State.PARTIAL
    assert "command lines of 1 processes, which failed: ValueError" in str(capability.misses[0])
    assert "s3cr3tvalue" not in str(capability.misses)

    shutil.rmtree(proc.folder / "8")
    await collector.collect()
    assert collector.capability().state is State.FULL
    await collector.close()


@pytest.mark.parametrize("count", [1, 5])
async def test_a_line_that_the_watchdog_gives_up_is_hidden_but_not_one_after_another(
    proc: Proc, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    def stuck(arguments: Sequence[str]) -> str:
        if "odd" in arguments:
            msg = "it went on"
            raise StuckError(msg)
        return command_line(arguments)

    monkeypatch.setattr(process, "command_line", stuck)
    for pid in range(10, 10 + count):
        proc.put(pid, line=b"app\0odd\0")
    proc.put(7, line=b"app\0-a\0")
    place = site(proc=str(proc.folder))
    collector = ProcessCollector(place)
    if count == 1:
        await collector.collect()
        assert (by_pid(place, 7) or {})["command_line"] == "app -a"
        assert "StuckError" in str(collector.capability().misses[0])
    else:
        with pytest.raises(StuckError):
            await collector.collect()
    await collector.close()


async def test_a_process_that_vanishes_between_two_reads_is_left_out(proc: Proc) -> None:
    proc.put(7)
    proc.put(8)
    (proc.folder / "8" / "stat").unlink()
    (proc.folder / "9").mkdir()
    (proc.folder / "9" / "stat").write_text("9 (half")
    place = site(proc=str(proc.folder))
    collector = ProcessCollector(place)
    await collector.collect()
    shutil.rmtree(proc.folder / "8")

    assert [v["pid"] for _, v in place.ledger["process"]] == [7]
    assert collector.capability().state is State.FULL


async def test_a_process_that_outlived_its_parent_is_not_of_who_has_that_pid_now(
    tmp_path: Path, proc: Proc
) -> None:
    place = site(proc=str(tmp_path))
    collector = ProcessCollector(place)
    proc.put(500, start=5)
    proc.put(900, start=6, ppid=500)
    await collector.collect()
    shutil.rmtree(tmp_path / "500")
    proc.put(900, start=6, ppid=1)
    await collector.collect()
    proc.put(500, start=99)
    place.containers["c"] = KnownContainer("c", 500, 0)
    place.containers_version += 1
    await collector.collect()

    assert [place.container_of(pid) for pid in (500, 900)] == ["c", None]
    await collector.close()


async def test_a_process_belongs_to_the_container_of_its_ancestor_or_of_its_cgroup(
    proc: Proc,
) -> None:
    first, second = "a" * 64, "b" * 64
    proc.put(10, ppid=1)
    proc.put(11, ppid=10)
    proc.put(12, ppid=11)
    proc.put(20, ppid=1, cgroup=f"/docker/{second}")
    proc.put(30, ppid=1, cgroup="/docker/" + "c" * 64)
    place = site(proc=str(proc.folder))
    collector = ProcessCollector(place)
    await collector.collect()
    place.containers = {
        first: KnownContainer(first, 10, 0),
        second: KnownContainer(second, 99, 0),
    }
    place.containers_version += 1
    await collector.collect()

    assert [place.container_of(pid) for pid in (10, 11, 12, 20, 30)] == [
        *(first, first, first),
        second,
        None,
    ]


async def test_more_processes_than_files_may_be_open_are_read_all_the_same(proc: Proc) -> None:
    place = site(proc=str(proc.folder))
    place.files.limit = 2
    for pid in range(10, 20):
        proc.put(pid)
    collector = ProcessCollector(place)
    await collector.collect()
    await collector.collect()

    assert len(place.ledger["process"]) == 10
    assert place.files.used == 2
    await collector.close()
    assert place.files.used == 0


async def test_arguments_that_are_noted_a_moment_later_are_told_then(tmp_path: Path) -> None:
    folder = tmp_path / "70"
    folder.mkdir()
    (tmp_path / "stat").write_text("btime 1\nprocesses 1\n")

    def write(end: int, line: str) -> None:
        fields = ["S", "1", *["0"] * 42, *("0", "4096", str(end)), *["0"] * 3]
        (folder / "stat").write_text(f"70 (sh) {' '.join(fields)}\n")
        (folder / "cmdline").write_text(line)

    place = site(proc=str(tmp_path))
    collector = ProcessCollector(place)
    write(0, "")
    await collector.start()
    await collector.collect()
    assert (by_pid(place, 70) or {}).get("command_line") is None

    write(5000, "sh\0-x\0")
    await collector.collect()
    assert (by_pid(place, 70) or {})["command_line"] == "sh -x"
