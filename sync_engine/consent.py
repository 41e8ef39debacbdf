"""What waits for an operator, and which word is about what.

Each thing that waits has a name, made of its reason. A word that carries another name than what
waits now is refused: whoever gave it has seen something else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from sync_engine.errors import EngineRefusedError
from sync_engine.replicator import Replicator
from sync_engine.report import Waiting

# How far a side is by now changes while the question stays the same.
_ZXID = re.compile(r"0x[0-9a-f]+")


def named(reasons: Sequence[str]) -> Waiting:
    """What waits for these reasons."""
    reason = "; ".join(reasons)
    seen = hashlib.sha256(_ZXID.sub("", reason).encode()).hexdigest()[:12]
    return Waiting(reason=reason, seen=seen)


def why_stalled(worker: Replicator) -> Waiting | None:
    """Why a subtree stands still."""
    return None if worker.stalled is None else named([worker.stalled])


def why_unowned(worker: Replicator) -> Waiting | None:
    """Paths that stay until an operator says that they may go."""
    subtree = worker.subtree
    count = len(subtree.base.unowned - subtree.shared.released)
    owner, name = subtree.owner, subtree.name
    if not count:
        return None
    reason = (
        f"{count} paths are on side {owner.other.value} alone, and no base says whether side "
        f"{owner.value} deleted them: look at them with `zk-sync diff`; `zk-sync confirm {name}` "
        "deletes them"
    )
    return named([reason])


def waiting(worker: Replicator) -> list[Waiting]:
    """All that waits in a subtree, what stops it first."""
    found = (why_stalled(worker), why_unowned(worker))
    return [one for one in found if one is not None]


def chosen(found: Sequence[Waiting], seen: str | None) -> Waiting | None:
    """What a word is about: without a name, the first that waits; None if nothing does.

    Raises:
        EngineRefusedError: what was seen waits no longer, or was never there.
    """
    if seen is None:
        return next(iter(found), None)
    for one in found:
        if one.seen == seen:
            return one
    now = "; ".join(f"{one.seen}: {one.reason}" for one in found) or "nothing"
    msg = f"expected that what was shown as {seen} waits, saw {now}: look again, then confirm"
    raise EngineRefusedError(msg, type="NotWhatWasSeen")
