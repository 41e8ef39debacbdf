"""The benchmark of Mesos: what it is documented to have, and that its framework counts rightly."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clients.mesos import SchedulerClient
from tests.local import against_mesos
from tests.performance.mesos.batch import Batch, Shape
from tests.performance.mesos.instant import instant_master
from tests.performance.mesos.launching import working
from tests.performance.mesos.rows import ROWS
from tests.performance.mesos.state import measured
from tests.waiting import until


def test_the_documentation_names_every_row() -> None:
    text = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text()

    assert not [name for name in ROWS if f"`{name}`" not in text]


async def test_a_batch_packs_offers_and_counts_what_runs() -> None:
    shapes = [Shape(0.3, 300), Shape(0.8, 100), Shape(0.3, 300), Shape(2.0, 100)]
    with instant_master(offers=2, cpus=1.0) as address:
        async with SchedulerClient([address], timeout_s=60) as client:
            batch = Batch(client, shapes)
            async with working(batch):
                await until(lambda: batch.running == 3 and not batch.waiting, "three run", 60)

    # In their order, as far as they fit: 0.8 waits for the second offer, 2.0 for ever.
    assert batch.places == {"batch-1": "S0", "batch-2": "S0", "batch-3": "S1"}
    assert list(batch.wanted) == [Shape(2.0, 100)]
    assert batch.by_state() == {"TASK_RUNNING": 3}


async def test_a_large_state_is_read_piece_by_piece() -> None:
    """The whole text is never held, and what is made of it takes a share of it."""
    seen = await measured(1_000, 20_000)

    assert (seen.agents, seen.tasks) == (1_000, 20_000)
    assert seen.size_mb > 30
    assert seen.used_mb < min(300, seen.size_mb), f"{seen.used_mb:.0f} MB of {seen.size_mb:.0f}"


def test_what_is_missing_for_the_real_programs_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"mesos-master"}

    def which(name: str) -> str | None:
        return name if name in there else None

    monkeypatch.setattr(shutil, "which", which)
    assert "saw no mesos-agent:" in (against_mesos.missing() or "")
    there.add("mesos-agent")
    assert against_mesos.missing() is None
