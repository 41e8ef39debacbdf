"""Apps that are away, move, refuse, lie or do not read: all that fits arrives, nobody storms."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from typing import Any

import pytest

from probe.agent.errors import SettingsError
from probe.agent.http import parse_place
from probe.agent.publisher import Publisher, Ring
from tests.ports import free_port
from tests.probe.receiver import receiving
from tests.probe.test_publisher import World, holds, is_well, publishing
from tests.waiting import until


async def test_an_app_that_has_moved_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    place = "127.0.0.1"
    asked: list[str] = []

    async def resolve(host: Any, port: Any, **_: Any) -> list[Any]:
        asked.append(str(host))
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (place, port))]

    monkeypatch.setattr(loop, "getaddrinfo", resolve)
    port = free_port()
    async with (
        receiving(port) as first,
        receiving(port, address="127.0.0.2") as second,
        publishing(World(port, host="app.example")) as world,
    ):
        world.say(1)
        await holds(first, 1)
        place = "127.0.0.2"
        await first.stop()
        world.say(2)
        await holds(second, 2)

    assert len(asked) == 2
    assert set(asked) == {"app.example"}


async def test_an_app_that_says_when_is_not_asked_before() -> None:
    async with receiving() as app, publishing(World(app.port)) as world:
        app.answers, app.retry_after_s = [503, 429], 7
        world.say(1)
        await holds(app, 1)

        assert world.random.asked[:2] == [(1.0, 1.5)] * 2
        assert world.outlets[0].failed == 2


async def test_after_a_restart_of_an_app_snapshots_of_many_probes_are_spread() -> None:
    worlds: list[World] = []
    async with receiving() as app, asyncio.TaskGroup() as group:
        for number in range(20):
            world = World(app.port)
            world.ledger.probe = f"probe-{number}"
            worlds.append(world)
        tasks = [group.create_task(world.publisher.run()) for world in worlds]
        for world in worlds:
            world.say(1)
        await until(lambda: all(one.outlets[0].had_stream for one in worlds), "all have come")
        # The first snapshot waits for nothing.
        assert not any(world.random.asked for world in worlds)
        app.mirrors.clear()
        for world in worlds:
            world.say(2)
        await until(lambda: app.snapshots == 40, "all came again")

        assert all(world.random.asked == [(0, 5.0)] for world in worlds)
        assert all(world.outlets[0].snapshots == 2 for world in worlds)
        for task in tasks:
            task.cancel()


async def test_an_app_that_says_at_once_is_not_stormed() -> None:
    async with receiving() as app, publishing(World(app.port)) as world:
        app.answers, app.retry_after_s = [503] * 20, 0
        began = time.monotonic()
        world.say(1)
        await holds(app, 1)

        # Half a second each, of which this world's chance makes a fiftieth.
        assert time.monotonic() - began >= 20 * 0.01


async def test_while_an_app_is_away_no_snapshot_is_made_for_it() -> None:
    async with receiving() as app, publishing(World(app.port)) as world:
        world.say(1)
        await holds(app, 1)
        (outlet,) = world.outlets
        await app.stop()
        world.say(2)
        await until(lambda: outlet.failed, "it is missed")
        for number in range(3, 200):
            world.say(number)
        await until(lambda: outlet.failed > 5, "it is asked again and again")
        assert (outlet.snapshots, world.random.asked.count((0, 5.0))) == (1, 0)
        await app.start()
        await holds(app, 199)

        # It has missed more than a snapshot costs: it gets one, but not when all others do.
        assert (outlet.snapshots, world.random.asked.count((0, 5.0))) == (2, 1)
        assert len(app.frames) < 10


async def test_what_a_snapshot_costs_is_not_what_it_cost_when_nothing_was_known() -> None:
    async with receiving() as app:
        world = World(app.port)
        now = 0.0
        world.publisher = Publisher(
            world.ledger,
            world.outlets,
            wall=time.time,
            lease_ms=30_000,
            random_=world.random,
            clock=lambda: now,
        )
        async with publishing(world):
            world.say(1)
            await holds(app, 1)
            chance = random.Random(1)  # noqa: S311 - what packs badly
            for _ in range(1_000):
                world.ledger["container"].put(f"{chance.getrandbits(256):064x}", state="running")
            world.say(2)
            await holds(app, 2)
            now = 61.0
            await app.stop()
            for number in range(3, 40):
                world.say(number)
            await app.start()
            await holds(app, 39)

            assert app.snapshots == 1


LIES = {
    "always the first frame": b'{"epoch": 1, "seq": 0}',
    "a frame that is not made yet": b'{"epoch": 1, "seq": 900}',
    "another life": b'{"epoch": 7, "seq": 1}',
    "no reply": b"<html>",
    "nothing": b"",
    "a reply of another shape": b'{"epoch": "x"}',
}


@pytest.mark.parametrize("reply", LIES.values(), ids=LIES.keys())
async def test_an_app_that_lies_about_how_far_it_is_gets_few_frames_and_then_a_pause(
    reply: bytes,
) -> None:
    async with receiving() as app, publishing(World(app.port)) as world:
        app.reply = reply
        world.say(1)
        await until(lambda: world.outlets[0].failed >= 3, "it is noted")
        assert len(app.frames) <= 2 * world.outlets[0].failed + 2
        assert world.outlets[0].problem is not None
        app.reply = None
        world.say(2)
        await holds(app, 2)
        await is_well(world)


async def test_an_app_that_does_not_read_holds_up_nobody_and_the_buffer_keeps_its_bound() -> None:
    done = asyncio.Event()
    gone = asyncio.Event()

    async def deaf(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await done.wait()
        writer.close()
        gone.set()

    server = await asyncio.start_server(deaf, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, receiving() as app:
        world = World(port, app.port, ring=Ring(bytes_max=300_000))
        async with publishing(world):
            for number in range(1, 40):
                # Texts that do not compress, more than any socket buffers.
                noise = random.Random(number).randbytes(60_000).hex()  # noqa: S311 - no secret
                world.ledger["host"].put("h", name=noise)
                world.publisher.publish()
                await asyncio.sleep(0)
            world.ledger["host"].put("h", name=None)
            world.say(99)
            await until(lambda: app.nodes("host").get("h") == {"cpus": 99}, "the other has all")
            ring = world.publisher.ring

            assert ring.size <= 300_000
            assert ring.dropped > 0
        done.set()
        await gone.wait()


@pytest.mark.parametrize("url", ["http://a..b:1", "http://" + "x" * 70, "http://h/a b"])
def test_an_address_that_nobody_can_be_asked_at_is_refused_at_once(url: str) -> None:
    with pytest.raises(SettingsError, match="expected http://"):
        parse_place(url)
