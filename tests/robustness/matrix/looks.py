"""Looks at a stage, which acts and the driver wait by."""

from __future__ import annotations

import asyncio
import contextlib
import time

from sync_engine.client import AuditReport, EngineBusyError, EngineUnreachableError
from sync_engine.direction import Side
from sync_engine.errors import ConnectionLostError, NoNodeError
from tests.robustness.history.acknowledged import Kind, Node
from tests.robustness.matrix.stage import Stage
from tests.robustness.matrix.writers import PROBE, SHARED
from tests.waiting import until

_ARRIVED_S = 120.0
_EQUAL_S = 120.0
_PROBE_PAUSE_S = 0.02
_AGAIN_S = 0.5


async def probed(stage: Stage) -> float:
    """How long a write on side a takes until it is on side b; the clock starts before it."""
    began = time.monotonic()
    number = stage.facts["probes"] = stage.facts.get("probes", 0) + 1
    data = f"probe {number}".encode()
    await stage.writers.insist(Side.A, PROBE, Kind.SET, data)
    path = stage.roots.path(Side.B, PROBE)

    async def arrived() -> bool:
        try:
            async with stage.admin(Side.B) as lane:
                while True:
                    await lane.sync(path)
                    if (await lane.get(path))[0] == data:
                        return True
                    await asyncio.sleep(_PROBE_PAUSE_S)
        except (ConnectionLostError, NoNodeError):
            return False

    async with asyncio.timeout(_ARRIVED_S):
        await until(arrived, f"probe {number} on side b", _ARRIVED_S)
    return time.monotonic() - began


async def owned(stage: Stage) -> None:
    """Confirm, as an operator would, that what only the other side has may go: without a base the
    engine cannot know that its owner deleted it."""
    with contextlib.suppress(EngineUnreachableError):
        if (await stage.engine.client.status()).subtrees[stage.name].unowned:
            await stage.engine.client.confirm(stage.name)


async def audited(stage: Stage) -> AuditReport:
    """The engine's own audit, once it has started and finds the time."""
    refused: list[str] = []

    async def report() -> AuditReport | None:
        try:
            return await stage.engine.client.audit(timeout_s=_EQUAL_S)
        except (EngineBusyError, EngineUnreachableError) as error:
            refused[:] = [str(error)]
            stage.engine.check_lives()
            await asyncio.sleep(_AGAIN_S)
            return None

    try:
        return await until(report, "an audit", _EQUAL_S)
    except AssertionError as error:
        msg = f"{error}, saw {refused}"
        raise AssertionError(msg) from None


async def equal(stage: Stage) -> None:
    """Wait until an audit of the engine finds both sides equal; writers stand still."""

    async def is_equal() -> bool:
        return (await audited(stage)).equal

    await until(is_equal, "equal sides", _EQUAL_S)


async def has(stage: Stage, side: Side, rel: str) -> bool:
    """Whether a znode is on a side."""
    async with stage.admin(side) as lane:
        return await lane.exists(stage.roots.path(side, rel)) is not None


def outside_shared(nodes: dict[str, Node]) -> dict[str, Node]:
    """All but what clients of both sides write, and what is the same after every loss."""
    same = ("", PROBE)
    return {rel: n for rel, n in nodes.items() if not rel.startswith(SHARED) and rel not in same}
