"""Being the only process that does something, by a lock on a file.

The kernel drops the lock with its process, however that ends, so nobody waits for a dead one. The
file holds what a person needs to know of the holder.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TextIO


@contextmanager
def hold(file: TextIO, me: str, refuse: Callable[[str], Exception]) -> Generator[None]:
    """Hold a file that was opened with mode `a+`; `me` is written into it.

    Raises:
        Exception: what `refuse` makes of the holder's own words, when there is one.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise refuse(file.read().strip() or "another process") from None
    file.truncate(0)
    file.write(f"{me}\n")
    file.flush()
    yield
