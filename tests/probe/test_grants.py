"""Nothing acts without a grant of its own, and who asks is told; read-only mode refuses all."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import stat
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from probe.agent.agent import Agent
from probe.agent.errors import NotGrantedError, SettingsError
from probe.agent.grants import CONTROLS, Grants
from probe.agent.log import Log
from probe.agent.settings import Settings, parse_settings
from tests.waiting import until


@pytest.mark.parametrize("control", [*CONTROLS, "plugin.traffic-control.slow", "", "container.*"])
def test_without_a_grant_every_control_is_refused(control: str) -> None:
    grants = Grants()
    with pytest.raises(NotGrantedError, match="add it to `controls`") as raised:
        grants.check(control)

    assert raised.value.control == control
    assert grants.refused == 1
    assert grants.effective == []


@pytest.mark.parametrize("granted", CONTROLS)
def test_a_grant_is_of_one_control_and_of_no_other(granted: str) -> None:
    grants = Grants([granted])
    grants.check(granted)
    for other in CONTROLS.keys() - {granted}:
        with pytest.raises(NotGrantedError):
            grants.check(other)

    assert grants.effective == [granted]


def test_read_only_mode_refuses_what_is_granted() -> None:
    grants = Grants(list(CONTROLS), read_only=True)
    for control in CONTROLS:
        with pytest.raises(NotGrantedError, match="read-only mode"):
            grants.check(control)

    assert grants.effective == []
    assert grants.refused == len(CONTROLS)


@pytest.mark.parametrize(
    "name", ["container.explode", "plugin.x", "plugin.a b.c", "container.*", "*"]
)
def test_a_grant_of_something_unknown_is_refused_before_anything_starts(name: str) -> None:
    with pytest.raises(SettingsError, match="expected controls of"):
        parse_settings(json.dumps({"controls": [name]}).encode(), "file")


def test_grants_are_settings() -> None:
    given = b"read_only: true\ncontrols: [container.stop, plugin.traffic-control.table-slow]\n"
    found = parse_settings(given, "file")

    assert found.read_only
    assert found.controls == ("container.stop", "plugin.traffic-control.table-slow")
    assert Settings().controls == ()


@contextlib.asynccontextmanager
async def running(folder: Path, **more: Any) -> AsyncGenerator[tuple[Agent, io.StringIO]]:
    log = io.StringIO()
    settings = Settings(collectors=("host",), status_socket=str(folder / "a.sock"), **more)
    agent = Agent(settings, Log(log))
    task = asyncio.create_task(agent.run())
    try:
        await until((folder / "a.sock").exists, "its socket is there")
        yield agent, log
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def ask(folder: Path, method: str, path: str) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_unix_connection(folder / "a.sock")
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), body


async def test_an_act_that_nobody_granted_is_refused_counted_logged_and_shown(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as (agent, log):
        status, body = await ask(tmp_path, "POST", "/control/container.stop")
        assert status == 403
        assert b"add it to `controls`" in body
        await ask(tmp_path, "POST", "/control/evil\x1b[2Jname".replace("\x1b", "%1b"))
        told: dict[str, Any] = json.loads((await ask(tmp_path, "GET", "/status"))[1])
        _, metrics = await ask(tmp_path, "GET", "/metrics")

        assert (told["read_only"], told["granted"], told["refused"]) == (False, [], 2)
        assert b"probe_agent_controls_refused_total 2\n" in metrics
        assert log.getvalue().count('"control.refused"') == 2
        await until(lambda: len(agent.ledger["host"]), "the host is told of")
        host = agent.ledger["host"].node(agent.site.host)
        assert (host["read_only"], host["controls"]) == (False, [])


async def test_what_is_granted_is_shown_and_read_only_mode_takes_it_back(tmp_path: Path) -> None:
    async with running(tmp_path, controls=("container.stop",)) as (agent, _):
        assert (await ask(tmp_path, "POST", "/control/container.stop"))[0] == 501
        assert (await ask(tmp_path, "POST", "/control/container.start"))[0] == 403
        await until(lambda: len(agent.ledger["host"]), "the host is told of")
        assert agent.ledger["host"].node(agent.site.host)["controls"] == ["container.stop"]
    async with running(tmp_path, controls=("container.stop",), read_only=True) as (agent, _):
        status, body = await ask(tmp_path, "POST", "/control/container.stop")
        assert (status, b"read-only mode" in body) == (403, True)
        await until(lambda: len(agent.ledger["host"]), "the host is told of")
        assert agent.ledger["host"].node(agent.site.host)["controls"] == []


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_nothing_is_changed_through_the_status_socket(tmp_path: Path, method: str) -> None:
    async with running(tmp_path):
        assert (await ask(tmp_path, method, "/status"))[0] == 405
        assert (await ask(tmp_path, "GET", "/status?pretty"))[0] == 200


def mode_of(path: str) -> int:
    return stat.S_IMODE(Path(path).stat().st_mode)


async def test_the_socket_is_its_user_s_alone_from_its_first_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    async def look(*_: object, **more: Any) -> None:
        seen.append(mode_of(more["sock"].getsockname()))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("asyncio.start_unix_server", look)
    log = io.StringIO()
    settings = Settings(collectors=(), status_socket=str(tmp_path / "a.sock"))
    task = asyncio.create_task(Agent(settings, Log(log)).run())
    await until(lambda: "No space left" in log.getvalue(), "an agent without a socket works on")
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert seen == [0o600]
