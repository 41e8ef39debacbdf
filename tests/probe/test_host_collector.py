"""The machine: on the real /proc, and on one that lacks things or is wrong."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from probe.agent.collector import State
from probe.agent.collectors import host
from probe.agent.collectors.addresses import interface_addresses, networks
from probe.agent.collectors.host import HostCollector
from tests.probe.sites import site

STAT = "cpu  {user} 0 0 {idle} 0 0 0 0 0 0\nbtime 1700000000\nprocesses {started}\n"
ROUTE = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 10.0.0.5
        /32 host LOCAL
     |-- 10.0.0.255
        /32 link BROADCAST
     |-- 127.0.0.1
        /32 host LOCAL
"""
INET6 = "fe800000000000000000000000000001 02 40 20 80     eth0\n"


def proc(folder: Path, *, user: int = 0, idle: int = 0) -> str:
    """A /proc made by hand, without pressure."""
    for name, text in {
        "stat": STAT.format(user=user, idle=idle, started=42),
        "meminfo": "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 400 kB\n",
        "loadavg": "0.50 0.40 0.30 1/100 42\n",
        "net/route": ROUTE,
        "net/fib_trie": TRIE,
        "net/if_inet6": INET6,
        "sys/kernel/hostname": "a\x1b[31mhost\n",
        "sys/kernel/osrelease": "6.1.0\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return str(folder)


async def test_this_machine_is_told_of() -> None:
    place = site()
    collector = HostCollector(place)
    await collector.start()
    await collector.collect()
    await collector.collect()
    node = place.ledger["host"].node("node")

    assert node["cpus"] == os.cpu_count()
    assert int(str(node["memory_total_bytes"])) > int(str(node["memory_used_bytes"])) > 0
    assert int(str(node["disk_total_bytes"])) > 0
    assert "lo 127.0.0.1/8" in str(node["addresses"])
    await collector.close()
    assert place.files.used == 0


async def test_use_is_that_between_two_looks(tmp_path: Path) -> None:
    place = site(proc=proc(tmp_path))
    collector = HostCollector(place)
    await collector.start()
    await collector.collect()
    proc(tmp_path, user=250, idle=750)
    await collector.collect()
    node = place.ledger["host"].node("node")

    assert node["cpu_percent"] == 25.0
    assert node["memory_used_bytes"] == 600 * 1024
    assert node["processes_started"] == 42
    assert node["boot_time_ms"] == 1_700_000_000_000
    assert "\x1b" not in str(node["name"])
    await collector.close()


async def test_a_kernel_without_pressure_is_a_miss_and_no_failure(tmp_path: Path) -> None:
    collector = HostCollector(site(proc=proc(tmp_path)))
    await collector.start()
    await collector.collect()
    capability = collector.capability()

    assert capability.state is State.PARTIAL
    assert capability.misses[0].what == "pressure of cpu, memory, io"
    await collector.close()


async def test_a_file_system_that_hangs_holds_up_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, asked = threading.Event(), 0

    def hang(_: str) -> tuple[int, int]:
        nonlocal asked
        asked += 1
        released.wait(60)
        return 1, 1

    monkeypatch.setattr(host, "_root_disk", hang)
    monkeypatch.setattr(host, "_DISK_S_MAX", 0.05)
    place = site(proc=proc(tmp_path))
    collector = HostCollector(place)
    await collector.start()
    try:
        async with asyncio.timeout(10):
            for _ in range(25):
                await collector.collect()
        assert asked == 1
        assert "disk_total_bytes" not in place.ledger["host"].node("node")
    finally:
        released.set()
        await collector.close()


def test_addresses_and_networks_are_read_from_the_kernel_s_tables(tmp_path: Path) -> None:
    folder = proc(tmp_path)

    assert interface_addresses(folder) == [
        "eth0 10.0.0.5/24",
        "lo 127.0.0.1/8",
        "eth0 fe80::1/64",
    ]
    assert networks(folder) == ["10.0.0.0/24", "fe80::/64"]
    assert interface_addresses(str(tmp_path / "none")) == []
