"""Being the only process that does something, by a lock on a file.

The kernel drops the lock with its process, however that ends, so nobody waits for a dead one. The
file holds what a person needs to know of the holder.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TextIO

_PAUSE_S = 0.02


@contextmanager
def hold(
    file: TextIO, me: str, refuse: Callable[[str], Exception], *, wait_s: float = 0.0
) -> Generator[None]:
    """Hold a file that was opened with mode `a+`; `me` is written into it.

    `wait_s`: how long to try, where others may hold it for a moment.

    Raises:
        Exception: what `refuse` makes of the holder's own words, when there is one.
    """
    deadline = time.monotonic() + wait_s
    while not _is_taken(file):
        if time.monotonic() >= deadline:
            file.seek(0)
            raise refuse(file.read().strip() or "another process")
        time.sleep(_PAUSE_S)
    file.truncate(0)
    file.write(f"{me}\n")
    file.flush()
    yield


def _is_taken(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
