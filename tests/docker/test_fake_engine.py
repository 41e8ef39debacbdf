"""The fake engine is held to the real one: whatever it says, the real one says in the same shape.

The real one says more; what matters is that nothing a probe reads from the fake could be missing,
called otherwise or of another kind where there is a real engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from probe.agent import docker
from probe.agent.collectors.docker_values import facts
from tests.docker.engine import IMAGE, DockerEngine
from tests.probe.docker_engine import FakeEngine, container, serving

pytestmark = pytest.mark.timeout(600)

BOUND_S = 60.0
A = "a" * 64
# Maps whose keys are names that somebody gave.
_NAMED = ("Labels", "Networks", "Ports", "Attributes")


def shapes(value: Any, path: str = "") -> dict[str, set[str]]:
    """Kind of JSON value by path; elements of a list, and values by given names, are one each."""
    found: dict[str, set[str]] = {path: {type(value).__name__}}
    items: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        is_named = path.rpartition(".")[2] in _NAMED
        named = cast("dict[str, Any]", value)
        items = [(f"{path}.{'*' if is_named else key}", one) for key, one in named.items()]
    elif isinstance(value, list):
        items = [(f"{path}[]", one) for one in cast("list[Any]", value)]
    for below, one in items:
        for name, kinds in shapes(one, below).items():
            found.setdefault(name, set()).update(kinds)
    return found


def differences(fake: Any, real: Any) -> list[str]:
    """What the fake says and the real one does not, or not in this kind. Null stands for none."""
    known = shapes(real)
    return [
        f"{path}: {kinds} of the fake, {known.get(path)} of the real one"
        for path, kinds in shapes(fake).items()
        if not kinds - {"NoneType"} <= known.get(path, set())
    ]


@contextlib.asynccontextmanager
async def fake(folder: Path) -> AsyncGenerator[FakeEngine]:
    async with serving(folder / "docker.sock") as engine:
        one = container(A, pid=1, labels={"a": "b"}, env=["A=b"], health="healthy")
        engine.containers[A] = one
        yield engine


async def ask(address: str, path: str) -> Any:
    """An answer as it came."""
    asking = docker.Engine(address)
    try:
        return json.loads(await asking._ask.get(path))  # noqa: SLF001 - bytes, before they are read  # pyright: ignore[reportPrivateUsage] - as above
    finally:
        await asking.close()


def like_the_fake(engine: DockerEngine) -> str:
    """A container that has all that the fake's has."""
    return engine.run(
        "like",
        Labels={"a": "b"},
        Env=["A=b"],
        Healthcheck={"Test": ["CMD", "test", "-e", "/"], "Interval": 1_000_000_000},
        ExposedPorts={"80/tcp": {}, "443/tcp": {}},
        HostConfig={"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}},
    )


@pytest.mark.parametrize("path", ["/version", "/images/json", "/containers/json?all=1"])
async def test_answers_have_the_shape_of_real_ones(
    engine: DockerEngine, tmp_path: Path, path: str
) -> None:
    await asyncio.to_thread(like_the_fake, engine)
    async with fake(tmp_path) as made:
        assert differences(await ask(made.address, path), await ask(engine.address, path)) == []


async def test_an_inspection_has_the_shape_of_a_real_one(
    engine: DockerEngine, tmp_path: Path
) -> None:
    id_ = await asyncio.to_thread(like_the_fake, engine)
    async with fake(tmp_path) as made:
        told = await ask(made.address, f"/containers/{A}/json")
        known = await ask(engine.address, f"/containers/{id_}/json")
        ended = await ask_of_ended(engine)

        assert differences(told, known) == []
        assert differences(container(A), ended) == []


async def ask_of_ended(engine: DockerEngine) -> Any:
    id_ = await asyncio.to_thread(engine.run, "ending", "sh", "-c", "false")
    await asyncio.to_thread(engine.ask, "POST", f"/containers/{id_}/wait")
    found = await ask(engine.address, f"/containers/{id_}/json")
    # An ended one has no ports any more; those of a running one are compared above.
    found["NetworkSettings"]["Ports"] = {
        "80/tcp": [{"HostIp": "", "HostPort": ""}],
        "443/tcp": None,
    }
    return found


async def test_what_is_told_of_a_container_of_each_has_the_same_columns(
    engine: DockerEngine, tmp_path: Path
) -> None:
    id_ = await asyncio.to_thread(like_the_fake, engine)
    async with fake(tmp_path) as made:
        columns: list[set[str]] = []
        for address, one in ((made.address, A), (engine.address, id_)):
            asking = docker.Engine(address)
            found = await asking.inspect(one)
            await asking.close()
            assert found is not None
            told = facts(found)
            columns.append({name for name, value in told.items() if value})

        # A container of Docker's own network has an address; the fake's has none.
        assert columns[0] <= columns[1]


@pytest.mark.parametrize("which", ["fake", "real"])
async def test_a_container_that_is_not_there_is_none(
    engine: DockerEngine, tmp_path: Path, which: str
) -> None:
    async with fake(tmp_path) as made:
        asking = docker.Engine(made.address if which == "fake" else engine.address)
        try:
            assert await asking.inspect("0" * 64) is None
        finally:
            await asking.close()


async def first_event(address: str, cause: Callable[[], Any]) -> docker.Event:
    """The first event after something was done."""
    asking = docker.Engine(address)
    try:
        async with asyncio.timeout(BOUND_S), contextlib.aclosing(asking.events()) as events:
            async for event in events:
                if event is not None:
                    return event
                await asyncio.to_thread(cause)
    finally:
        await asking.close()
    pytest.fail("the stream ended")


async def test_events_say_the_same_of_the_same(engine: DockerEngine, tmp_path: Path) -> None:
    ids: list[str] = []
    real = await first_event(engine.address, lambda: ids.append(engine.create("eventful")))
    async with fake(tmp_path) as made:
        loop = asyncio.get_running_loop()

        def put() -> None:
            loop.call_soon_threadsafe(made.put, container(A), "create")

        told = await first_event(made.address, put)

    assert (real.type, real.action, real.container) == ("container", "create", ids[0])
    assert (told.type, told.action, told.container) == ("container", "create", A)


async def test_an_image_has_its_names(engine: DockerEngine) -> None:
    asking = docker.Engine(engine.address)
    try:
        (image,) = await asking.images()
    finally:
        await asking.close()

    assert image.repo_tags == [IMAGE]
    assert image.size > 0
