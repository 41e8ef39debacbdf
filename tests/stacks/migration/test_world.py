"""What a world sends along when it asks a framework for something."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, cast

import pytest

from clients.mesos.errors import AuthenticationError
from stacks.automation import StackRunner
from stacks.migration.bounds import Bounds
from stacks.migration.world import World
from stacks.topology import Standing

ASKED = "Basic " + base64.b64encode(b"operator:word").decode()


class Runner:
    """A stack's runner, of which only the outputs are asked."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir

    def outputs(self) -> dict[str, Any]:
        return {"run_dir": str(self.run_dir)}


class Framework(BaseHTTPRequestHandler):
    """Answers 200 to the right credential, 401 to everybody else."""

    def do_POST(self) -> None:
        admitted = self.headers["Authorization"] == ASKED
        self.send_response(200 if admitted else 401)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing: tests read no log."""


@pytest.fixture
def framework() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Framework)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def world_with(tmp_path: Path, secret: str) -> World:
    file = tmp_path / "secrets" / "principal-sample"
    file.parent.mkdir()
    file.write_text(secret)
    runner = cast("StackRunner", Runner(tmp_path))
    return World(runner, Standing(), tmp_path, Bounds())


async def test_a_framework_is_asked_with_its_own_credential(tmp_path: Path, framework: str) -> None:
    async with world_with(tmp_path, "operator:word\n") as world:
        assert await world.post(f"{framework}/canary") == (200, {})


async def test_a_refused_credential_ends_the_act_and_is_not_shown(
    tmp_path: Path, framework: str
) -> None:
    async with world_with(tmp_path, "operator:other\n") as world:
        with pytest.raises(AuthenticationError, match="saw 401") as refused:
            await world.post(f"{framework}/canary")
    assert "other" not in str(refused.value)
