"""Whether a first copy would go over what another left on the other side: an operator is asked.

Of what is copied for the first time nothing is known: a wrong host, or sides that are exchanged,
look like a target that somebody has used before.
"""

from __future__ import annotations

from sync_engine.comparison import compare
from sync_engine.context import Subtree
from sync_engine.decide import Action

# A few leftovers are what an earlier try leaves.
_COUNT_FREE = 20
_SHARE_MAX = 0.1


def is_foreign(differing: int, held: int) -> bool:
    """Whether so many of the other side's znodes differ that it may be the wrong one."""
    return differing >= _COUNT_FREE and differing > held * _SHARE_MAX


def _is_first(subtree: Subtree) -> bool:
    """Whether nothing was ever copied: the ensembles themselves say so, as what the start notes of
    a new pair is gone with a start that is killed, and all that was noted with a lost base."""
    base, pools = subtree.base, subtree.slots.values()
    return base.knows_nothing and (base.is_moved or all(pool.is_unused for pool in pools))


async def why_wait(subtree: Subtree) -> str | None:
    """Compare both sides, and tell why nothing may be written yet; None if it may."""
    if not _is_first(subtree) or subtree.policy.both or subtree.is_internal:
        return None
    side = subtree.owner.other
    await subtree.catch_up(side)
    root = await subtree.target.reader.exists(subtree.target_path(""))
    if root is None or not root.num_children:
        return None
    held = overwritten = alone = 0
    async for works in compare(subtree, trusted=False, found_missing=lambda _: None):
        held += sum(work.target is not None for work in works)
        overwritten += sum(
            work.decision.action is Action.UPDATE and work.decision.conflict is not None
            for work in works
        )
        alone += sum(work.decision.action is Action.KEEP for work in works)
    if not is_foreign(overwritten + alone, held):
        return None
    return (
        f"side {side.value} was never copied to, and of its {held} znodes {overwritten} differ "
        f"from side {subtree.owner.value}'s and {alone} are on side {side.value} alone: name the "
        "right hosts and owner, or confirm to overwrite those that differ"
    )
