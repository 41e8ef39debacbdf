"""Ensembles that do not answer, or are one: what `migrate` says of them, and what it leaves."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from click.testing import CliRunner, Result

from stacks.automation import StackRunner
from stacks.migration import cli
from stacks.migration.bounds import Bounds
from stacks.migration.evidence import Findings
from stacks.migration.executor import Situation
from stacks.migration.guards import tables
from stacks.migration.guards.ensembles import ensembles_apart
from stacks.migration.phases import Direction, Step
from stacks.migration.service import MigrationService, StandIn
from stacks.migration.updates import Tell
from stacks.migration.work import RealWork
from stacks.topology import Color, Position, Standing
from tests.ports import free_port
from tests.stacks.migration.fake_world import FakeStack, FakeWork
from tests.stacks.migration.rig import GROUPS
from tests.sync_engine.servers import Server, start_all

IMPATIENT = Bounds(guard_s=0.0)
Invoke = Callable[..., Result]


@dataclass
class Stack(FakeStack):
    """One that says where its ensembles are."""

    hosts: dict[Color, str] = field(default_factory=dict[Color, str])

    def outputs(self) -> dict[str, str]:
        return {f"{color}_zookeeper": hosts for color, hosts in self.hosts.items()}


@dataclass
class PartlyReal:
    """Steps of some names at the stack's ensembles, all others on plain values."""

    stack: Stack
    folder: Path
    real: set[str]
    plain: FakeWork = field(init=False)

    def __post_init__(self) -> None:
        self.plain = FakeWork(self.stack)

    async def perform(self, step: Step, situation: Situation, tell: Tell) -> Findings:
        if step.name not in self.real:
            return await self.plain.perform(step, situation, tell)
        runner = cast("StackRunner", self.stack)
        return await RealWork(runner, self.folder, IMPATIENT).perform(step, situation, tell)


@pytest.fixture
def stack() -> Stack:
    return Stack(Standing(groups=GROUPS))


@pytest.fixture
def work(stack: Stack, tmp_path: Path) -> PartlyReal:
    return PartlyReal(stack, tmp_path, {"guards"})


@pytest.fixture
def migrate(work: PartlyReal, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    def service(door: cli.Door) -> MigrationService:
        listener = door.listener()
        stand_in = StandIn(work.stack, work)
        return MigrationService(work.folder, door.stack, stand_in=stand_in, listener=listener)

    monkeypatch.setattr(cli.Door, "service", service)
    return lambda *words: CliRunner().invoke(cli.main, list(words))


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Server, Server]]:
    """Two ensembles; the second one's transaction ids are above the first one's."""
    source = Server(tmp_path_factory.mktemp("source"))
    target = Server(tmp_path_factory.mktemp("target"), initial_epoch=100)
    with start_all(source, target):
        yield source, target


def test_a_source_that_nobody_reaches_is_a_guard_s_refusal(stack: Stack, migrate: Invoke) -> None:
    hosts = f"127.0.0.1:{free_port()}"
    stack.hosts = {Color.BLUE: hosts}

    for words in (("validate",), ("start", "--to", "1", "-y")):
        result = migrate(*words)

        assert result.exit_code == cli.GUARD
        assert f"expected one of the servers {hosts} to answer, saw none" in result.stderr
        assert "look at the servers and the network" in result.stderr
        assert "Traceback" not in result.output
    assert stack.updates == 0
    assert migrate("status").exit_code == 0


def test_a_source_that_goes_midway_ends_the_step_until_resume(
    stack: Stack, work: PartlyReal, migrate: Invoke, servers: tuple[Server, Server]
) -> None:
    hosts = f"127.0.0.1:{free_port()}"
    stack.hosts = {Color.BLUE: hosts}
    work.real = {"choose target epoch"}

    result = migrate("start", "--to", "1", "-y", "--json")

    assert result.exit_code == cli.FAILED
    assert f"expected one of the servers {hosts} to answer, saw none" in result.stderr
    assert "look at the servers and the network" in result.stderr
    assert "`migrate resume`" in result.stderr
    assert '"kind": "UnreachableError"' in result.stdout
    assert "Traceback" not in result.output
    assert stack.updates == 0
    stack.hosts = {Color.BLUE: servers[0].hosts}
    work.real = set()
    assert migrate("resume").exit_code == 0
    assert stack.standing.position == Position(1)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("127.0.0.1:{port}", "saw both colours name 127.0.0.1:{port}"),
        ("localhost:{port}", "127.0.0.1:{port} and localhost:{port} lead to one"),
    ],
)
def test_one_ensemble_for_both_colours_is_refused_whatever_its_name(  # noqa: PLR0917 - fixtures, and what is tried
    work: PartlyReal,
    migrate: Invoke,
    servers: tuple[Server, Server],
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    words: str,
) -> None:
    source, other = servers
    stack = work.stack
    stack.standing = stack.config = stack.standing.at(Position(1))
    work.plain.model["epoch"] = "chosen"
    # Of this edge's guards, the others ask an engine and masters.
    monkeypatch.setitem(tables.OPENING, (1, Direction.FORWARD), (ensembles_apart,))
    stack.hosts = {Color.BLUE: source.hosts, Color.GREEN: target.format(port=source.port)}

    result = migrate("start", "--to", "2", "-y")

    assert result.exit_code == cli.GUARD
    assert "expected two ensembles, saw" in result.stderr
    assert words.format(port=source.port) in result.stderr
    assert "mend the cause" in result.stderr
    assert "Traceback" not in result.output
    assert stack.updates == 0
    stack.hosts[Color.GREEN] = other.hosts
    assert migrate("resume").exit_code == 0
    assert stack.standing.position == Position(2)
