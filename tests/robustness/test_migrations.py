"""Migrations that are turned round, or whose runner is killed; nothing is lost, and they end.

The short share runs by default, under a fortieth of the demo's traffic and on one cluster that is
taken home each time; the kills under all of it with `make test-long`, as CI does; the rest with
`make robustness`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from stacks.topology import Color, Position
from tests.robustness import rig as rigs
from tests.robustness import validate

pytestmark = [pytest.mark.turns, pytest.mark.timeout(1200)]

# One step of each edge, chosen where the most is under way: what the kill interrupts is half done.
KILLS = (
    "0 -> 1:first copy:before",
    "1 -> 2:update to 2:after",
    "2 -> 3:project leader:after",
    "3 -> 4:update to 4:before",
    "4 -> 5:move tasks to target:before",
    "5 -> 6:final digest:after",
)
KILLED = -9
TRAFFIC = (
    pytest.param(True, id="calm"),
    pytest.param(False, id="full", marks=pytest.mark.long),
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rigs.Kept]:
    """The cluster of all calm ways: one that was taken home twice migrates as a new one does."""
    made = rigs.Kept(lambda: tmp_path_factory.mktemp("kept"))
    yield made
    made.close()


def _cluster(kept: rigs.Kept, calm: bool, folder: Path) -> AbstractContextManager[rigs.Rig]:
    if calm:
        return kept.lent()
    # Only one runs at a time.
    kept.close()
    return rigs.running(folder)


@pytest.mark.parametrize(
    ("phase", "calm"),
    [
        pytest.param(3, True, id="3-calm"),
        pytest.param(5, True, id="5-calm"),
        *(
            pytest.param(phase, False, id=str(phase), marks=pytest.mark.robustness)
            for phase in range(1, 6)
        ),
    ],
)
def test_a_rollback_under_traffic_ends_at_phase_0_with_nothing_lost(
    phase: int, calm: bool, kept: rigs.Kept, tmp_path: Path
) -> None:
    with _cluster(kept, calm, tmp_path) as rig:
        before = validate.note(rig)
        ended = rig.migrate("start", "--to", str(phase))
        assert ended.returncode == 0, ended.stdout + ended.stderr

        ended = rig.migrate("rollback")

        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert rig.standing.position == Position(0)
        assert rig.standing.source is Color.BLUE
        programs = rig.supervisor.programs()
        assert [name for name in programs if "green" in name or "engine" in name] == []
        # Agents of the source were drained on the way to phase 5 only.
        assert validate.problems(rig, before, same_tasks=phase < 5) == []


# Less than the others have: it comes after them, for it leaves no cluster at phase 0.
@pytest.mark.timeout(1100)
@pytest.mark.parametrize("calm", TRAFFIC)
def test_a_migration_killed_once_in_each_phase_is_finished_by_resume(
    calm: bool, kept: rigs.Kept, tmp_path: Path
) -> None:
    with _cluster(kept, calm, tmp_path) as rig:
        before = validate.note(rig)

        verb = "start"
        for kill_at in KILLS:
            ended = rig.migrate(verb, kill_at=kill_at)
            assert ended.returncode == KILLED, f"{kill_at}: {ended.stdout}{ended.stderr}"
            verb = "resume"
        ended = rig.migrate("resume")

        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert rig.standing.position == Position(6)
        assert validate.problems(rig, before, same_tasks=False) == []
