"""That entries of folders come and go, told by the kernel (inotify).

What has happened is not read from the events: whoever hears of one looks at the folder, so none
that was lost matters. Works for control groups, whose folders are made and removed like others.
"""

from __future__ import annotations

import contextlib
import ctypes
import os

_CREATED, _DELETED, _MOVED = 0x100, 0x200, 0x0C0
_ONLY_FOLDERS = 0x0100_0000
_READ_BYTES = 64 * 1024


class FolderEvents:
    """A descriptor that is readable when something came or went in one of its folders."""

    def __init__(self) -> None:
        """Begin without a folder.

        Raises:
            OSError: this user has too many of them.
        """
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._called(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._folders: set[str] = set()

    def fileno(self) -> int:
        """For an event loop."""
        return self._descriptor

    def add(self, folder: str) -> bool:
        """Hear of a folder; whether it is heard of only from now on. One that is known stays.

        Raises:
            OSError: it cannot be heard of.
        """
        if folder in self._folders:
            return False
        flags = _CREATED | _DELETED | _MOVED | _ONLY_FOLDERS
        path = os.fsencode(folder)
        self._called(self._libc.inotify_add_watch(self._descriptor, path, flags))
        self._folders.add(folder)
        return True

    def forget(self, folder: str) -> None:
        """A folder has gone, and its watch with it: another one of that name is another folder."""
        self._folders.discard(folder)

    def drain(self) -> None:
        """Take what has happened so far."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._descriptor, _READ_BYTES):
                pass

    def close(self) -> None:
        """Hear of nothing any more."""
        os.close(self._descriptor)

    @staticmethod
    def _called(result: int) -> int:
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return result
