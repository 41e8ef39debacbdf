"""What an agent says of itself, and the UNIX socket that says it.

`GET /status` gives JSON, `/metrics` the same for Prometheus, `/healthz` whether every collector
that can work does. The socket is the agent's user's alone (0600), and nothing can be changed
through it: `/control/NAME` is refused without a grant.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from probe.agent.errors import (
    HttpError,
    NotGrantedError,
    NotRunningError,
    OccupiedError,
    SettingsError,
)
from probe.agent.grants import Grants
from probe.agent.http import Connection, Place
from probe.agent.log import Log
from probe.agent.text import clean
from probe.agent.unix_http import REQUEST_S_MAX, Request, Response, SocketServer

_OK = 200
_CONTROL = "/control/"
_AGAIN_S = 5.0


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
    read_only: bool
    granted: list[str]
    """Controls that would be carried out."""
    refused: int
    """Acts that were asked for without a grant."""
    nodes: dict[str, int]
    frame: int
    frame_bytes: int
    buffered_bytes: int
    dropped_frames: int
    unfit_values: int
    """Values of another type than their column, left out."""
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
    yield f"probe_agent_controls_granted {len(status.granted)}"
    yield f"probe_agent_controls_refused_total {status.refused}"
    yield f"probe_agent_unfit_values_total {status.unfit_values}"
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

    def __init__(self, path: str, status: Callable[[], Status], grants: Grants, log: Log) -> None:
        self._path = path
        self._status = status
        self._grants = grants
        self._log = log

    async def run(self) -> None:
        """Serve until cancelled; an agent without it works on.

        Where another agent serves, it may be about to end: one follows the other on a node.
        """
        while True:
            server = SocketServer(Path(self._path), self._answer)
            listening = asyncio.create_task(self._note(server.listening))
            try:
                await server.run()
            except OccupiedError as error:
                self._log.trouble("status socket", str(error))
            except OSError as error:
                self._log.trouble("status socket", f"{self._path}: {error.strerror}")
                return
            finally:
                listening.cancel()
            await asyncio.sleep(_AGAIN_S)

    async def _note(self, listening: asyncio.Event) -> None:
        await listening.wait()
        self._log.well("status socket")

    def _answer(self, request: Request) -> Response:
        if request.path.startswith(_CONTROL):
            return self._control(request.path.removeprefix(_CONTROL))
        if request.method not in {"GET", "HEAD"}:
            return _text(405, "expected GET: nothing is changed through here")
        status = self._status()
        match request.path:
            case "/status":
                return Response(_OK, "application/json", msgspec.json.encode(status))
            case "/metrics":
                return Response(_OK, "text/plain; version=0.0.4", metrics(status).encode())
            case "/healthz":
                is_well = status.is_healthy
                return _text(_OK, "ok") if is_well else _text(503, "a collector failed")
            case _:
                return _text(404, "expected /status, /metrics or /healthz")

    def _control(self, control: str) -> Response:
        """Nobody can act through the agent yet; who tries is told why, and counted."""
        name = clean(control, 100)
        try:
            self._grants.check(name)
        except NotGrantedError as error:
            self._log.event("control.refused", control=name)
            return _text(403, str(error))
        return _text(501, f"{name} is granted, but this agent has no such act")


def _text(status: int, text: str) -> Response:
    return Response(status, "text/plain", f"{text}\n".encode())


async def ask(path: str, timeout_s: float = REQUEST_S_MAX) -> Status:
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
