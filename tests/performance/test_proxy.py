"""The way that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import pytest

from sync_engine.hosts import parse_hosts
from tests.performance.proxy import Flow, Partition, between

_BOUND_S = 10.0


@contextlib.asynccontextmanager
async def echoing() -> AsyncGenerator[str]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@contextlib.asynccontextmanager
async def connected(
    hosts: str,
) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    ((host, port),) = parse_hosts(hosts)
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


async def silent(hosts: str, partition: Partition, answer: asyncio.Task[bytes]) -> None:
    """See that nothing arrives while the way is cut, and that it does once it is healed."""
    # Whatever was sent before would have come before this, which takes as many steps.
    async with between(hosts) as (_, way), connected(way) as (reader, writer):
        for _ in range(2):
            writer.write(b"after\n")
            assert await asyncio.wait_for(reader.readline(), _BOUND_S) == b"after\n"
    assert not answer.done()
    partition.heal()
    assert await asyncio.wait_for(answer, _BOUND_S) == b"two\n"


async def test_what_is_sent_while_cut_arrives_when_healed() -> None:
    async with (
        echoing() as hosts,
        between(hosts) as (partition, way),
        connected(way) as (reader, writer),
    ):
        writer.write(b"one\n")
        assert await asyncio.wait_for(reader.readline(), _BOUND_S) == b"one\n"
        partition.cut()
        writer.write(b"two\n")
        await silent(hosts, partition, asyncio.create_task(reader.readline()))


async def test_a_connection_made_while_cut_is_silent() -> None:
    async with echoing() as hosts, between(hosts) as (partition, way):
        partition.cut()
        async with connected(way) as (reader, writer):
            writer.write(b"two\n")
            await silent(hosts, partition, asyncio.create_task(reader.readline()))


@pytest.mark.parametrize("cut", [False, True])
async def test_nothing_is_left_open(cut: bool) -> None:
    async with echoing() as hosts:
        async with between(hosts) as (partition, way), connected(way) as (reader, writer):
            writer.write(b"one\n")
            assert await asyncio.wait_for(reader.readline(), _BOUND_S) == b"one\n"
            if cut:
                partition.cut()
        left = {task for task in asyncio.all_tasks() if "take" in repr(task)}
        assert not left


async def test_one_direction_can_be_cut_alone() -> None:
    async with (
        echoing() as hosts,
        between(hosts) as (partition, way),
        connected(way) as (reader, writer),
    ):
        partition.cut([Flow.ANSWERS])
        writer.write(b"two\n")
        await silent(hosts, partition, asyncio.create_task(reader.readline()))


async def test_a_delay_holds_up_both_directions() -> None:
    async with (
        echoing() as hosts,
        between(hosts) as (partition, way),
        connected(way) as (reader, writer),
    ):
        partition.delay(0.1, 0.1)
        began = asyncio.get_running_loop().time()
        writer.write(b"one\n")
        assert await asyncio.wait_for(reader.readline(), _BOUND_S) == b"one\n"
        assert asyncio.get_running_loop().time() - began >= 0.2
