"""Keeps the logs of a run that did not pass: what runs is removed, its words must not be."""

from __future__ import annotations

import shutil
from pathlib import Path

# Never secrets, identities or rendered configuration.
_KEPT = (
    "*/output.log",
    "supervisor/*.log",
    "migration/journal.jsonl",
    "frameworks-*/data/updates.jsonl",
    "clients-*/data/acks.jsonl",
    "*-agents-*/work/sandboxes/*/std*",
)


def keep(run_dir: Path, folder: Path) -> Path:
    """Copy what processes of a run folder have said; returns the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for pattern in _KEPT:
        for file in run_dir.glob(pattern):
            place = folder / file.relative_to(run_dir)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, place)
    return folder
