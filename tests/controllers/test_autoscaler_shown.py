"""What an autoscaler decided, and why, is told to whoever asks it."""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from controllers.autoscaler import __main__ as command
from controllers.autoscaler import show
from controllers.autoscaler.decide import Cause
from controllers.autoscaler.driver import Autoscaler
from controllers.errors import ListenError
from controllers.listener import serving
from tests.controllers.test_autoscaler import APP, World, settings_file
from tests.controllers.test_exporter import samples
from tests.ports import free_port
from tests.waiting import BOUND_S, until

DOCS = Path(__file__).parents[2] / "docs" / "autoscaler.md"
NOON_S = 1_795_435_200.0


async def test_each_decision_is_shown_with_its_reason_newest_first() -> None:
    world = World(200.0)
    port = free_port()
    async with world.client as marathon, httpx.AsyncClient(trust_env=False) as asking:
        autoscaler = Autoscaler(marathon, world.metrics, lambda: 0.0, now=lambda: NOON_S)
        async with serving(show.routes(autoscaler), "127.0.0.1", port):
            at = f"http://127.0.0.1:{port}"
            assert (await asking.get(f"{at}/healthz")).text == "ok\n"
            before = (await asking.get(f"{at}/status")).json()
            await autoscaler.round((APP,))
            await autoscaler.round((APP,))
            told = (await asking.get(f"{at}/status")).json()
            found = samples((await asking.get(f"{at}/metrics")).text)
        with pytest.raises(httpx.ConnectError):
            await asking.get(f"{at}/status")

    assert before == {"rounds": 0, "last_round_at": None, "apps": {}}
    first = {
        "at": "2026-11-23T12:00:00+00:00",
        "instances": 2,
        "value": 200.0,
        "wanted": 4,
        "cause": "scaled up",
        "reason": "200 of 100 an instance",
        "failed": None,
    }
    second = {**first, "instances": 4, "cause": "cooling down"}
    second["reason"] = "200 of 100 an instance: 8 wanted, 30 s to rest"
    shown = {"failed": None, "decision": second, "decisions": [second, first]}
    assert told == {"rounds": 2, "last_round_at": first["at"], "apps": {"/a": shown}}
    app = 'app="/a"'
    assert found["autoscaler_rounds_total", ""] == 2
    assert found["autoscaler_last_round_timestamp_seconds", ""] == NOON_S
    assert found["autoscaler_app_instances", app] == 4
    assert found["autoscaler_app_value", app] == 200
    assert found["autoscaler_decisions_total", f'{app},cause="scaled up"'] == 1
    causes = {labels for (name, labels), value in found.items() if value and "app_cause" in name}
    assert causes == {f'{app},cause="cooling down"'}


async def test_what_failed_is_shown_and_forgotten_when_it_does_no_more() -> None:
    world = World(200.0)
    world.answers["PUT /v2/apps/a"] = [httpx.Response(409, json={"message": "locked"})]
    async with world.client as marathon:
        autoscaler = Autoscaler(marathon, world.metrics, lambda: 0.0)

        async def shown() -> tuple[str | None, list[float]]:
            await autoscaler.round((APP,))
            found = samples(show.render(autoscaler))
            failed: str | None = show.status(autoscaler)["apps"]["/a"]["failed"]
            names = ("autoscaler_app_failed", "autoscaler_failures_total")
            return failed, [found[name, 'app="/a"'] for name in names]

        refused, figures = await shown()
        assert figures == [1, 1]
        (decision,) = show.status(autoscaler)["apps"]["/a"]["decisions"]
        assert (decision["wanted"], decision["failed"]) == (4, refused)
        assert "locked" in str(refused)

        world.answers["GET /api/v1/query"] = [httpx.Response(500, text="<html>")]
        unknown, figures = await shown()
        assert "expected one number for 'load'" in str(unknown)
        assert figures == [1, 2]
        assert ("autoscaler_app_value", 'app="/a"') not in samples(show.render(autoscaler))

        world.answers["GET /v2/apps/a"] = [httpx.Response(404, json={"message": "none"})]
        missing, figures = await shown()
        assert "expected an app /a, saw none" in str(missing)
        assert figures == [1, 3]

        world.answers["GET /v2/apps/a"] = [world.app]
        world.answers["GET /api/v1/query"] = [world.query]
        world.answers["PUT /v2/apps/a"] = [world.scale]
        assert await shown() == (None, [0, 3])


async def test_the_process_answers_while_it_goes_round(tmp_path: Path) -> None:
    port, theirs = free_port(), free_port()
    answers: dict[str, Any] = {
        "/v2/leader": {"leader": f"127.0.0.1:{theirs}"},
        "/v2/apps/a": {"app": {"id": "/a", "instances": 1}},
        "/api/v1/query": {
            "status": "success",
            "data": {"resultType": "scalar", "result": [0, "1"]},
        },
    }

    async def answer(request: Request) -> Response:
        return JSONResponse(answers[request.url.path])

    others = Starlette(routes=[Route(path, answer) for path in answers])
    path = settings_file(
        tmp_path,
        listen_port=port,
        marathon=[f"127.0.0.1:{theirs}"],
        prometheus=f"http://127.0.0.1:{theirs}",
    )
    stop = asyncio.Event()
    async with serving(others, "127.0.0.1", theirs), httpx.AsyncClient(trust_env=False) as asking:
        running = asyncio.create_task(command.serve(path, stop))

        async def reason() -> str | None:
            try:
                told = (await asking.get(f"http://127.0.0.1:{port}/status")).json()
            except httpx.ConnectError:
                return None
            return told["apps"]["/a"]["decision"]["reason"] if told["rounds"] else None

        assert await until(reason, "a round has ended") == "1 of 1 an instance"
        stop.set()
        async with asyncio.timeout(BOUND_S):
            await running


async def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        path = settings_file(tmp_path, listen_port=port)
        with pytest.raises(ListenError, match=f"listen on 127.0.0.1:{port}, saw Address already"):
            await command.serve(path, asyncio.Event())


def test_all_that_is_told_is_documented() -> None:
    text = DOCS.read_text()
    for cause in Cause:
        assert f"`{cause}`" in text
    assert set(re.findall(r"^\| `(autoscaler_\w+)`", text, re.MULTILINE)) == show.METRICS.keys()
