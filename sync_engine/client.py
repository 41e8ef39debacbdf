"""What others ask the engine and the ensembles: the one door into this package.

`EngineClient` talks to a running engine. The functions re-exported here ask an ensemble itself and
need no engine.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from sync_engine.direction import Direction, Side
from sync_engine.ensemble import (
    EnsembleAddress,
    EnsembleFacts,
    ServerFacts,
    are_one,
    children,
    facts,
    read,
    session_ids,
)
from sync_engine.errors import (
    EngineBusyError,
    EngineError,
    EngineRefusedError,
    EngineUnreachableError,
    EnsembleError,
    EnsembleUnreachableError,
    SyncError,
)
from sync_engine.report import (
    AuditReport,
    ConflictPage,
    ConflictRecord,
    Difference,
    DirectionStatus,
    EngineState,
    EngineStatus,
    FlipReport,
    HeldConflict,
    HeldReport,
    LagStatus,
    PadReport,
    ProjectionKind,
    ProjectionStatus,
    SideStatus,
    SubtreeAudit,
    SubtreeStatus,
)
from sync_engine.tree import ExportReport, TreeDigest, digest, export

__all__ = [
    "AuditReport",
    "ConflictPage",
    "ConflictRecord",
    "Difference",
    "Direction",
    "DirectionStatus",
    "EngineBusyError",
    "EngineClient",
    "EngineError",
    "EngineRefusedError",
    "EngineState",
    "EngineStatus",
    "EngineUnreachableError",
    "EnsembleAddress",
    "EnsembleError",
    "EnsembleFacts",
    "EnsembleUnreachableError",
    "ExportReport",
    "FlipReport",
    "HeldConflict",
    "HeldReport",
    "LagStatus",
    "PadReport",
    "ProjectionKind",
    "ProjectionStatus",
    "ServerFacts",
    "Side",
    "SideStatus",
    "SubtreeAudit",
    "SubtreeStatus",
    "SyncError",
    "TreeDigest",
    "are_one",
    "children",
    "digest",
    "export",
    "facts",
    "read",
    "session_ids",
]

# What an answer may take beyond the time that the engine was given.
_MARGIN_S = 5.0
_UNAVAILABLE = 503
M = TypeVar("M", bound=BaseModel)


@functools.cache
def _default_context() -> ssl.SSLContext:
    """What httpx would make for each client: to read all authorities takes some 20 ms each time."""
    return httpx.create_ssl_context(trust_env=False)


class EngineClient:
    """A running engine. Use as an asynchronous context manager, or call `aclose`."""

    def __init__(self, url: str, token_file: Path, *, timeout_s: float = 10.0) -> None:
        self._url = url
        self._token_file = token_file
        self._timeout_s = timeout_s
        # Loopback: no proxy of the environment stands between.
        self._http = httpx.AsyncClient(
            base_url=url, verify=_default_context(), timeout=timeout_s, trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def status(self) -> EngineStatus:
        """How the engine is."""
        return await self._ask("GET", "/status", EngineStatus)

    async def audit(self, *, timeout_s: float = 60.0) -> AuditReport:
        """Compare both sides in full, while clients go on writing."""
        return await self._ask("POST", "/audit", AuditReport, {}, timeout_s)

    async def flip(self, subtree: str, to: Side, *, timeout_s: float = 60.0) -> FlipReport:
        """Make a side the owner of a subtree whose writers stand still. May be called again."""
        body = {"subtree": subtree, "to": to.value}
        return await self._ask("POST", "/flip", FlipReport, body, timeout_s)

    async def project(
        self, name: str, kind: ProjectionKind, *, timeout_s: float = 30.0
    ) -> ProjectionStatus:
        """Show, show otherwise or hide a leader; returns when in effect. May be called again."""
        body = {"name": name, "kind": kind.value}
        return await self._ask("POST", "/project", ProjectionStatus, body, timeout_s)

    async def fence_election(self, name: str, *, fenced: bool) -> ProjectionStatus:
        """Let nobody but the engine create in a projection's election path, or everybody again."""
        body = {"name": name, "fenced": fenced}
        return await self._ask("POST", "/election-fence", ProjectionStatus, body)

    async def pad(self, subtree: str, *, timeout_s: float = 60.0) -> PadReport:
        """Move the other side's sequence counters on. May be called again."""
        return await self._ask("POST", "/pad", PadReport, {"subtree": subtree}, timeout_s)

    async def held(self) -> HeldReport:
        """Conflicts that wait for an operator, without their versions."""
        return await self._ask("GET", "/held", HeldReport)

    async def show_held(self, id_: int) -> HeldConflict:
        """One of them, with both versions as they are now."""
        return await self._ask("GET", f"/held/{id_}", HeldConflict)

    async def resolve(
        self, id_: int, winner: Side, *, seen: str | None = None, timeout_s: float = 30.0
    ) -> HeldReport:
        """Let a side's version win, if both still are those named `seen`."""
        body = {"winner": winner.value, "seen": seen}
        return await self._ask("POST", f"/held/{id_}/resolve", HeldReport, body, timeout_s)

    async def conflicts(self, *, after: int = 0, limit: int = 20) -> ConflictPage:
        """Recorded conflicts with ids above `after`, oldest first; none where there are no more.

        Fewer than `limit` may come where they are large.
        """
        return await self._ask("GET", f"/conflicts?after={after}&limit={limit}", ConflictPage)

    async def confirm(self, subtree: str | None = None, *, seen: str | None = None) -> EngineStatus:
        """Let happen one thing that a subtree waits for; None: what the start waits for.

        `seen` names it (`waiting` in the status), and another one is refused. Without it, it is the
        first that waits.
        """
        body = {"subtree": subtree, "seen": seen}
        return await self._ask("POST", "/confirm", EngineStatus, body)

    async def _ask(
        self,
        method: str,
        path: str,
        kind: type[M],
        body: Mapping[str, object] | None = None,
        timeout_s: float | None = None,
    ) -> M:
        if body is not None and timeout_s is not None:
            body = {**body, "timeout_s": timeout_s}
        patience_s = self._timeout_s if timeout_s is None else timeout_s + _MARGIN_S
        try:
            # Read for each request: a token may be replaced while we run.
            token = self._token_file.read_text().strip()
        except OSError as error:
            msg = f"expected the engine's token in {self._token_file}, saw {error.strerror}"
            raise EngineRefusedError(msg, type="NoToken") from None
        try:
            answer = await self._http.request(
                method,
                path,
                json=body,
                headers={"Authorization": f"Bearer {token}"},
                timeout=patience_s,
            )
        except httpx.HTTPError as error:
            msg = (
                f"expected an answer from the engine at {self._url}, saw {error!r}: is it running?"
            )
            raise EngineUnreachableError(msg) from None
        if answer.is_success:
            return _parse(kind, answer)
        raise _failure(answer)


def _parse(kind: type[M], answer: httpx.Response) -> M:
    try:
        return kind.model_validate_json(answer.content)
    except ValidationError as error:
        msg = (
            f"expected {kind.__name__} from the engine, saw {error.error_count()} mismatches: "
            "client and engine are of different versions"
        )
        raise EngineRefusedError(msg, type="OtherVersion") from None


def _failure(answer: httpx.Response) -> EngineError:
    try:
        found = answer.json()
        kind, message = str(found["error"]), str(found["message"])
    except (ValueError, KeyError, TypeError):
        kind, message = "Unknown", f"expected an error as JSON, saw status {answer.status_code}"
    if answer.status_code == _UNAVAILABLE:
        return EngineBusyError(message)
    return EngineRefusedError(message, type=kind)
