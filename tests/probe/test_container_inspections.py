"""Inspections of containers: one that hangs or is refused holds up no other one."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from probe.agent.collector import State
from probe.agent.inspections import Inspections
from tests.probe.docker_engine import container, serving
from tests.probe.test_container_collector import A, B, C, World, looking
from tests.waiting import until

HANGS = None


@pytest.mark.parametrize("status", [500, None], ids=["refused", "hangs"])
async def test_a_container_that_cannot_be_inspected_is_missed_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int | None
) -> None:
    if status is None:
        monkeypatch.setattr("probe.agent.docker._TIMEOUT_S", 1.0)
    all_ = [container(id_, name=id_[0]) for id_ in (A, B, C)]
    async with looking(tmp_path, *all_, broken={B: status}) as world:
        engine = world.engine
        await world.collector.collect()
        capability = world.collector.capability()

        assert sorted(world.site.ledger["container"].ids()) == [A, B, C]
        told = world.node(B)
        assert told is not None
        assert (told["name"], told["state"]) == ("b", "exited")
        assert "command" not in told
        assert capability.state is State.PARTIAL
        assert "1 containers that the engine does not tell of" in capability.misses[0].what

        # Events of the others, and of itself, are followed.
        engine.put(container(A, name="renamed"), "rename")
        await world.told(A, name="renamed")
        engine.tell("start", B)
        await world.told(B, state="running")

        del engine.broken[B]
        world.clock.now += 60
        await world.collector.collect()
        told = await world.told(B, state="exited")
        assert told["command"] == "/docker-entrypoint.sh nginx -g daemon off;"
        assert world.collector.capability().misses == ()


async def test_events_go_on_while_some_inspections_hang(tmp_path: Path) -> None:
    hanging = [f"{n:064x}" for n in range(2)]
    async with looking(tmp_path) as world:
        engine = world.engine
        for id_ in hanging:
            engine.broken[id_] = HANGS
            engine.put(container(id_))
        taken: list[float] = []
        for number in range(20):
            began = time.monotonic()
            engine.put(container(A, name=f"n{number}"), "rename")
            await world.told(A, name=f"n{number}")
            taken.append(time.monotonic() - began)
        # Its end is told as well, though nobody can look at it.
        engine.tell("die", hanging[0])
        await world.told(hanging[0], state="exited")

        # Half of them, because the machine may be busy; an inspection is given up after 5 s.
        assert sorted(taken)[10] < 0.2


async def test_events_go_on_while_images_are_not_listed(tmp_path: Path) -> None:
    async with looking(tmp_path) as world:
        engine = world.engine
        engine.images_hang = True
        requests = engine.requests
        engine.tell("pull", "nginx:1.28", "image")
        await until(lambda: engine.requests > requests, "it asks for them")
        began = time.monotonic()
        engine.put(container(A))
        await world.told(A, state="exited")

        # A question is given up after 5 s.
        assert time.monotonic() - began < 4.0


async def test_images_that_cannot_be_listed_are_missed_and_listed_when_they_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("probe.agent.docker._TIMEOUT_S", 0.5)
    async with looking(tmp_path) as world:
        engine, images = world.engine, world.site.ledger["container_image"]
        engine.images_hang = True
        engine.tell("pull", "nginx:1.28", "image")

        def misses() -> str:
            return str(world.collector.capability().misses)

        await until(lambda: "images (" in misses(), "they are missed")
        engine.images_hang = False
        engine.images = []
        engine.tell("delete", "nginx:1.27", "image")
        await until(lambda: not len(images), "they are listed")
        assert world.collector.capability().misses == ()


@pytest.mark.parametrize(("code", "told"), [("137", 137), ("\u00b2", None), ("9" * 5_000, None)])
async def test_an_end_is_told_whatever_its_exit_code_is(
    tmp_path: Path, code: str, told: int | None
) -> None:
    async with looking(tmp_path, broken={A: HANGS}) as world:
        world.engine.tell("die", A, name="web", exitCode=code)
        node = await world.told(A, state="exited")
        assert node.get("exit_code") == told


async def test_one_that_is_gone_before_anybody_could_look_at_it_was_told_of(
    tmp_path: Path,
) -> None:
    crowd = [f"{n:064x}" for n in range(8)]
    async with looking(tmp_path) as world:
        told: set[str] = set()
        put = world.site.ledger["container"].put

        def noting(id_: str, /, **values: Any) -> int:
            told.add(id_)
            return put(id_, **values)

        world.site.ledger["container"].put = noting  # type: ignore[method-assign] - notes what is told
        for id_ in crowd:
            world.engine.broken[id_] = HANGS
            world.engine.put(container(id_))
        for id_ in crowd:
            world.engine.remove(id_)
        world.engine.put(container(A))
        await world.told(A, state="exited")

        assert told == {*crowd, A}
        assert world.site.ledger["container"].ids() == [A]


async def test_containers_that_hang_when_they_are_listed_hold_up_no_event(tmp_path: Path) -> None:
    hanging = [f"{n:064x}" for n in range(5)]
    async with serving(tmp_path / "docker.sock") as engine:
        engine.containers = {id_: container(id_) for id_ in (*hanging, A)}
        engine.broken = dict.fromkeys(hanging, HANGS)
        world = World(engine, tmp_path)
        starting = asyncio.create_task(world.collector.start())
        await until(lambda: engine.listeners, "it listens")
        await until(lambda: engine.requests > 4, "it looks at what is listed")
        began = time.monotonic()
        engine.put(container(A), "rename")
        engine.put(container(B))
        await world.told(A, state="exited")
        await world.told(B, state="exited")

        # An inspection is given up after 5 s at the earliest.
        assert time.monotonic() - began < 4.0
        assert not starting.done()
        starting.cancel()
        await asyncio.wait({starting})
        await world.collector.close()


class Looks:
    """Looks that end when a test says so."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        self.begun: list[str] = []
        self._ends: dict[str, asyncio.Future[str]] = {}
        self.inspections = Inspections[str](lambda id_, found: self.heard.append((id_, found)))

    async def look(self, id_: str) -> str:
        self.begun.append(id_)
        self._ends[id_] = asyncio.get_running_loop().create_future()
        return await self._ends[id_]

    async def end(self, id_: str, found: str) -> None:
        self._ends.pop(id_).set_result(found)
        for _ in range(5):
            await asyncio.sleep(0)

    async def ask(self, *ids: str, is_soon: bool = True) -> None:
        for id_ in ids:
            self.inspections.ask(id_, is_soon=is_soon)
        for _ in range(5):
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def working(*lanes: bool) -> AsyncGenerator[Looks]:
    looks = Looks()
    work = [
        asyncio.create_task(looks.inspections.work(looks.look, is_soon=is_soon))
        for is_soon in lanes
    ]
    try:
        yield looks
    finally:
        for one in work:
            one.cancel()
        await asyncio.wait(work)


async def test_one_that_is_asked_for_while_it_is_looked_at_is_looked_at_once_more() -> None:
    async with working(True, True) as looks:
        await looks.ask("a")
        await looks.ask("a", "a", "a")
        assert looks.begun == ["a"]
        await looks.end("a", "before")
        assert looks.begun == ["a", "a"]
        await looks.end("a", "after")
        await looks.inspections.done()
        assert looks.begun == ["a", "a"]
        assert looks.heard == [("a", "before"), ("a", "after")]


async def test_one_that_waits_in_both_lanes_is_looked_at_once_and_soon() -> None:
    async with working(True, False) as looks:
        await looks.ask("hangs", "a", is_soon=False)
        await looks.ask("a")
        await looks.ask("a", is_soon=False)
        assert looks.begun == ["hangs", "a"]
        await looks.end("hangs", "late")
        await looks.end("a", "told")
        assert looks.begun == ["hangs", "a", "a"]


async def test_what_was_seen_of_one_that_has_gone_meanwhile_is_not_told() -> None:
    async with working(True, True) as looks:
        await looks.ask("a")
        looks.inspections.drop("a")
        await looks.end("a", "of before")
        assert looks.heard == []
        await looks.ask("a")
        await looks.end("a", "anew")
        assert looks.heard == [("a", "anew")]
