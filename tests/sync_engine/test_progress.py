"""What a terminal shows of long work: a bar where a total is known, a spinner else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sync_engine import offline
from sync_engine.console import progress
from sync_engine.direction import Side
from sync_engine.preflight import address
from sync_engine.progress import SILENT, Progress
from sync_engine.restore import restore
from sync_engine.settings import parse_rules
from sync_engine.tree import export
from sync_engine.znode import WORLD_ALL
from tests.sync_engine.rig import until_equal
from tests.sync_engine.servers import Server
from tests.sync_engine.test_cli import call
from tests.sync_engine.test_two_way import rig_of

Pair = tuple[Server, Server]
BAR, SOME = "━", 250
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Passes(Progress):
    """What was expected of each pass, and what came."""

    def __init__(self) -> None:
        self.made: list[tuple[str, int, int]] = []

    def expect(self, total: int, what: str = "") -> None:
        self.made.append((what, total, 0))

    def advance(self, count: int) -> None:
        what, total, done = self.made[-1]
        self.made[-1] = (what, total, done + count)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is captured count as a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    # Nothing is drawn on a dumb one, as a build may have.
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")


def last_line(shown: str) -> str:
    """What was drawn last, without colours."""
    lines = [line.strip() for line in re.split(r"[\r\n]", _CONTROL.sub("", shown))]
    return [line for line in lines if line][-1]


@pytest.mark.usefixtures("terminal")
def test_a_known_total_is_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("importing") as shown:
        shown.expect(4000, "writing")
        shown.advance(500)
        shown.advance(500)

    line = last_line(capsys.readouterr().err)
    assert "importing: writing" in line
    assert "1,000 of 4,000 znodes" in line
    assert BAR in line


@pytest.mark.usefixtures("terminal")
def test_an_unknown_total_is_a_spinner_with_a_count(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("comparing") as shown:
        shown.expect(10, "small")
        shown.advance(10)
        shown.expect(0, "new")
        shown.advance(7)

    line = last_line(capsys.readouterr().err)
    assert "comparing: new" in line
    assert "7 znodes" in line
    assert BAR not in line


@pytest.mark.usefixtures("terminal")
def test_more_than_was_expected_is_told_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("comparing") as shown:
        shown.expect(10)
        shown.advance(12)

    assert "12 of 12 znodes" in last_line(capsys.readouterr().err)


def test_nothing_is_drawn_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("comparing") as shown:
        assert shown is SILENT
        shown.expect(10)
        shown.advance(12)

    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("terminal")
async def test_long_verbs_know_how_much_there_is(pair: Pair, tmp_path: Path) -> None:
    rig = rig_of(pair, tmp_path, {})
    name, file = rig.name, tmp_path / "backup"
    async with rig.lanes() as (a, b):
        for number in range(SOME):
            await a.create(f"{rig.a}/{number}", b"", WORLD_ALL)
        rules = parse_rules(rig.document, "rules")
        first = Passes()
        await offline.plan(rules, limit=1, progress=first)
        # Nobody has counted them yet, and both sides are read.
        assert [(what, total) for what, total, _ in first.made] == [(name, 0)]
        assert first.made[0][2] >= SOME
        async with rig.process() as (_, client):
            await until_equal(rig, a, b)
            said = (await call(rig, "audit")).stderr
            assert (await client.status()).subtrees[name].znodes == SOME + 1
        assert f" of {2 * (SOME + 1):,} znodes" in last_line(said)
        later = Passes()
        await offline.plan(rules, limit=1, progress=later)
        await offline.diff(rules, [], limit=1, progress=later)
        # A plan reads the owner's side, as all else is in the base.
        whole = SOME + 1
        assert later.made == [(name, whole, whole), (name, 2 * whole, 2 * whole)]
        await export(address(rules, Side.A), [rig.a], file)
        imported = Passes()
        await restore(address(rules, Side.A), file, progress=imported)
        assert imported.made == [
            ("looking what is there", whole, whole),
            ("writing", whole, whole),
        ]
