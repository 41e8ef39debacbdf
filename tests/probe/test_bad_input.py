"""What the world may do to an agent: full tables, clocks, apps that lie, kernels that hide.

Where the rest stands: names, labels and command lines in `test_process_collector`,
`test_container_collector`, `test_plugin_bounds`; pids, vanished entries and dying containers there
too; apps in `test_publisher_outages`; a full disk in `test_runner` and `test_grants`.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import time
from pathlib import Path
from typing import ClassVar

import pytest

from probe.agent.collector import State
from probe.agent.collectors import tracked_connections
from probe.agent.collectors.connections import ConnectionsCollector
from probe.agent.collectors.process import ProcessCollector
from probe.agent.errors import NetlinkError
from probe.agent.log import Log
from probe.agent.netlink import TCP, Tracked
from probe.agent.publisher import Publisher
from probe.report import wire
from probe.report.ledger import Ledger
from probe.report.mirror import Mirror
from probe.report.topologies import TOPOLOGIES
from tests.probe.receiver import receiving
from tests.probe.sites import Clock, site
from tests.probe.test_publisher import World, holds, is_well, publishing
from tests.waiting import until


class Tracking:
    """The kernel's connection tracking, as bad as can be."""

    fails: ClassVar[bool] = False

    def __init__(self) -> None:
        self.unread = 3
        self._reading, self._writing = os.pipe()

    def fileno(self) -> int:
        return self._reading

    def check(self) -> None:
        pass

    def dump(self) -> list[Tracked]:
        ends = (socket.inet_aton("10.0.0.1"), 50_000, socket.inet_aton("10.0.0.2"), 80)
        return [
            Tracked(TCP, *ends, *ends[2:], *ends[:2], is_new=True, is_answered=True, counters=None)
        ]

    def events(self) -> list[Tracked]:
        os.read(self._reading, 1)
        msg = "expected events, saw ENOBUFS"
        raise NetlinkError(msg, errno=105)

    def happen(self) -> None:
        os.write(self._writing, b"x")

    def close(self) -> None:
        os.close(self._reading)
        os.close(self._writing)


async def test_a_full_connection_table_and_lost_events_are_counted_shown_and_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "sys" / "net" / "netfilter"
    folder.mkdir(parents=True)
    (folder / "nf_conntrack_count").write_text("65536\n")
    (folder / "nf_conntrack_max").write_text("65536\n")
    for name in ("net", "self/net"):
        (tmp_path / name).mkdir(parents=True)
    made: list[Tracking] = []

    def tracking() -> Tracking:
        made.append(Tracking())
        return made[-1]

    monkeypatch.setattr(tracked_connections, "ConnectionTracking", tracking)
    looking = ConnectionsCollector(site(proc=str(tmp_path)))
    await looking.start()
    try:
        await looking.collect()
        for _ in range(2):
            made[0].happen()
        told = ""

        def lost() -> bool:
            nonlocal told
            told = " / ".join(str(miss) for miss in looking.capability().misses)
            return "2 times events came faster" in told

        await until(lost, "lost events are counted")
        await looking.collect()
        assert "the kernel drops: 65536 of 65536 are tracked: a larger" in told
        assert "3 tracked connections of a shape that is not known" in told
        assert looking.capability().state is State.PARTIAL
    finally:
        await looking.close()


async def test_a_clock_that_is_set_back_stops_no_stream_and_prolongs_no_lease() -> None:
    wall = Clock(1_000_000.0)
    async with receiving() as app:
        world = World(app.port)
        world.publisher = Publisher(world.ledger, world.outlets, wall=wall, lease_ms=30_000)
        async with publishing(world):
            for number, jump in enumerate((0.0, -500_000.0, 10.0, 900_000.0), 1):
                wall.now += jump
                world.say(number)
                await holds(app, number)
                (mirror,) = app.mirrors.values()
                assert mirror.expires_ms() == round(wall.now * 1000) + 30_000
        assert app.snapshots == 1


async def test_a_probe_that_was_restarted_after_its_clock_was_set_back_is_heard() -> None:
    async with receiving() as app:
        before = World(app.port)
        before.ledger.epoch = 1_900_000_000_000
        async with publishing(before):
            before.say(1)
            await holds(app, 1)
        after = World(app.port)
        after.ledger.epoch = 1_700_000_000_000
        async with publishing(after):
            for number in (2, 3):
                after.say(number)
                await holds(app, number)

            assert after.ledger.epoch == 1_900_000_000_001
            await is_well(after)


async def test_an_app_that_tells_of_later_and_later_lives_disturbs_no_other() -> None:
    async with receiving() as liar, receiving() as app:
        world = World(liar.port, app.port)
        liar.reply = b'{"epoch": 9000, "seq": 1}'
        async with publishing(world):
            for number in range(1, 30):
                liar.reply = b'{"epoch": %d, "seq": 1}' % (9000 + number * 1000)
                world.say(number)
                await holds(app, number)
            await until(lambda: world.outlets[0].failed > 3, "it is noted")

        assert app.snapshots <= 2
        assert world.ledger.epoch < 40_000


@pytest.mark.parametrize("epoch", [1 << 62, 1 << 63, (1 << 64) - 1, 1 << 80])
async def test_an_epoch_without_end_is_not_followed(epoch: int) -> None:
    async with receiving() as liar:
        liar.reply = b'{"epoch": %d, "seq": 1}' % epoch
        world = World(liar.port)
        async with publishing(world):
            world.say(1)
            await until(lambda: world.outlets[0].failed > 1, "it is noted")

        assert world.ledger.epoch == 1


async def test_a_process_whose_start_lies_in_the_future_is_told_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: -1e6)
    place = site()
    looking = ProcessCollector(place)
    await looking.start()
    await looking.collect()
    await looking.close()
    ledger = place.ledger
    ledger.delta(0, 1)

    Mirror().apply(ledger.snapshot(0, 1))


async def test_open_files_are_hidden_only_where_the_kernel_does_not_tell_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(path: str) -> list[str]:
        if path.endswith("/fd"):
            raise PermissionError
        return listed(path)

    listed = os.listdir
    place = site()
    looking = ProcessCollector(place)
    await looking.start()
    monkeypatch.setattr(os, "listdir", forbidden)
    tells = _size("/proc/self/fd") > 0
    await looking.collect()
    capability = looking.capability()
    await looking.close()

    assert capability.state is (State.FULL if tells else State.PARTIAL)
    assert bool(capability.misses) is not tells


def _size(path: str) -> int:
    return Path(path).stat().st_size


@pytest.mark.parametrize(
    ("options", "is_missed"),
    [
        ("rw", False),
        ("rw,hidepid=0", False),
        ("rw,hidepid=invisible,gid=7", True),
        ("hidepid=2", True),
    ],
)
async def test_a_proc_that_hides_others_processes_is_a_miss(
    tmp_path: Path, options: str, is_missed: bool
) -> None:
    (tmp_path / "self").mkdir()
    line = f"22 1 0:20 / {tmp_path} rw,nosuid - proc proc {options}\n"
    (tmp_path / "self" / "mountinfo").write_text(line)
    looking = ProcessCollector(site(proc=str(tmp_path)))
    await looking.start()
    await looking.collect()
    told = [miss.what for miss in looking.capability().misses]

    assert told == (
        [f"processes of other users: {tmp_path} is mounted with hidepid"] if is_missed else []
    )


async def test_a_trouble_that_comes_and_goes_for_days_fills_no_disk() -> None:
    stream = io.StringIO()
    log = Log(stream)
    for number in range(5_000):
        log.trouble("collector x", "the same")
        log.trouble(f"app {number}", "gone")
    assert stream.getvalue().count('"collector x"') == 1

    class Full:
        """A disk with no room."""

        def write(self, _: str) -> int:
            raise OSError(28, "No space left on device")

        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    with contextlib.redirect_stderr(Full()):  # pyright: ignore[reportArgumentType] - as little of a file as is used
        Log().event("agent.began")
        Log().trouble("a", "b")
        Log().well("a")


def test_every_topology_takes_a_hostile_text() -> None:
    hostile = "\x1b[2J\u202e\ud800" + "x" * 100_000
    ledger, mirror = Ledger("p", 1), Mirror()
    for name, topology in TOPOLOGIES.items():
        columns = {column.name: hostile for column in topology.columns}
        ledger[name].put("id", **columns)
    ledger.delta(0, 1)
    mirror.apply(wire.decode(wire.encode(ledger.snapshot(0, 1))))

    assert mirror.topologies() == sorted(TOPOLOGIES)
