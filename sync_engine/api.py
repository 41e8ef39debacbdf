"""The engine's REST interface.

JSON in and out; every request but those for liveness, readiness and metrics carries the bearer
token. Errors are `{"error": type, "message": text}`: 4xx are refusals, 503 may be tried again.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sync_engine import metrics, status
from sync_engine.direction import Side
from sync_engine.engine import Engine
from sync_engine.errors import EngineRefusedError, FencedError, RulesError, SyncError
from sync_engine.report import EngineState, ProjectionKind
from sync_engine.resolving import Choice

_log = structlog.get_logger()
_OPEN_PATHS = {"/healthz", "/readyz", "/metrics"}
_TOKEN_BYTES_MIN = 8
_TOKEN_BYTES = 24
_BODY_BYTES_MAX = 64 * 1024
_TIMEOUT_MAX_S = 3600.0


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AuditBody(_Body):
    """Body of /audit."""

    timeout_s: float = Field(default=60.0, gt=0, le=_TIMEOUT_MAX_S)


class FlipBody(_Body):
    """Body of /flip."""

    subtree: str
    to: Side
    timeout_s: float = Field(default=60.0, gt=0, le=_TIMEOUT_MAX_S)


class ProjectBody(_Body):
    """Body of /project."""

    name: str
    kind: ProjectionKind
    timeout_s: float = Field(default=30.0, gt=0, le=_TIMEOUT_MAX_S)


class ElectionFenceBody(_Body):
    """Body of /election-fence."""

    name: str
    fenced: bool


class ResolveBody(_Body):
    """Body of /held/{id}/resolve."""

    winner: Side
    seen: str | None = None
    timeout_s: float = Field(default=30.0, gt=0, le=_TIMEOUT_MAX_S)


class PadBody(_Body):
    """Body of /pad."""

    subtree: str
    timeout_s: float = Field(default=60.0, gt=0, le=_TIMEOUT_MAX_S)


class ConfirmBody(_Body):
    """Body of /confirm; without a subtree it is the start of the engine that is confirmed."""

    subtree: str | None = None
    seen: str | None = None


B = TypeVar("B", bound=_Body)


def read_token(path: Path) -> str:
    """Read the bearer token.

    Raises:
        RulesError: no file, one that everybody may read, or one without a token.
    """
    try:
        mode, text = path.stat().st_mode, path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        saw = error.strerror if isinstance(error, OSError) else "other bytes than text"
        msg = f"expected the API's token in {path}, saw {saw}: write it there"
        raise RulesError(msg) from None
    if mode & 0o004:
        msg = f"expected {path} to be its owner's, saw that everybody may read it: chmod 600 it"
        raise RulesError(msg)
    if len(text) < _TOKEN_BYTES_MIN or "\n" in text:
        msg = (
            f"expected one line of at least {_TOKEN_BYTES_MIN} characters in {path}: write it anew"
        )
        raise RulesError(msg)
    return text


def make_token(path: Path) -> None:
    """Make a token unless there is one; whoever reads the file first finds it whole.

    Raises:
        RulesError: it cannot be written.
    """
    if path.exists():
        return
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(_TOKEN_BYTES) + "\n")
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            # What keeps it from being made may keep it from being removed.
            temporary.unlink(missing_ok=True)
        msg = f"expected to make the API's token in {path}, saw {error.strerror}: make room for it"
        raise RulesError(msg) from None


def build(engine: Engine, token: str) -> Starlette:
    """The application."""
    doors = _Doors(engine)
    return Starlette(
        routes=[
            Route("/healthz", doors.healthz),
            Route("/readyz", doors.readyz),
            Route("/metrics", doors.metrics),
            Route("/status", doors.status),
            Route("/audit", doors.audit, methods=["POST"]),
            Route("/flip", doors.flip, methods=["POST"]),
            Route("/project", doors.project, methods=["POST"]),
            Route("/election-fence", doors.election_fence, methods=["POST"]),
            Route("/confirm", doors.confirm, methods=["POST"]),
            Route("/pad", doors.pad, methods=["POST"]),
            Route("/held", doors.held),
            Route("/held/{id:int}", doors.show_held),
            Route("/held/{id:int}/resolve", doors.resolve, methods=["POST"]),
            Route("/conflicts", doors.conflicts),
        ],
        middleware=[Middleware(_Bearer, token=token)],
        exception_handlers={SyncError: _answer_error},
    )


class _Bearer:
    """Refuses requests without the token."""

    def __init__(self, app: ASGIApp, *, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in _OPEN_PATHS:
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not secrets.compare_digest(given, self._expected):
                answer = _error("Unauthorized", "expected the bearer token of the token file", 401)
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)


class _Doors:
    """One method a path."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def healthz(self, request: Request) -> Response:
        del request
        return PlainTextResponse("ok\n")

    async def readyz(self, request: Request) -> Response:
        del request
        state = status.gather(self._engine).state
        is_ready = state in (EngineState.LIVE, EngineState.DEGRADED)
        return PlainTextResponse(f"{state.value}\n", status_code=200 if is_ready else 503)

    async def metrics(self, request: Request) -> Response:
        del request
        text = metrics.render(status.gather(self._engine))
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    async def status(self, request: Request) -> Response:
        del request
        return _json(status.gather(self._engine))

    async def audit(self, request: Request) -> Response:
        body = await _read(request, AuditBody)
        return _json(await self._engine.audit(body.timeout_s))

    async def flip(self, request: Request) -> Response:
        body = await _read(request, FlipBody)
        return _json(await self._engine.flip(body.subtree, body.to, body.timeout_s))

    async def project(self, request: Request) -> Response:
        body = await _read(request, ProjectBody)
        return _json(await self._engine.project(body.name, body.kind, body.timeout_s))

    async def election_fence(self, request: Request) -> Response:
        body = await _read(request, ElectionFenceBody)
        return _json(await self._engine.fence_election(body.name, fenced=body.fenced))

    async def confirm(self, request: Request) -> Response:
        body = await _read(request, ConfirmBody)
        self._engine.confirm(body.subtree, body.seen)
        return _json(status.gather(self._engine))

    async def pad(self, request: Request) -> Response:
        body = await _read(request, PadBody)
        return _json(await self._engine.pad(body.subtree, body.timeout_s))

    async def held(self, request: Request) -> Response:
        del request
        return _json(self._engine.held())

    async def show_held(self, request: Request) -> Response:
        return _json(await self._engine.show_held(request.path_params["id"]))

    async def resolve(self, request: Request) -> Response:
        body = await _read(request, ResolveBody)
        choice = Choice(body.winner, body.seen, body.timeout_s)
        return _json(await self._engine.resolve(request.path_params["id"], choice))

    async def conflicts(self, request: Request) -> Response:
        after, limit = (
            _number(request, name, default) for name, default in (("after", 0), ("limit", 20))
        )
        return _json(await self._engine.conflict_page(after, limit))


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isdecimal():
        msg = f"expected a number as {name}, saw {text!r}"
        raise EngineRefusedError(msg, type="BadRequest")
    return int(text)


async def _read(request: Request, kind: type[B]) -> B:
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > _BODY_BYTES_MAX:
            msg = f"expected at most {_BODY_BYTES_MAX} bytes, saw more"
            raise EngineRefusedError(msg, type="BadRequest")
    try:
        return kind.model_validate_json(bytes(raw) or b"{}")
    except ValidationError as error:
        lines = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        msg = f"expected {', '.join(kind.model_fields)}, saw a mismatch: {lines}"
        raise EngineRefusedError(msg, type="BadRequest") from None


def _json(report: BaseModel) -> Response:
    return Response(report.model_dump_json(), media_type="application/json")


def _error(kind: str, message: str, code: int) -> JSONResponse:
    return JSONResponse({"error": kind, "message": message}, status_code=code)


async def _answer_error(request: Request, error: Exception) -> Response:
    """Every error of the package as an answer."""
    assert isinstance(error, SyncError)
    _log.warning("api.refused", path=request.url.path, error=str(error))
    if isinstance(error, EngineRefusedError):
        code = 400 if error.type == "BadRequest" else 409
        return _error(error.type, str(error), code)
    if isinstance(error, FencedError):
        return _error("Fenced", str(error), 409)
    code = 503 if error.retryable else 500
    return _error(type(error).__name__, str(error), code)
