"""What a sync engine says of itself, read by the probe: held to the engine's own report."""

from __future__ import annotations

from pathlib import Path

import pytest

from probe.agent import sync_engine
from probe.agent.errors import AnswerError, SettingsError
from probe.report.topologies import TOPOLOGIES
from sync_engine import report
from sync_engine.direction import Direction, Side

STATUS = report.EngineStatus(
    state=report.EngineState.DEGRADED,
    reasons=["side b is scanned"],
    epoch=7,
    started_at=1.0,
    directions={
        Direction.A_TO_B: report.DirectionStatus(
            backlog=3, applied=40, lag=report.LagStatus(p50_ms=1.0, p99_ms=12.5, samples=9)
        ),
        Direction.B_TO_A: report.DirectionStatus(),
    },
    subtrees={
        "clients": report.SubtreeStatus(
            owner=Side.A, znodes=10, fenced_a=False, fenced_b=True, flipping=False
        )
    },
    projections={
        "masters": report.ProjectionStatus(
            kind=report.ProjectionKind.PERSISTENT, leader="10.0.0.1:5050"
        ),
        "others": report.ProjectionStatus(kind=report.ProjectionKind.OFF),
    },
    conflicts=2,
    held=1,
    skipped=0,
    unreadable=[],
    last_audit=report.AuditReport(equal=True, at=1.0, seconds=0.1, subtrees={}),
    sessions={
        Side.A: report.SideStatus(connected=True, session_ids=["0x1"]),
        Side.B: report.SideStatus(connected=False, session_ids=[]),
    },
)


def test_an_engine_s_own_status_is_read_whole() -> None:
    values = sync_engine.read_status(STATUS.model_dump_json().encode())

    assert values == {
        "state": "degraded",
        "reasons": ["side b is scanned"],
        "epoch": 7,
        "connected_a": True,
        "connected_b": False,
        "subtrees": ["clients=a"],
        "projections": ["masters=10.0.0.1:5050"],
        "audit_equal": True,
        "applied_a_to_b": 40,
        "applied_b_to_a": 0,
        "backlog_a_to_b": 3,
        "backlog_b_to_a": 0,
        "lag_a_to_b_ms": 12.5,
        "lag_b_to_a_ms": None,
        "conflicts": 2,
        "held": 1,
    }
    assert set(values) == set(sync_engine.COLUMNS)
    columns = {column.name for column in TOPOLOGIES["sync_engine"].columns}
    assert set(values) <= columns


@pytest.mark.parametrize("state", report.EngineState)
def test_every_state_of_an_engine_is_known(state: report.EngineState) -> None:
    assert sync_engine.read_state(f"{state.value}\n".encode()) == state.value


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"state": 1}', b"\xff\xfe", b"[]"])
def test_what_is_no_engine_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(AnswerError, match="sync engine"):
        sync_engine.read_status(body)
    with pytest.raises(AnswerError, match="is this one"):
        sync_engine.read_state(body)


async def test_a_token_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    engine = sync_engine.SyncEngine("http://127.0.0.1:1", tmp_path / "none")
    with pytest.raises(SettingsError, match="none"):
        await engine.ask()
    await engine.close()
