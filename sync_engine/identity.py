"""Which znode a delete removes. Pure.

A delete expects a version, and a znode that was deleted and created again has the version 0 again:
between our read and our delete a client may have put another znode there, whose bytes would go
unseen. No operation of a transaction expects a czxid. Two things come close:

- **A guard** proves it before: the number of a sequential child is the number of children that were
  ever created under its parent. So a transaction that creates one and deletes the one of the number
  that was read before the znode was read fails if any child was created since. It is for subtrees
  whose both sides are written by clients: there a lost znode is somebody's rightful write. Nobody
  ever sees the child; it moves the parent's counter on by one, as padding does. Its events are
  looked at as any others: a client may give a znode such a name.
- **A proof** tells it afterwards: a write before the delete, whose answer holds a Stat. If its
  czxid is another one, what went is recorded as a conflict, without its bytes.

A guard says nothing where the parent, too, was deleted and created again with as many children, and
cannot hold where others create under the same parent all the time; then the proof is left.

Source: PrepRequestProcessor of ZooKeeper (`parentCVersion`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from sync_engine.decide import Action
from sync_engine.transaction import Work
from sync_engine.wire import Create, Delete, Op
from sync_engine.znode import Acl, join

_NAME = "zksync-delete-"
# Others' creates that come between reading and deleting, one after the other.
_VAIN_MAX = 5


class Guards:
    """Guards of one worker's deletes, by relative path of the parent."""

    def __init__(self) -> None:
        self._vain: Counter[str] = Counter()

    def plan(self, works: Iterable[Work]) -> dict[str, int]:
        """What children the parents of these deletes are expected to have had, at the earliest
        moment at which one of them was read."""
        found: dict[str, int] = {}
        for work in works:
            creates, above = work.siblings, _above(work)
            if creates is not None and _is_delete(work) and self._vain[above] < _VAIN_MAX:
                found[above] = min(creates, found.get(above, creates))
        return found

    @staticmethod
    def spread(batches: Iterable[Iterable[Work]]) -> None:
        """Let each guard expect those that are sent before it: each moves its counter by one."""
        before: Counter[str] = Counter()
        for batch in batches:
            guarded = [work for work in batch if work.siblings is not None]
            for work in guarded:
                assert work.siblings is not None
                work.siblings += before[_above(work)]
            before.update({_above(work) for work in guarded if _is_delete(work)})

    def note_vain(self, above: str, *, is_final: bool) -> None:
        """A guard failed; finally, where no other would hold."""
        self._vain[above] = _VAIN_MAX if is_final else self._vain[above] + 1

    def note_held(self, plan: Iterable[str]) -> None:
        """These deletes were applied."""
        for above in plan:
            self._vain.pop(above, None)


def operations(path: str, creates: int, acl: tuple[Acl, ...]) -> Sequence[Op]:
    """The guard of one parent, by its full path."""
    child = join(path, _NAME)
    return [
        Create(child, None, acl, sequential=True),
        Delete(f"{child}{creates:010d}", 0),
    ]


def _above(work: Work) -> str:
    return work.rel.rpartition("/")[0]


def _is_delete(work: Work) -> bool:
    return work.decision.action is Action.DELETE
