"""How often a path is tried again at once.

A znode is deleted after its children, and created after its parent. Where one of them cannot be (an
ephemeral of another's session stays, a parent is too large), trying again changes nothing. Such a
path is put aside until the next look at it, which is one more try.
"""

from __future__ import annotations

from sync_engine.applier import Outcome
from sync_engine.decide import Action
from sync_engine.znode import is_within, parent

# Enough for others' writes that come between reading and writing, over and over.
_TRIES_MAX = 8


class Patience:
    """Tries in vain, by the relative path that stood in the way."""

    def __init__(self) -> None:
        self._tries: dict[str, int] = {}

    def is_over(self, rel: str) -> bool:
        """Whether a path has stood in the way too often."""
        return self._tries.get(rel, 0) >= _TRIES_MAX

    def put_aside(self, outcome: Outcome) -> dict[str, str]:
        """Count what stood in the way; returns stale paths to give up for now, and why."""
        for work in outcome.done:
            self._tries.pop(work.rel, None)
        gone = [w.rel for w in outcome.done if w.decision.action is Action.DELETE]
        for rel in outcome.first:
            # A tree goes level by level, so what went below is progress.
            has_progress = any(is_within(other, rel) for other in gone)
            self._tries[rel] = 0 if has_progress else self._tries.get(rel, 0) + 1
        found: dict[str, str] = {}
        for work in outcome.stale:
            above = parent(work.rel)
            above = "" if above == "/" else above
            if work.decision.action is Action.CREATE and (self.is_over(above) or above in found):
                found[work.rel] = "parent-is-not-on-the-other-side"
            elif work.decision.action is Action.DELETE and self.is_over(work.rel):
                found[work.rel] = "children-stay-on-the-other-side"
        return found
