"""What an agent says of itself, and the UNIX socket that says it.

`GET /status` gives JSON, `/metrics` the same for Prometheus, `/healthz` whether every collector
that can work does. The socket is the agent's user's alone (0600); nothing can be changed through
it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import h11
import msgspec

from probe.agent.errors import HttpError, NotRunningError, SettingsError
from probe.agent.http import Connection, Place
from probe.agent.log import Log

_REQUEST_S_MAX = 5.0
_REQUEST_BYTES_MAX = 16 * 1024
_OK = 200


class CollectorStatus(msgspec.Struct):
    """One collector."""

    name: str
    state: str
    mode: str
    misses: list[str]
    problem: str | None
    interval_s: float
    cpu_ms_per_s: float
    looks: int
    failures: int
    restarts: int


class OutletStatus(msgspec.Struct):
    """One app."""

    app: str
    acknowledged: int | None
    frames: int
    bytes: int
    snapshots: int
    failures: int
    problem: str | None


class Status(msgspec.Struct):
    """An agent."""

    host: str
    uptime_s: float
    cpu_percent: float
    cpu_percent_max: float
    rss_mb: float
    rss_mb_max: float
    degraded: list[str]
    nodes: dict[str, int]
    frame: int
    frame_bytes: int
    buffered_bytes: int
    dropped_frames: int
    open_files: int
    collectors: list[CollectorStatus]
    apps: list[OutletStatus]

    @property
    def is_healthy(self) -> bool:
        """Whether every collector that can work here does."""
        return all(one.state != "failed" for one in self.collectors)


def metrics(status: Status) -> str:
    """For Prometheus."""
    return "".join(f"{line}\n" for line in _metric_lines(status))


def _metric_lines(status: Status) -> Iterator[str]:
    yield f"probe_agent_cpu_percent {status.cpu_percent}"
    yield f"probe_agent_rss_megabytes {status.rss_mb}"
    yield f"probe_agent_degradation_steps {len(status.degraded)}"
    yield f"probe_agent_buffered_bytes {status.buffered_bytes}"
    yield f"probe_agent_frames_dropped_total {status.dropped_frames}"
    yield f"probe_agent_frame_bytes_total {status.frame_bytes}"
    for topology, count in status.nodes.items():
        yield f'probe_agent_nodes{{topology="{topology}"}} {count}'
    for one in status.collectors:
        label = f'{{collector="{one.name}"}}'
        yield f"probe_agent_collector_up{label} {int(one.state in {'full', 'partial'})}"
        yield f"probe_agent_collector_cpu_ms_per_second{label} {one.cpu_ms_per_s}"
        yield f"probe_agent_collector_failures_total{label} {one.failures}"
        yield f"probe_agent_collector_restarts_total{label} {one.restarts}"
    for app in status.apps:
        label = f'{{app="{app.app}"}}'
        yield f"probe_agent_app_up{label} {int(app.problem is None)}"
        yield f"probe_agent_app_sent_bytes_total{label} {app.bytes}"
        yield f"probe_agent_app_snapshots_total{label} {app.snapshots}"


class StatusServer:
    """Answers at a UNIX socket."""

    def __init__(self, path: str, status: Callable[[], Status], log: Log) -> None:
        self._path = Path(path)
        self._status = status
        self._log = log

    async def run(self) -> None:
        """Serve until cancelled; an agent without it works on."""
        try:
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._path.unlink(missing_ok=True)
            server = await asyncio.start_unix_server(self._serve, str(self._path))
            self._path.chmod(0o600)
        except OSError as error:
            self._log.trouble("status socket", f"{self._path}: {error.strerror}")
            return
        try:
            async with server:
                await server.serve_forever()
        finally:
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_S_MAX):
                writer.write(await self._answer(reader))
                await writer.drain()
        except (OSError, TimeoutError, h11.ProtocolError):
            pass  # Somebody who hung up, or no HTTP: nobody to tell.
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        protocol = h11.Connection(h11.SERVER, max_incomplete_event_size=_REQUEST_BYTES_MAX)
        while (event := protocol.next_event()) is h11.NEED_DATA:
            protocol.receive_data(await reader.read(_REQUEST_BYTES_MAX))
        if not isinstance(event, h11.Request):
            return b""
        code, kind, body = self._body(event.target.decode("ascii", "replace"))
        headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
        parts = (
            protocol.send(
                h11.Response(status_code=code, headers=[*headers, ("Connection", "close")])
            ),
            protocol.send(h11.Data(data=body)),
            protocol.send(h11.EndOfMessage()),
        )
        return b"".join(part or b"" for part in parts)

    def _body(self, path: str) -> tuple[int, str, bytes]:
        status = self._status()
        match path:
            case "/status":
                return _OK, "application/json", msgspec.json.encode(status)
            case "/metrics":
                return _OK, "text/plain; version=0.0.4", metrics(status).encode()
            case "/healthz":
                code = _OK if status.is_healthy else 503
                return code, "text/plain", b"ok\n" if status.is_healthy else b"a collector failed\n"
            case _:
                return 404, "text/plain", b"expected /status, /metrics or /healthz\n"


async def ask(path: str, timeout_s: float = _REQUEST_S_MAX) -> Status:
    """Ask a running agent.

    Raises:
        NotRunningError: none answers.
    """
    if not path:
        msg = "expected the path of a status socket, saw none: set status_socket"
        raise SettingsError(msg)
    connection = Connection(Place("localhost", unix_socket=path), timeout_s=timeout_s)
    try:
        return msgspec.json.decode(await connection.get("/status"), type=Status)
    except (HttpError, msgspec.MsgspecError) as error:
        msg = f"expected an agent at {path}, saw none ({error}): is `probe agent run` running?"
        raise NotRunningError(msg) from None
    finally:
        await connection.close()
