"""Run the engine and kill it between two of its steps: `python -m … POINT SKIP run --rules FILE`.

Every point stands between two effects that outlast the process: a line in the journal, rows of the
base, a write to an ensemble, sent or answered. SKIP is how often the point is passed before. Dying
is SIGKILL: no handler, no `finally`, nothing flushed that was not flushed before.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from sync_engine import cli, slots
from sync_engine.applier import Applier
from sync_engine.base import Base
from sync_engine.conflicts import ConflictJournal
from sync_engine.fence import Fence
from sync_engine.lane import Lane
from sync_engine.replicator import Replicator
from sync_engine.rules import ENGINE_PATH
from sync_engine.wire import SetData

Die = Callable[[], None]
_SENT_S = 0.002
"""Long enough for what was handed to a connection to be on its way, too short for most answers."""


def _before(owner: object, name: str, die: Die) -> None:
    real = getattr(owner, name)

    @functools.wraps(real)
    def wrapped(*args: Any, **options: Any) -> Any:
        die()
        return real(*args, **options)

    setattr(owner, name, wrapped)


def _after(owner: object, name: str, die: Die, *, if_: Callable[..., bool] | None = None) -> None:
    """For functions of both kinds; `if_` is asked about the arguments."""
    real = getattr(owner, name)

    async def end(answer: Awaitable[Any], *, counts: bool) -> Any:
        found = await answer
        if counts:
            die()
        return found

    @functools.wraps(real)
    def wrapped(*args: Any, **options: Any) -> Any:
        counts = if_ is None or if_(*args, **options)
        found = real(*args, **options)
        if asyncio.iscoroutine(found):
            return end(found, counts=counts)
        if counts:
            die()
        return found

    setattr(owner, name, wrapped)


def _while(owner: object, name: str, die: Die, *, if_: Callable[..., bool] | None = None) -> None:
    """After a request was sent, and before its answer."""
    real = getattr(owner, name)

    @functools.wraps(real)
    async def wrapped(*args: Any, **options: Any) -> Any:
        if if_ is not None and not if_(*args, **options):
            return await real(*args, **options)
        sent = asyncio.ensure_future(real(*args, **options))
        await asyncio.sleep(_SENT_S)
        die()
        return await sent

    setattr(owner, name, wrapped)


def _has_slot(_fence: Fence, _side: object, ops: Any, **_: object) -> bool:
    return any(isinstance(op, SetData) and op.path.startswith(f"{ENGINE_PATH}/slots") for op in ops)


def _is_batch(_lane: Lane, ops: Any) -> bool:
    return _has_slot(None, None, ops)  # type: ignore[arg-type] - only the operations count


def _is_marked(_base: Base, _changes: object, slot: object = None) -> bool:
    return slot is not None


POINTS: dict[str, Callable[[Die], None]] = {
    "conflict decided, not journalled": functools.partial(_before, ConflictJournal, "record"),
    "conflict journalled, loser not overwritten": functools.partial(
        _after, ConflictJournal, "record"
    ),
    "ACL to be sent, not noted": functools.partial(_before, Base, "note_acl_writes"),
    "ACL noted, not sent": functools.partial(_after, Base, "note_acl_writes"),
    "ACL sent, not answered": functools.partial(_while, Lane, "set_acl"),
    "ACL answered, not in the base": functools.partial(_after, Lane, "set_acl"),
    "transaction decided, not sent": functools.partial(_before, Applier, "_send"),
    "transaction sent, not answered": functools.partial(_while, Lane, "multi", if_=_is_batch),
    "transaction answered, not in the base": functools.partial(
        _after, Fence, "transact", if_=_has_slot
    ),
    "rows in the base, not told": functools.partial(_after, Base, "put", if_=_is_marked),
    "fence taken on one side": functools.partial(_after, Fence, "_write"),
    "slots replayed, nothing compared": functools.partial(_after, slots, "load"),
    "compared, not noted as such": functools.partial(_before, Base, "trust"),
    "comparison under way": functools.partial(_before, Replicator, "_apply"),
}
STARTING = (
    "fence taken on one side",
    "slots replayed, nothing compared",
    "compared, not noted as such",
    "comparison under way",
)
"""Points that an engine passes when it starts, and then never or seldom again."""


def install(point: str, skip: int) -> None:
    """Let this process die at a point, after having passed it so often."""
    left = skip

    def die() -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    POINTS[point](die)


def main() -> None:
    """Run `zk-sync` with what follows on the command line."""
    point, skip, *arguments = sys.argv[1:]
    install(point, int(skip))
    cli.main(arguments)


if __name__ == "__main__":
    main()
