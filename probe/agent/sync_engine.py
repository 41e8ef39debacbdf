"""What a sync engine says of itself, over its REST interface.

`/status` tells all and wants the engine's token; without one `/readyz` tells the state alone. Only
what is told on is read: an engine of another version may say more.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from probe.agent.errors import AnswerError, RefusedError
from probe.agent.http import Connection, parse_place
from probe.agent.publisher import read_token
from probe.agent.text import clean, clean_all
from probe.report.schema import Value

_TIMEOUT_S = 3.0
_STATES = frozenset(("starting", "copying", "live", "degraded", "stalled", "fenced", "stopped"))


class _Lag(msgspec.Struct):
    p99_ms: float | None = None


class _Direction(msgspec.Struct):
    backlog: int = 0
    applied: int = 0
    lag: _Lag = msgspec.field(default_factory=_Lag)


class _Subtree(msgspec.Struct):
    owner: str


class _Projection(msgspec.Struct):
    kind: str
    leader: str | None = None


class _Side(msgspec.Struct):
    connected: bool


class _Audit(msgspec.Struct):
    equal: bool


class _Status(msgspec.Struct):
    state: str
    reasons: list[str]
    epoch: int
    directions: dict[str, _Direction]
    subtrees: dict[str, _Subtree]
    projections: dict[str, _Projection]
    sessions: dict[str, _Side]
    conflicts: int = 0
    held: int = 0
    last_audit: _Audit | None = None


_STATUS = msgspec.json.Decoder(_Status)
COLUMNS = (
    *("state", "reasons", "epoch", "connected_a", "connected_b", "subtrees", "projections"),
    *("audit_equal", "applied_a_to_b", "applied_b_to_a", "backlog_a_to_b", "backlog_b_to_a"),
    *("lag_a_to_b_ms", "lag_b_to_a_ms", "conflicts", "held"),
)
"""Columns that an engine fills; one that does not answer fills none."""


class SyncEngine:
    """One engine. `url` is `http://host:port` of its interface."""

    def __init__(self, url: str, token_file: Path | None) -> None:
        self.place = parse_place(url)
        self._token_file = token_file
        self._connection = Connection(self.place, timeout_s=_TIMEOUT_S)

    async def ask(self) -> Mapping[str, Value]:
        """Columns of its node.

        Raises:
            UnreachableError: it does not answer.
            AnswerError: it does not answer as an engine does.
            RefusedError: the token is not its own.
            SettingsError: the token cannot be read.
        """
        if self._token_file is None:
            return {"state": read_state((await self._connection.request("GET", "/readyz")).body)}
        headers = {"Authorization": f"Bearer {read_token(self._token_file)}"}
        answer = await self._connection.request("GET", "/status", headers=headers)
        if not answer.is_success:
            msg = (
                f"expected the status of the engine at {self.place}, saw status {answer.status}: "
                "is this its token?"
            )
            raise RefusedError(msg, status=answer.status)
        return read_status(answer.body)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()


def read_state(body: bytes) -> str:
    """The state that `/readyz` tells.

    Raises:
        AnswerError: it tells none.
    """
    state = body.decode("utf-8", "replace").strip()
    if state not in _STATES:
        msg = f"expected a state of a sync engine, saw {state[:80]!r}: is this one?"
        raise AnswerError(msg)
    return state


def read_status(body: bytes) -> dict[str, Value]:
    """Columns of an answer to `/status`.

    Raises:
        AnswerError: it is none.
    """
    try:
        status = _STATUS.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        msg = f"expected the status of a sync engine, saw {str(error)[:200]}"
        raise AnswerError(msg) from None
    sides = {side: one.connected for side, one in status.sessions.items()}
    values: dict[str, Value] = {
        "state": clean(status.state, 32),
        "reasons": clean_all(status.reasons),
        "epoch": status.epoch,
        "connected_a": sides.get("a"),
        "connected_b": sides.get("b"),
        "subtrees": clean_all([f"{name}={one.owner}" for name, one in status.subtrees.items()]),
        "projections": clean_all(
            [
                f"{name}={one.leader or 'nobody'}"
                for name, one in status.projections.items()
                if one.kind != "off"
            ]
        ),
        "audit_equal": None if status.last_audit is None else status.last_audit.equal,
        "conflicts": status.conflicts,
        "held": status.held,
    }
    for way in ("a_to_b", "b_to_a"):
        one = status.directions.get(way, _Direction())
        values |= {
            f"applied_{way}": one.applied,
            f"backlog_{way}": one.backlog,
            f"lag_{way}_ms": one.lag.p99_ms,
        }
    return values
