"""Reads which candidate of an election leads, on the side that a projection shows."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from sync_engine import numbering
from sync_engine.errors import EngineRefusedError, NoNodeError
from sync_engine.lane import Lane
from sync_engine.settings import ProjectionRule
from sync_engine.znode import join

_ATTEMPTS_MAX = 5


@dataclass(frozen=True, slots=True)
class Leader:
    """Side `from`'s leading candidate."""

    node: str
    data: bytes | None


async def read_leader(lane: Lane, rule: ProjectionRule) -> Leader | None:
    """The leading candidate; None while there is none, or while they keep changing.

    Raises:
        EngineRefusedError: what leads is no candidate of the rule's label.
    """
    path = rule.path(rule.source)
    # Its answer need not be waited for: the reads behind it see what it has seen.
    synced = asyncio.create_task(lane.sync(path))
    await asyncio.sleep(0)
    try:
        for _ in range(_ATTEMPTS_MAX):
            try:
                names, _ = await lane.children(path)
                name = numbering.lowest(names)
                if name is None:
                    return None
                data, _ = await lane.get(join(path, name))
            except NoNodeError:
                if await lane.exists(path) is None:
                    return None
                continue
            if not name.startswith(rule.label):
                msg = (
                    f"expected a candidate {rule.label}NNNNNNNNNN to lead in {path}, saw "
                    f"{name}: remove it"
                )
                raise EngineRefusedError(msg, type="UnknownCandidate")
            return Leader(name, data)
        return None
    finally:
        await asyncio.gather(synced, return_exceptions=True)
