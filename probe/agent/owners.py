"""Who owns a socket: the process that has its inode among its open files.

Looking through all open files of all processes is what makes this dear, so it is done only while
there are sockets without an owner, only in processes whose number of open files has changed, and
only for files that were not looked at before. Now and then all are looked at again, because a file
may have taken the place of another.
"""

from __future__ import annotations

import os

_DEEP_S = 15.0
_SOCKET = "socket:["


class Owners:
    """Finds owners. `proc` is where the host's /proc is."""

    def __init__(self, proc: str) -> None:
        self._proc = proc
        self._counts: dict[int, int] = {}
        self._files: dict[int, dict[str, int]] = {}
        self._pids: dict[int, int] = {}
        self._deep_at = float("-inf")
        self.forbidden = 0
        """Processes whose open files may not be seen."""

    def find(self, inodes: set[int], pids: list[int], now: float) -> dict[int, int]:
        """Owners of sockets, by inode; those that are not found are left out."""
        found: dict[int, int] = {}
        if not inodes:
            return found
        self._forget(set(pids))
        wanted = self._take(set(inodes), found)
        if not wanted:
            return found
        self.forbidden = 0
        # The newest first: they are the likeliest to have new sockets.
        for pid in sorted(pids, reverse=True):
            if self._look(pid, is_deep=False) and not (wanted := self._take(wanted, found)):
                return found
        if now - self._deep_at >= _DEEP_S:
            self._deep_at = now
            for pid in pids:
                self._look(pid, is_deep=True)
            self._take(wanted, found)
        return found

    def _take(self, wanted: set[int], found: dict[int, int]) -> set[int]:
        """Move what is known from one to the other; returns what is still wanted."""
        known = wanted & self._pids.keys()
        for inode in known:
            found[inode] = self._pids[inode]
        return wanted - known

    def _look(self, pid: int, *, is_deep: bool) -> bool:
        """Look at a process's open files; False when there was nothing new to see."""
        path = f"{self._proc}/{pid}/fd"
        try:
            count = os.stat(path).st_size  # noqa: PTH116 - a Path a process costs more than the look
            # Before Linux 6.2 the size is 0 and tells nothing.
            if count and count == self._counts.get(pid) and not is_deep:
                return False
            names = os.listdir(path)  # noqa: PTH208 - a Path a process costs more than the look
        except PermissionError:
            self.forbidden += 1
            return False
        except OSError:
            return False
        self._counts[pid] = count
        before = self._files.get(pid, {})
        here: dict[str, int] = {}
        for name in names:
            inode = None if is_deep else before.get(name)
            if inode is None:
                inode = _inode(f"{path}/{name}")
                # Children inherit what their parent listens on; it stays the parent's.
                if inode and self._pids.get(inode, pid) >= pid:
                    self._pids[inode] = pid
            here[name] = inode
        self._files[pid] = here
        self._drop(pid, set(before.values()) - set(here.values()))
        return True

    def closed(self, pid: int, inodes: set[int]) -> None:
        """Sockets of a process have gone: their places among its files may be taken by others."""
        files = self._files.get(pid)
        if files is not None:
            self._counts.pop(pid, None)
            for name in [n for n, inode in files.items() if inode in inodes]:
                del files[name]
        self._drop(pid, inodes)

    def _drop(self, pid: int, inodes: set[int]) -> None:
        for inode in inodes:
            if self._pids.get(inode) == pid:
                del self._pids[inode]

    def _forget(self, pids: set[int]) -> None:
        for pid in [pid for pid in self._files if pid not in pids]:
            self._drop(pid, set(self._files.pop(pid).values()))
            self._counts.pop(pid, None)


def _inode(path: str) -> int:
    """The inode of a socket; 0 for a file of another kind."""
    try:
        target = os.readlink(path)  # noqa: PTH115 - a Path a file costs more than the look
    except OSError:
        return 0
    return int(target[len(_SOCKET) : -1]) if target.startswith(_SOCKET) else 0
