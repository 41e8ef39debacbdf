"""Faults on real ensembles, with clients on both sides; what must come of each stands beside it in
`matrix/cases.py`.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sync_engine.direction import Side
from tests.robustness import seeds
from tests.robustness.matrix import driver, report
from tests.robustness.matrix.cases import CASES, Case
from tests.robustness.matrix.ensembles import Group, Groups, started

_OWN = [case for case in CASES if case.own_servers]
_SHARED = [case for case in CASES if not case.own_servers and not case.quorum]
_QUORUM = [case for case in CASES if case.quorum]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Groups]:
    """One server a side; the cases of it leave them as they were."""
    folder = tmp_path_factory.mktemp("pair")
    with started({side: Group.of_one(folder / side.value) for side in Side}) as groups:
        yield groups


@pytest.fixture(scope="module")
def quorums(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Groups]:
    """Three servers a side; likewise."""
    folder = tmp_path_factory.mktemp("quorums")
    with started({side: Group.of_three(folder / side.value) for side in Side}) as groups:
        yield groups


def _name(case: Case) -> str:
    return case.name


async def _holds(case: Case, groups: Groups, folder: Path) -> None:
    if case.small_disk is not None and os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    # Each case its own, and the same one whichever cases run beside it.
    seed = zlib.crc32(f"{seeds.base()} {case.name}".encode())
    with report.noted(case, seed) as note:
        seen = await driver.run(case, groups, folder, seed)
        note(seen)
    assert not seen.problems, f"seed {seed}: " + "\n".join(seen.problems)
    assert seen.equal


# An engine that is killed by chance differs from one that dies at a chosen point in when it does.
_SHORT = [
    pytest.param(
        case, id=case.name, marks=[pytest.mark.long] if case.name == "engine killed" else []
    )
    for case in CASES
    if case.short
]


@pytest.mark.robustness
@pytest.mark.parametrize("case", _SHARED, ids=_name)
async def test_fault_has_its_outcome(case: Case, pair: Groups, tmp_path: Path) -> None:
    await _holds(case, pair, tmp_path)


@pytest.mark.robustness
@pytest.mark.parametrize("case", _OWN, ids=_name)
async def test_fault_of_its_own_servers_has_its_outcome(case: Case, tmp_path: Path) -> None:
    with started(driver.groups_of(case, tmp_path)) as groups:
        await _holds(case, groups, tmp_path)


@pytest.mark.robustness
@pytest.mark.parametrize("case", _QUORUM, ids=_name)
async def test_fault_of_a_quorum_has_its_outcome(
    case: Case, quorums: Groups, tmp_path: Path
) -> None:
    for group in quorums.values():
        group.start()
    await _holds(case, quorums, tmp_path)


@pytest.mark.parametrize("case", _SHORT)
async def test_fault_of_the_short_share_has_its_outcome(case: Case, tmp_path: Path) -> None:
    with started(driver.groups_of(replace(case, own_servers=True), tmp_path)) as groups:
        await _holds(case, groups, tmp_path)
