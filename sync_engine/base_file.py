"""The SQLite file under the base: what is damaged told from what the machine refuses."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from sync_engine.errors import DamagedBaseError, StateError

_log = structlog.get_logger()
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_PRIMARY_CODE = 0xFF


class Connection(sqlite3.Connection):
    """Raises a `StateError` for what the machine refuses (a full disk, a failing one), and a
    `DamagedBaseError` for damage. A damaged file is set aside when it is closed: before that,
    somebody may be using it.
    """

    file: Path = Path("memory")
    may_set_aside = False
    _damage: str | None = None

    def close(self) -> None:
        """End it.

        Raises:
            StateError: the file is damaged and cannot be set aside.
        """
        super().close()
        if self._damage is None or not self.may_set_aside:
            return
        saw, self._damage = self._damage, None
        try:
            self.file.replace(self._aside)
            for suffix in ("-wal", "-shm"):
                self.file.with_name(self.file.name + suffix).unlink(missing_ok=True)
        except OSError as error:
            raise unusable(self.file, error) from error
        _log.error("base.damaged", file=str(self.file), set_aside=str(self._aside), saw=saw)

    def execute(self, *args: Any) -> sqlite3.Cursor:
        """One statement."""
        try:
            return super().execute(*args)
        except sqlite3.DatabaseError as error:
            raise self._told(error) from error

    def executemany(self, *args: Any) -> sqlite3.Cursor:
        """One statement for each set of values."""
        try:
            return super().executemany(*args)
        except sqlite3.DatabaseError as error:
            raise self._told(error) from error

    def executescript(self, *args: Any) -> sqlite3.Cursor:
        """Statements without values."""
        try:
            return super().executescript(*args)
        except sqlite3.DatabaseError as error:
            raise self._told(error) from error

    @contextmanager
    def reading(self) -> Generator[None]:
        """Rows are fetched and decoded in there: what cannot be, is damaged."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise self._told(error) from error
        except (ValueError, LookupError, TypeError) as error:
            raise self.lost(error) from error

    def check_whole(self) -> None:
        """Look at every page.

        Raises:
            DamagedBaseError: one is damaged.
        """
        with self.reading():
            (found,) = self.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise self.lost(found)

    def lost(self, reason: object) -> DamagedBaseError:
        """Take note of damage; returns what to say of it."""
        self._damage = str(reason)
        msg = (
            f"expected a whole base in {self.file}, saw {reason}: start the engine, which sets it "
            f"aside as {self._aside.name} and compares in full, without deletes"
        )
        return DamagedBaseError(msg)

    @property
    def _aside(self) -> Path:
        return self.file.with_suffix(".damaged")

    def _told(self, error: sqlite3.DatabaseError) -> Exception:
        if isinstance(error, sqlite3.ProgrammingError):
            # Whoever asks after the end: nothing is wrong with the file.
            return error
        # Text that cannot be decoded is the one failure here that has no code of SQLite's.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & _PRIMARY_CODE
        if code in _DAMAGE:
            return self.lost(error)
        return unusable(self.file, error) if isinstance(error, sqlite3.OperationalError) else error


def connect(path: Path | None) -> Connection:
    """Open a file, which may be set aside if it is damaged; None: one in memory.

    Raises:
        StateError: it cannot be opened.
    """
    try:
        made = sqlite3.connect(path or ":memory:", isolation_level=None, factory=Connection)
    except sqlite3.Error as error:
        raise unusable(path or Connection.file, error) from error
    if path is not None:
        made.file, made.may_set_aside = path, True
    return made


def unusable(file: Path, error: Exception) -> StateError:
    """What to say of a file that the machine refuses to read or write."""
    msg = (
        f"expected to use the base in {file}, saw {error}: make room, or see to the disk, and "
        "start the engine again"
    )
    return StateError(msg)
