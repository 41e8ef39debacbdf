"""What Elasticsearch is told of logs is put once, put again when somebody changes it, and told when
it cannot be. A small server stands in for Elasticsearch: it keeps documents, and tells each kind in
the form that the real one does (API reference: get life cycle, get pipeline, get index template).
"""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from components.monitoring import logs
from components.monitoring.logs import Keeping
from controllers.errors import LogStoreError, SettingsError
from controllers.log_keeper import __main__ as log_keeper
from controllers.log_keeper.keep import Keeper
from controllers.log_keeper.settings import LogKeeperSettings
from tests.ports import free_port
from tests.waiting import block_until

PATHS = [path for path, _ in logs.requests(Keeping())]
_BOUND_S = 60.0


class Store:
    """Documents by path, as Elasticsearch tells them; `refuses` is what it answers to a PUT."""

    def __init__(self) -> None:
        self.held: dict[str, Any] = {}
        self.put: list[str] = []
        self.refuses: tuple[int, Any] | None = None
        self.seen: set[str | None] = set()

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        name = path.rpartition("/")[2]
        if method == "PUT":
            if self.refuses:
                return self.refuses
            self.put.append(path)
            self.held[path] = body
            return 200, {"acknowledged": True}
        if path not in self.held:
            return 404, {"error": {"reason": f"{name} is not there"}}
        if path.startswith("/_index_template/"):
            return 200, {"index_templates": [{"name": name, "index_template": self.held[path]}]}
        if path.startswith("/_ilm/"):
            return 200, {name: {"version": 3, "policy": self.held[path]["policy"]}}
        return 200, {name: self.held[path]}

    def handle(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else None
        self.seen.add(request.headers.get("authorization"))
        status, told = self.answer(request.method, request.url.path, body)
        return httpx.Response(status, json=told)


def settings(days: int = 30, **more: Any) -> LogKeeperSettings:
    documents = [
        {"path": path, "body": body, "mark": logs.mark(body)}
        for path, body in logs.requests(Keeping(days=days))
    ]
    values = {"url": "http://logs:9200", "documents": documents, **more}
    return LogKeeperSettings.model_validate(values)


@asynccontextmanager
async def keeping(store: Store, given: LogKeeperSettings) -> AsyncGenerator[Keeper]:
    keeper = Keeper(given, httpx.MockTransport(store.handle))
    try:
        yield keeper
    finally:
        await keeper.close()


async def test_everything_is_put_in_order_and_then_left_alone() -> None:
    store = Store()
    async with keeping(store, settings()) as keeper:
        assert await keeper.look() == tuple(PATHS)
        assert await keeper.look() == ()

    assert store.put == PATHS
    # Beside the mark, what is declared and nothing else.
    held = store.held[PATHS[0]]
    assert held["policy"].pop("_meta") == {"mesos-platform": logs.mark(logs.policy(Keeping()))}
    assert held == logs.policy(Keeping())


async def test_what_is_declared_otherwise_or_changed_by_somebody_is_put_again() -> None:
    store = Store()
    async with keeping(store, settings()) as keeper:
        await keeper.look()
        store.held[PATHS[1]] = {"description": "mine", "processors": []}
        assert await keeper.look() == (PATHS[1],)
    async with keeping(store, settings(days=7)) as keeper:
        assert await keeper.look() == (PATHS[0],)


async def test_a_refusal_and_silence_say_what_was_expected(tmp_path: Path) -> None:
    password = tmp_path / "elastic"
    password.write_text("canary\n")
    store = Store()
    store.refuses = (400, {"error": {"reason": "unknown processor [grok]"}})
    async with keeping(store, settings(password_file=password)) as keeper:
        with pytest.raises(LogStoreError, match=r"saw 400: unknown processor \[grok\]") as failure:
            await keeper.look()
    assert "canary" not in str(failure.value)
    assert store.seen == {f"Basic {base64.b64encode(b'elastic:canary').decode()}"}

    silent = Keeper(settings(url=f"http://127.0.0.1:{free_port()}"))
    try:
        with pytest.raises(
            LogStoreError, match="expected an answer of Elasticsearch at http://127"
        ):
            await silent.look()
    finally:
        await silent.close()
    with pytest.raises(SettingsError, match="expected a password in"):
        Keeper(settings(password_file=tmp_path / "none"))


@contextmanager
def serving(store: Store, port: int) -> Generator[None]:
    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, told = store.answer(self.command, self.path, body)
            text = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_PUT = _do  # noqa: N815 - the library's own names

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's own
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_the_process_is_ready_once_everything_was_put(tmp_path: Path) -> None:
    own, its = free_port(), free_port()
    file = tmp_path / "keeper.json"
    more: dict[str, Any] = {"listen_host": "127.0.0.1", "listen_port": own, "every_s": 0.05}
    file.write_text(settings(30, url=f"http://127.0.0.1:{its}", **more).model_dump_json())
    words = [sys.executable, "-m", "controllers.log_keeper", "--config", str(file)]

    def status(path: str) -> int | None:
        try:
            return httpx.get(
                f"http://127.0.0.1:{own}{path}", timeout=5, trust_env=False
            ).status_code
        except httpx.HTTPError:
            return None

    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        try:
            block_until(lambda: status("/healthz") == 200, "the process answers", _BOUND_S)
            assert status("/readyz") == 503
            store = Store()
            with serving(store, its):
                block_until(lambda: status("/readyz") == 200, "all was put", _BOUND_S)
                assert store.put == PATHS
        finally:
            process.terminate()
    # It has ended by itself, when it was told to.
    assert process.returncode == 0


async def test_a_keeper_that_breaks_ends_the_process_and_does_not_live_on_doing_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: Keeper) -> tuple[str, ...]:
        msg = "a defect"
        raise KeyError(msg)

    monkeypatch.setattr(Keeper, "look", broken)
    file = tmp_path / "keeper.json"
    given = settings(listen_host="127.0.0.1", listen_port=free_port())
    file.write_text(given.model_dump_json())
    async with asyncio.timeout(_BOUND_S):
        with pytest.raises(KeyError, match="a defect"):
            await log_keeper.serve(file, asyncio.Event())
