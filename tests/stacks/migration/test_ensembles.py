"""Acts on ensembles: what they ask the sync engine for."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from stacks.migration.acts import ensembles
from stacks.migration.bounds import Bounds
from sync_engine.client import AuditReport, EngineState, EngineStatus


@dataclass
class Engine:
    """One whose last audit found differences that are mended since."""

    audits: list[float] = field(default_factory=list[float])

    async def status(self) -> EngineStatus:
        state = EngineState.LIVE if self.audits else EngineState.DEGRADED
        return EngineStatus(
            state=state,
            reasons=[] if self.audits else ["the last audit found differences"],
            epoch=1,
            started_at=0,
            directions={},
            subtrees={},
            projections={},
            conflicts=0,
            skipped=0,
            unreadable=[],
            last_audit=AuditReport(equal=bool(self.audits), at=0, seconds=0, subtrees={}),
            sessions={},
        )

    async def audit(self, *, timeout_s: float) -> AuditReport:
        self.audits.append(timeout_s)
        return AuditReport(equal=True, at=1, seconds=0, subtrees={})


async def test_an_old_audit_is_repeated_before_its_differences_count() -> None:
    engine = Engine()

    async def ask() -> Engine:
        return engine

    world: Any = SimpleNamespace(engine=ask, bounds=Bounds())

    status = await ensembles.await_live(world, lambda _: None, bound_s=1)

    assert status.state is EngineState.LIVE
    assert engine.audits == [Bounds().audit_s]
