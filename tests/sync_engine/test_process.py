"""The engine as a process: its doors, and what survives its death."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from sync_engine import cli
from sync_engine.client import (
    Direction,
    EngineRefusedError,
    EngineState,
    EngineUnreachableError,
    ProjectionKind,
    Side,
)
from sync_engine.lane import Lane
from sync_engine.znode import WORLD_ALL
from tests.sync_engine.rig import Rig, tree, until_equal
from tests.sync_engine.servers import Server
from tests.sync_engine.test_projection import candidate, follows, masters_of_a
from tests.waiting import until

Pair = tuple[Server, Server]
_END_BOUND_S = 15


async def ended(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process to end by itself."""
    return await asyncio.to_thread(process.wait, _END_BOUND_S)


async def test_status_tells_state_lag_and_sessions(pair: Pair, tmp_path: Path) -> None:
    rig = Rig(pair, tmp_path)
    async with rig.lanes() as (a, b), rig.process() as (process, client):
        await a.create(f"{rig.a}/x", b"1", WORLD_ALL)
        await until_equal(rig, a, b)

        async def measured() -> bool:
            return (await client.status()).directions[Direction.A_TO_B].lag.samples > 3

        await until(measured, "samples of lag")
        status = await client.status()
        way = status.directions[Direction.A_TO_B]
        assert status.state is EngineState.LIVE
        assert way.applied >= 1
        assert way.backlog == 0
        assert way.lag.p50_ms is not None
        assert way.lag.max_ms is not None
        assert way.lag.p50_ms <= way.lag.max_ms
        assert way.histogram["+Inf"] >= way.lag.samples
        assert status.subtrees[rig.name].owner is Side.A
        assert status.subtrees[rig.name].znodes == 2
        assert len(status.sessions[Side.A].session_ids) == 4
        assert (await client.audit(timeout_s=30)).equal
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{rig.port}") as http:
            assert (await http.get("/status")).status_code == 401
            assert (await http.get("/readyz")).status_code == 200
            metrics = (await http.get("/metrics")).text
        assert 'zksync_state{state="live"} 1' in metrics
        with pytest.raises(EngineRefusedError) as caught:
            await client.flip("nothing", Side.B)
        assert caught.value.type == "UnknownSubtree"
        # A word is about what was seen; where nothing waits, one without a name does nothing.
        assert (await client.confirm(rig.name)).subtrees[rig.name].waiting == []
        with pytest.raises(EngineRefusedError, match="saw nothing") as caught:
            await client.confirm(rig.name, seen="another")
        assert caught.value.type == "NotWhatWasSeen"
        arguments = ["--rules", str(rig.rules_file), "--seen", "another", rig.name]
        found = await asyncio.to_thread(CliRunner().invoke, cli.main, ["confirm", *arguments])
        assert found.exit_code == cli.EXIT_FAILED
        assert "expected that what was shown as another waits" in found.output
        process.send_signal(signal.SIGTERM)
        assert await ended(process) == 0
        with pytest.raises(EngineUnreachableError):
            await client.status()


async def test_kill_under_writes_loses_and_doubles_nothing(pair: Pair, tmp_path: Path) -> None:
    rig = Rig(pair, tmp_path)
    written: dict[str, int] = {}
    stop = asyncio.Event()
    async with rig.lanes() as (a, b):
        for i in range(50):
            await a.create(f"{rig.a}/n{i}", b"0", WORLD_ALL)

        async def write() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                name = f"n{number % 50}"
                await a.set_data(f"{rig.a}/{name}", str(number).encode(), -1)
                written[name] = number
                await a.create(f"{rig.a}/new{number}", b"", WORLD_ALL)
                if number % 3 == 0:
                    await a.delete(f"{rig.a}/new{number - 1}", -1)

        async with rig.client() as client:
            writing = asyncio.create_task(write())
            try:
                for round_ in range(3):
                    process = rig.start()
                    try:
                        await rig.await_live(process, client)
                        at = len(await tree(b, rig.b))
                        await until(lambda at=at: _grown(rig, b, at), f"copies in round {round_}")
                    finally:
                        process.kill()
                        process.wait()
            finally:
                stop.set()
                await writing
        async with rig.process() as (_, client):
            await until_equal(rig, a, b)
            status = await client.status()
            assert status.conflicts == 0, rig.conflicts()
            assert (await client.audit(timeout_s=30)).equal
        for name, number in written.items():
            assert (await b.get(f"{rig.b}/{name}"))[0] == str(number).encode()
            # No copy was written more often than its original.
            copies = (await b.get(f"{rig.b}/{name}"))[1].version
            assert copies <= (await a.get(f"{rig.a}/{name}"))[1].version


async def _grown(rig: Rig, b: Lane, at: int) -> bool:
    return len(await tree(b, rig.b)) > at + 20


async def test_second_process_fences_the_first(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    rig, other = Rig(pair, tmp_path / "one"), Rig(pair, tmp_path / "two")
    async with rig.lanes(), rig.process() as (first, client):
        assert (await client.status()).epoch > 0
        async with other.lanes(), other.process():
            assert await ended(first) == cli.EXIT_FENCED
        log = (rig.folder / "engine.log").read_text()
        assert "has taken over" in log


async def test_killed_engine_keeps_its_projection_and_goes_on(pair: Pair, tmp_path: Path) -> None:
    rig = Rig(pair, tmp_path)
    async with rig.lanes() as (a, b):
        await masters_of_a(a, rig.election)
        await candidate(b, rig.election, 1, "b1")
        async with rig.client() as client:
            process = rig.start()
            try:
                await rig.await_live(process, client)
                await client.project(rig.projection, ProjectionKind.EPHEMERAL)
            finally:
                process.kill()
                process.wait()
        async with rig.process() as (_, client):
            status = (await client.status()).projections[rig.projection]
            assert status.kind is ProjectionKind.EPHEMERAL
            await until(lambda: follows(a, rig.election, "b1"), "the projection")
            assert len((await a.children(rig.election))[0]) == 5
            await candidate(b, rig.election, 0, "b0")
            await until(lambda: follows(a, rig.election, "b0"), "the change of leader")


def test_check_names_what_is_wrong(pair: Pair, tmp_path: Path) -> None:
    rig = Rig(pair, tmp_path)
    rig.rules_file.write_text(rig.rules_file.read_text().replace("listen:", "lisen:"))
    command = [sys.executable, "-m", "sync_engine.cli", "check", "--rules", str(rig.rules_file)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert found.returncode == cli.EXIT_RULES
    assert "lisen" in found.stderr
    assert "Traceback" not in found.stderr
