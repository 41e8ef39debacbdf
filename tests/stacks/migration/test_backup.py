"""Which backups are kept."""

from __future__ import annotations

import os
from pathlib import Path

from stacks.migration.backup import drop_oldest


def test_the_first_backup_of_a_migration_is_never_dropped(tmp_path: Path) -> None:
    for number in range(100):
        folder = tmp_path / "m" / f"{number:03d}-0-to-1"
        folder.mkdir(parents=True)
        (folder / "frameworks.json").write_text("{}")

    drop_oldest(tmp_path)

    kept = sorted(path.name for path in (tmp_path / "m").iterdir())
    assert kept[0] == "000-0-to-1"
    assert kept[1:] == [f"{number:03d}-0-to-1" for number in range(60, 100)]


def test_old_migrations_go_whole(tmp_path: Path) -> None:
    for number in range(12):
        folder = tmp_path / f"m{number:02d}"
        (folder / "1").mkdir(parents=True)
        os.utime(folder, (number, number))

    drop_oldest(tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == [f"m{n:02d}" for n in range(2, 12)]
