"""The base table: per path, what was last equal on both sides.

It is what tells "deleted" from "never there" without any clock, and where the ACLs of a fenced side
stand. Rows (`rows.py`) live in memory and are written through to SQLite; each transaction also
notes which checkpoint slots it covers, so that after a crash only newer slots are replayed
(`slots.py`).

Power loss may take the last transactions (synchronous=NORMAL); slots repair the rest. A file that
cannot be written, as on a full disk, ends the engine: what it has applied and not noted stands in
the slots, for its next start. A damaged file is set aside (`base_file.py`).
"""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TextIO

from sync_engine.base_file import connect, unusable
from sync_engine.direction import Roots, Side
from sync_engine.errors import DamagedBaseError, StateError
from sync_engine.globs import EVERYTHING, Selection
from sync_engine.rows import GONE, Row, decode_acl, encode_acl, stamp_of_text, stamp_text
from sync_engine.znode import Acl

# A file of another layout is no base; the engine then compares in full.
_LAYOUT = "1"


class SentAcl(NamedTuple):
    """An ACL that was sent to one side; where both are copied, the other side may have it too."""

    side: Side
    acl: tuple[Acl, ...]


@dataclass(frozen=True, slots=True)
class SlotMark:
    """A checkpoint slot on the target side, and the sequence number of what it last recorded."""

    side: Side
    number: int
    seq: int


class BaseStore:
    """The file under all base tables of one engine."""

    damage: str | None = None
    """Why a snapshot is empty though there is a file."""

    def __init__(self, path: Path) -> None:
        """Open it, or create it with its folder.

        Raises:
            StateError: another process uses it, or the machine refuses to make, read or write it.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            msg = (
                f"expected to keep the engine's files in {path.parent}, saw {error.strerror}: make "
                "it a folder of the engine's own, or configure another state_dir"
            )
            raise StateError(msg) from error
        try:
            lock = path.with_suffix(".lock").open("w")
        except OSError as error:
            raise unusable(path, error) from error
        try:
            # Gone with the process, however it ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            msg = (
                f"expected {path.parent} to be this engine's alone, saw another process use it: "
                "stop that one, or configure another state_dir"
            )
            raise StateError(msg) from None
        self._lock: TextIO | None = lock
        try:
            # Opened with 0600: rows hold digests of passwords in ACLs.
            path.touch(mode=0o600, exist_ok=True)
            try:
                self._open(path)
            except DamagedBaseError:
                # A damaged base is a lost base: the engine compares in full, without deletes.
                self.db.close()
                path.touch(mode=0o600)
                self._open(path)
        except StateError:
            lock.close()
            raise
        except OSError as error:
            lock.close()
            raise unusable(path, error) from error

    @classmethod
    def snapshot(cls, path: Path) -> BaseStore:
        """A copy in memory of a file that an engine may be using; an empty one without a file.

        Raises:
            StateError: the file cannot be read.
        """
        store = object.__new__(cls)
        store._lock = None
        store._open(None)
        if path.exists():
            try:
                source = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
                store.db.file = path
                with closing(source), store.db.reading():
                    source.backup(store.db)
                store.db.check_whole()
                store._prepare()
            except DamagedBaseError as error:
                # As a run would: with a lost one.
                store.db.close()
                store._open(None)
                store.damage = str(error)
            except sqlite3.Error as error:
                msg = f"expected to read the base in {path}, saw {error}: look at the file"
                raise StateError(msg) from None
        return store

    def _open(self, path: Path | None) -> None:
        self.db = connect(path)
        if path is not None:
            self.db.check_whole()
        self._prepare()

    def _prepare(self) -> None:
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=NORMAL")
        self.db.executescript(
            """
            CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
            CREATE TABLE IF NOT EXISTS acls (id INTEGER PRIMARY KEY, acl TEXT UNIQUE NOT NULL);
            CREATE TABLE IF NOT EXISTS slots (subtree TEXT, side TEXT, number INTEGER, seq INTEGER,
              PRIMARY KEY (subtree, side, number));
            CREATE TABLE IF NOT EXISTS rows (subtree TEXT, rel TEXT,
              a TEXT, b TEXT, data_hash BLOB NOT NULL, acl INTEGER NOT NULL,
              PRIMARY KEY (subtree, rel)) WITHOUT ROWID;
            CREATE TABLE IF NOT EXISTS acls_sent (subtree TEXT, rel TEXT,
              side TEXT NOT NULL, acl TEXT NOT NULL,
              PRIMARY KEY (subtree, rel)) WITHOUT ROWID;
            CREATE TABLE IF NOT EXISTS held (id INTEGER PRIMARY KEY AUTOINCREMENT, subtree TEXT,
              rel TEXT, at REAL NOT NULL, reason TEXT NOT NULL, why TEXT NOT NULL,
              a TEXT, b TEXT, UNIQUE (subtree, rel));
            """
        )
        with self.db.reading():
            self._acl_ids: dict[tuple[Acl, ...], int] = {
                decode_acl(text): id_ for id_, text in self.db.execute("SELECT id, acl FROM acls")
            }

    def meta(self, key: str) -> str | None:
        """A noted value."""
        found = self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if found is None else str(found[0])

    def note(self, key: str, value: str) -> None:
        """Note a value."""
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def forget_note(self, key: str) -> None:
        """Remove a noted value."""
        self.db.execute("DELETE FROM meta WHERE key = ?", (key,))

    def zxid_max(self, side: Side) -> int:
        """The highest zxid of a side that any row has seen."""
        column = side.value
        (found,) = self.db.execute(
            # A cast takes the digits before the comma.
            f"SELECT MAX(CAST(substr({column}, instr({column}, ',') + 1) AS INTEGER)) FROM rows"  # noqa: S608 - a side's name
        ).fetchone()
        return int(found or 0)

    def unbind(self, notes: Iterable[tuple[str, str]] = ()) -> None:
        """Forget everything, as nothing of it is true any more, but for these notes."""
        self.db.execute("BEGIN")
        for table in ("meta", "rows", "slots", "acls_sent", "held"):
            self.db.execute(f"DELETE FROM {table}")  # noqa: S608 - names from the line above
        for key, value in notes:
            self.note(key, value)
        self.db.execute("COMMIT")

    def bind(self, pair: str, *, confirmed: Iterable[str] = ()) -> None:
        """Forget everything unless it belongs to this pair. `confirmed`: subtrees of which an
        operator has said that they may be copied as if nothing were known."""
        if self.meta("pair") == pair and self.meta("layout") == _LAYOUT:
            return
        words = ((f"confirmed:{name}", "yes") for name in confirmed)
        self.unbind((("layout", _LAYOUT), ("pair", pair), *words))

    def forget(self, subtree: str) -> None:
        """Remove what is known of one subtree."""
        self.db.execute("BEGIN")
        for table in ("rows", "slots", "acls_sent", "held"):
            self.db.execute(f"DELETE FROM {table} WHERE subtree = ?", (subtree,))  # noqa: S608 - names from above
        self.db.execute("DELETE FROM meta WHERE key = ?", (f"trusted:{subtree}",))
        self.db.execute("COMMIT")

    def acl_id(self, acl: tuple[Acl, ...]) -> int:
        """The number under which an ACL is kept; a tree has a handful of them."""
        known = self._acl_ids.get(acl)
        if known is None:
            cursor = self.db.execute("INSERT INTO acls (acl) VALUES (?)", (encode_acl(acl),))
            known = self._acl_ids[acl] = int(cursor.lastrowid or 0)
        return known

    def close(self) -> None:
        """Write the log back into the file and close it."""
        with self._lock or nullcontext():
            self.db.close()


class Base:
    """The base table of one subtree."""

    def __init__(self, store: BaseStore, subtree: str, roots: Roots) -> None:
        self._store = store
        self._subtree = subtree
        where, before = f"{roots.a} {roots.b}", store.meta(f"roots:{subtree}")
        if before != where:
            # Another part of the tree under a known name: nothing is known of it.
            store.forget(subtree)
            if before is not None:
                store.forget_note(f"confirmed:{subtree}")
                store.note(f"moved:{subtree}", "yes")
            store.note(f"roots:{subtree}", where)
        with store.db.reading():
            acls = {
                id_: decode_acl(text) for id_, text in store.db.execute("SELECT id, acl FROM acls")
            }
            self.rows: dict[str, Row] = {
                rel: Row(stamp_of_text(a), stamp_of_text(b), hashed, acls[acl])
                for rel, a, b, hashed, acl in store.db.execute(
                    "SELECT rel, a, b, data_hash, acl FROM rows WHERE subtree = ?", (subtree,)
                )
            }
            self.acl_writes: dict[str, SentAcl] = {
                rel: SentAcl(Side(side), decode_acl(text))
                for rel, side, text in store.db.execute(
                    "SELECT rel, side, acl FROM acls_sent WHERE subtree = ?", (subtree,)
                )
            }
        """Original ACLs that were sent to the other side and whose rows do not have them yet."""
        self.kept = {rel for rel, row in self.rows.items() if row.is_kept}
        """Paths that stay on one side though they were deleted on the other."""
        self.unowned = {rel for rel, row in self.rows.items() if row.is_unowned}
        """Paths that stay on the side that does not own them until an operator confirms."""
        self._selection = EVERYTHING

    def narrow(self, selection: Selection) -> None:
        """Let the rows that are not selected sleep, with all that is known of them.

        They stay in the file as they were last equal, and nothing is decided about them. When they
        are selected again, that tells what was deleted meanwhile from what was never there. Of a
        path that the base has never seen only a full comparison may say whose it is, so another
        selection than the last one makes the base one that is not trusted.
        """
        key = f"selection:{self._subtree}"
        if (self._store.meta(key) or "") != selection.text:
            self._store.forget_note(f"trusted:{self._subtree}")
            self._store.note(key, selection.text)
        self._selection = selection
        if selection.is_everything:
            return
        for table in (self.rows, self.acl_writes):
            for rel in [rel for rel in table if not selection.covers(rel)]:
                del table[rel]
        self.kept = {rel for rel in self.kept if selection.covers(rel)}
        self.unowned = {rel for rel in self.unowned if selection.covers(rel)}

    def asleep(self, rel: str) -> Row | None:
        """The row of a path that is not selected."""
        found = self._store.db.execute(
            "SELECT rows.a, rows.b, rows.data_hash, acls.acl FROM rows JOIN acls "
            "ON acls.id = rows.acl WHERE subtree = ? AND rel = ?",
            (self._subtree, rel),
        ).fetchone()
        if found is None:
            return None
        a, b, hashed, acl = found
        with self._store.db.reading():
            return Row(stamp_of_text(a), stamp_of_text(b), hashed, decode_acl(acl))

    def __len__(self) -> int:
        return len(self.rows)

    def get(self, rel: str) -> Row | None:
        """The row of a path."""
        return self.rows.get(rel)

    def count_on(self, side: Side) -> int:
        """How many paths are known to be there."""
        stamps = (row.stamp(side) for row in self.rows.values())
        return sum(stamp is not None and stamp != GONE for stamp in stamps)

    @property
    def is_trusted(self) -> bool:
        """Whether a full comparison was once finished: a missing node is then a deleted one."""
        return self._store.meta(f"trusted:{self._subtree}") == "yes"

    @property
    def knows_nothing(self) -> bool:
        """Whether nothing is known of any copy, and no operator has said that one may be made."""
        confirmed = self._store.meta(f"confirmed:{self._subtree}")
        return not (self.rows or self.is_trusted or confirmed)

    @property
    def is_moved(self) -> bool:
        """Whether its roots are others than once: slots may be of what was copied there."""
        return self._store.meta(f"moved:{self._subtree}") is not None

    def trust(self) -> None:
        """Note that a full comparison was finished."""
        self._store.note(f"trusted:{self._subtree}", "yes")

    def slot_seq(self, side: Side, number: int) -> int:
        """The newest record of a slot that the rows cover."""
        found = self._store.db.execute(
            "SELECT seq FROM slots WHERE subtree = ? AND side = ? AND number = ?",
            (self._subtree, side.value, number),
        ).fetchone()
        return 0 if found is None else int(found[0])

    def note_acl_writes(self, side: Side, acls: Mapping[str, tuple[Acl, ...]]) -> None:
        """Note ACLs that are about to be sent to a side; the path's next row ends the note.

        They stand in no transaction and so in no slot: this is all that tells them from another's.
        """
        self._store.db.executemany(
            "INSERT OR REPLACE INTO acls_sent VALUES (?, ?, ?, ?)",
            [(self._subtree, rel, side.value, encode_acl(acl)) for rel, acl in acls.items()],
        )
        self.acl_writes.update({rel: SentAcl(side, acl) for rel, acl in acls.items()})

    def put(self, changes: Mapping[str, Row | None], slot: SlotMark | None = None) -> None:
        """Change rows (None removes one) in one transaction, with the slot that they come from."""
        db, subtree = self._store.db, self._subtree
        db.execute("BEGIN")
        try:
            gone = [(subtree, rel) for rel, row in changes.items() if row is None]
            kept = [
                (
                    subtree,
                    rel,
                    stamp_text(row.a),
                    stamp_text(row.b),
                    row.data_hash,
                    self._store.acl_id(row.acl),
                )
                for rel, row in changes.items()
                if row is not None
            ]
            if gone:
                db.executemany("DELETE FROM rows WHERE subtree = ? AND rel = ?", gone)
            if kept:
                db.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?, ?)", kept)
            if self.acl_writes:
                ended = [(subtree, rel) for rel in changes if rel in self.acl_writes]
                db.executemany("DELETE FROM acls_sent WHERE subtree = ? AND rel = ?", ended)
            if slot is not None:
                db.execute(
                    "INSERT OR REPLACE INTO slots VALUES (?, ?, ?, ?)",
                    (subtree, slot.side.value, slot.number, slot.seq),
                )
            db.execute("COMMIT")
        except BaseException:
            # Whatever it was: a transaction left open would take the next one's rows with it. On
            # a full disk SQLite has taken it back already.
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        for rel, row in changes.items():
            self._take(rel, row if self._selection.covers(rel) else None)

    def _take(self, rel: str, row: Row | None) -> None:
        self.acl_writes.pop(rel, None)
        self.kept.discard(rel)
        self.unowned.discard(rel)
        if row is None:
            self.rows.pop(rel, None)
            return
        self.rows[rel] = row
        if row.is_kept:
            self.kept.add(rel)
        elif row.is_unowned:
            self.unowned.add(rel)
