"""A base whose file is damaged is a lost one: set aside and said, and nothing is deleted."""

from __future__ import annotations

import errno
import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from sync_engine import cli
from sync_engine.base import Base, BaseStore
from sync_engine.direction import Roots, Side
from sync_engine.errors import DamagedBaseError, StateError
from sync_engine.held import HeldPaths
from sync_engine.provenance import read_known
from sync_engine.rows import Row, Stamp
from sync_engine.wire import ANY_VERSION, Delete
from sync_engine.znode import WORLD_ALL
from tests.sync_engine.memory.ensemble import Client
from tests.sync_engine.memory.tree import Create
from tests.sync_engine.memory.world import World
from tests.sync_engine.rig import Rig
from tests.sync_engine.servers import Server

_ROW = Row(Stamp(1, 1, 0, 0), Stamp(2, 2, 0, 0), bytes(16), WORLD_ALL)
_ROOTS = Roots("/a", "/b")


def _fill(path: Path) -> None:
    store = BaseStore(path)
    store.note("pair", "p")
    Base(store, "apps", _ROOTS).put({f"/{number}": _ROW for number in range(2000)})
    store.close()


def _damage_page_of_rows(path: Path) -> None:
    """Overwrite a page that no opening of the file reads."""
    with closing(sqlite3.connect(path)) as db:
        (size,) = db.execute("PRAGMA page_size").fetchone()
        (count,) = db.execute("PRAGMA page_count").fetchone()
    with path.open("r+b") as file:
        file.seek(size * (count - 3))
        file.write(b"\xa5" * size)


def _overwrite(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)


def test_damaged_page_of_rows_is_noticed_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "base.sqlite"
    _fill(path)
    _damage_page_of_rows(path)

    with capture_logs() as logs:
        store = BaseStore(path)

    assert store.meta("pair") is None
    assert not Base(store, "apps", _ROOTS).rows
    store.close()
    assert [line["event"] for line in logs] == ["base.damaged"]
    assert logs[0]["set_aside"] == str(tmp_path / "base.damaged")
    assert (tmp_path / "base.damaged").stat().st_size > 0


def test_page_that_is_damaged_under_a_running_engine_costs_it_its_base(tmp_path: Path) -> None:
    path = tmp_path / "base.sqlite"
    _fill(path)
    store = BaseStore(path)
    base = Base(store, "apps", _ROOTS)
    # What SQLite holds in memory it does not read again.
    store.db.execute("PRAGMA cache_size = 1")
    store.db.execute("PRAGMA shrink_memory")
    _damage_page_of_rows(path)

    with pytest.raises(DamagedBaseError, match=re.escape(f"expected a whole base in {path}")):
        [base.asleep(f"/{number}") for number in range(2000)]
    store.close()

    again = BaseStore(path)
    assert again.meta("pair") is None
    again.close()
    assert (tmp_path / "base.damaged").exists()


@pytest.mark.parametrize("table", ["rows", "acls"])
def test_rows_that_cannot_be_decoded_are_damage_that_the_next_start_is_without(
    tmp_path: Path, table: str
) -> None:
    path = tmp_path / "base.sqlite"
    _fill(path)
    with closing(sqlite3.connect(path)) as db, db:
        change = "a = 'x'" if table == "rows" else "acl = CAST(x'ff' AS TEXT)"
        db.execute(f"UPDATE {table} SET {change}")  # noqa: S608 - names from above

    if table == "rows":
        store = BaseStore(path)
        with pytest.raises(DamagedBaseError, match=re.escape(str(path))):
            Base(store, "apps", _ROOTS)
        store.close()

    again = BaseStore(path)
    assert again.meta("pair") is None
    assert not Base(again, "apps", _ROOTS).rows
    again.close()
    assert (tmp_path / "base.damaged").exists()


def _read_held(store: BaseStore) -> object:
    return HeldPaths(store, "apps")


@pytest.mark.parametrize(
    ("change", "read"),
    [
        ("INSERT INTO held VALUES (1, 'apps', '/x', 0, 'r', 'w', 'x', NULL)", _read_held),
        ("INSERT INTO meta VALUES ('marker:a', 'x')", read_known),
        ("INSERT INTO meta VALUES ('zxid:b', '0x1')", read_known),
    ],
)
def test_notes_that_cannot_be_decoded_are_damage_that_the_next_start_is_without(
    tmp_path: Path, change: str, read: Callable[[BaseStore], object]
) -> None:
    path = tmp_path / "base.sqlite"
    _fill(path)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(change)

    store = BaseStore(path)
    with pytest.raises(DamagedBaseError, match=re.escape(str(path))):
        read(store)
    store.close()

    again = BaseStore(path)
    read(again)
    assert again.meta("pair") is None
    again.close()


def test_file_is_not_set_aside_under_the_engine_that_uses_it(tmp_path: Path) -> None:
    path, aside = tmp_path / "base.sqlite", tmp_path / "base.damaged"
    _fill(path)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE rows SET a = 'x'")
    store = BaseStore(path)
    with pytest.raises(DamagedBaseError):
        Base(store, "apps", _ROOTS)
    # Whoever looks at it meanwhile, or writes to it, finds it where it is.
    assert path.exists()
    assert not aside.exists()
    store.note("pair", "q")
    assert BaseStore.snapshot(path).meta("pair") == "q"
    store.close()
    assert aside.exists()
    assert not path.exists()


def test_file_that_cannot_be_set_aside_is_told_as_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "base.sqlite"
    _fill(path)
    _overwrite(path)

    def replace(*_: object) -> None:
        raise PermissionError(errno.EPERM, "not permitted")

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(StateError, match="not permitted"):
        BaseStore(path)
    # And the folder is free for another try.
    monkeypatch.undo()
    BaseStore(path).close()


def test_base_that_is_asked_after_its_end_is_not_taken_for_damaged(tmp_path: Path) -> None:
    path = tmp_path / "base.sqlite"
    _fill(path)
    store = BaseStore(path)
    store.close()
    with pytest.raises(sqlite3.ProgrammingError):
        store.meta("pair")
    again = BaseStore(path)
    assert again.meta("pair") == "p"
    again.close()


def test_engine_with_a_damaged_base_compares_in_full_and_deletes_nothing(world: World) -> None:
    a = Client(world.sides[Side.A], "client")
    for number in range(300):
        a.write(Create(f"/apps/{number}", b"", WORLD_ALL))
    world.start()
    world.come_to_rest()
    world.stop()
    _damage_page_of_rows(world.state_dir / "base.sqlite")
    a.write(Delete("/apps/7", ANY_VERSION))
    a.write(Create("/apps/new", b"", WORLD_ALL))

    world.start()
    world.come_to_rest()

    b = world.sides[Side.B]
    assert b.copy("/other/apps/new") is not None
    assert b.copy("/other/apps/7") is not None
    assert world.replicator.subtree.base.is_trusted


@pytest.mark.parametrize("verb", ["check", "plan", "diff"])
@pytest.mark.parametrize("damage", [_damage_page_of_rows, _overwrite])
def test_who_only_looks_tells_of_a_damaged_base_and_leaves_it(
    pair: tuple[Server, Server], tmp_path: Path, damage: Callable[[Path], None], verb: str
) -> None:
    rig = Rig(pair, tmp_path)
    rig.state_dir.mkdir()
    path = rig.state_dir / "base.sqlite"
    _fill(path)
    damage(path)
    before = path.read_bytes()

    found = CliRunner().invoke(cli.main, [verb, "--rules", str(rig.rules_file), "--json"])

    assert found.exit_code == 0, found.output
    warnings = json.loads(found.stdout)["warnings"]
    assert any(f"expected a whole base in {path}" in line for line in warnings)
    assert path.read_bytes() == before


def test_base_that_is_no_file_is_said_without_a_trace(tmp_path: Path) -> None:
    (tmp_path / "base.sqlite").mkdir()
    with pytest.raises(StateError, match="expected to use the base in"):
        BaseStore(tmp_path / "base.sqlite")
    # Nor does it keep the next one out.
    (tmp_path / "base.sqlite").rmdir()
    BaseStore(tmp_path / "base.sqlite").close()
