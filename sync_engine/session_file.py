"""A session that outlives the process that holds it: its id and password in a file of mode 0600."""

from __future__ import annotations

import json
import os
from pathlib import Path

from sync_engine.lane import SavedSession


def load(path: Path) -> SavedSession | None:
    """The saved session; None without a file, or with a damaged one: then a new one is opened."""
    try:
        saved = json.loads(path.read_text())
        return SavedSession(int(saved["id"]), bytes.fromhex(saved["password"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save(path: Path, session: SavedSession) -> None:
    """Replace the file as a whole. It is not synced: one that is lost means a new session only, and
    waiting for the disk would hold up the loop at every reconnect."""
    text = json.dumps({"id": session.id, "password": session.password.hex()})
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    with open(temporary, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text)
    temporary.replace(path)
