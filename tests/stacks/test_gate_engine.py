"""The gate with the real engine: previews and updates refuse alike, and nothing changes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pulumi_kubernetes import core, meta

from components.workload import Program
from stacks.automation import StackRunner
from stacks.errors import ConfigError, GateRefusedError, ResourceFailedError
from stacks.gate import GateProvider, Sizes, standing_properties
from stacks.program import Programs, declare
from stacks.steps import Op
from stacks.topology import Color, Placement, Position, Standing
from tests.providers.kubernetes import REMEMBERS
from tests.stacks.conftest import walk

SOURCE = {"traffic": Placement.SOURCE}
TARGET = {"traffic": Placement.TARGET}


def at(text: str, groups: dict[str, Placement] | None = None) -> Standing:
    return Standing(position=Position.parse(text), groups=SOURCE if groups is None else groups)


def test_a_jump_is_refused_by_preview_and_update_with_nothing_changed(begun: StackRunner) -> None:
    before = begun.state_digest()
    begun.set_migration(at("3"))

    with pytest.raises(GateRefusedError, match="position 3 is not next to 0"):
        begun.preview()
    with pytest.raises(GateRefusedError, match="position 3 is not next to 0"):
        begun.up()

    assert begun.state_digest() == before


@pytest.mark.long
def test_the_command_line_refuses_a_jump_too(begun: StackRunner, project: Path) -> None:
    before = begun.state_digest()
    begun.set_migration(at("3"))

    for command in (["preview"], ["up", "--yes", "--skip-preview"]):
        result = subprocess.run(
            [f"{sys.prefix}/bin/pulumi", *command, "--stack", "dev", "--non-interactive"],
            cwd=project,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode != 0
        assert "position 3 is not next to 0" in result.stdout + result.stderr
        assert "Traceback" not in result.stdout + result.stderr

    assert begun.state_digest() == before


def test_a_new_stack_begins_at_phase_0(dev: StackRunner) -> None:
    dev.set_migration(at("1"))

    with pytest.raises(GateRefusedError, match="begins at phase 0"):
        dev.up()

    assert dev.actual() is None


@pytest.mark.long
def test_a_removal_needs_a_permit_that_is_for_it_and_unused(begun: StackRunner) -> None:
    walk(begun, at("1"), at("2"), at("2/prepared"), at("2/moved"))
    before = begun.state_digest()
    nonce = "a" * 64

    for permit, seen in (
        (None, "saw no permit"),
        ("2/moved>3:short", "saw a permit of another form"),
        (f"4/prepared>5:9999999999:{nonce}", "saw a permit for 4/prepared>5"),
        (f"2/moved>3:1000000000:{nonce}", "saw a permit that has run out"),
    ):
        begun.set_migration(at("3"), permit=permit)
        with pytest.raises(GateRefusedError, match=seen):
            begun.preview()
        with pytest.raises(GateRefusedError, match=seen):
            begun.up()
    assert begun.state_digest() == before

    begun.set_migration(at("3"), permit=f"2/moved>3:9999999999:{nonce}")
    begun.up()
    assert begun.actual() == at("3")

    walk(begun, at("2/moved"))
    begun.set_migration(at("3"), permit=f"2/moved>3:9999999999:{nonce}")
    with pytest.raises(GateRefusedError, match="saw a permit that has been used"):
        begun.up()


@pytest.mark.long
def test_the_whole_way_and_the_exchange_of_colours(begun: StackRunner) -> None:
    walk(
        begun,
        at("1"),
        at("2"),
        at("2/prepared"),
        at("2/moved"),
        at("3"),
        at("3", {"traffic": Placement.STOPPED}),
        at("3", TARGET),
        at("4", TARGET),
        at("4/prepared", TARGET),
        at("5", TARGET),
        at("5/prepared", TARGET),
        at("6", TARGET),
    )
    begun.set_migration(Standing(Color.GREEN, Color.BLUE, Position(0), SOURCE))

    changes = begun.preview().changes

    assert {step.name for step in changes} == {"gate"}
    begun.up()
    assert begun.actual() == Standing(Color.GREEN, Color.BLUE, Position(0), SOURCE)


def test_standing_still_changes_nothing(begun: StackRunner) -> None:
    assert begun.preview().changes == ()


@pytest.mark.long
def test_a_move_back_mirrors_the_way(begun: StackRunner) -> None:
    walk(begun, at("1"), at("0/prepared"))
    begun.set_migration(at("0"), permit=f"0/prepared>0:9999999999:{'b' * 64}")

    steps = begun.preview().changes

    assert {(step.op, step.part) for step in steps if step.name != "gate"} == {
        (Op.DELETE, "zookeeper"),
        (Op.DELETE, "engine"),
    }


@pytest.mark.long
def test_sizes_that_an_update_cannot_change_are_kept(begun: StackRunner) -> None:
    text = begun.config_file.read_text()

    for sizes, told in (
        ("masters: {replicas: 1}", "masters cannot become 1"),
        ("masters: {replicas: 5}", "with the quorum of 5"),
        ("zookeeper: {replicas: 5}", "an ensemble of 3 servers cannot become one of 5"),
        ("zookeeper: {replicas: 1}", "a single server has no majority"),
    ):
        changed = f"config:\n  mesos-platform:cluster: {{{sizes}}}\n"
        begun.config_file.write_text(text.replace("config:\n", changed))
        with pytest.raises(GateRefusedError, match=told):
            begun.preview()

    # On a cluster this is how many nodes are expected: nothing of an agent may change for that.
    changed = "config:\n  mesos-platform:cluster: {agents: {count: 1}}\n"
    begun.config_file.write_text(text.replace("config:\n", changed))
    assert {step.op for step in begun.preview().changes} == set()


def test_agents_of_one_machine_are_not_taken_away_by_an_update() -> None:
    sizes = Sizes(zookeeper=3, voters=0, masters=3, quorum=2, agents=2)
    olds = {**standing_properties(at("0")), **sizes._asdict()}
    news = {**olds, "agents": 1}

    (refused,) = GateProvider().check(olds, news).failures

    assert "2 agents cannot become 1" in refused.reason
    assert GateProvider().check(olds, {**olds, "agents": 3}).failures == []
    # Where nodes have them nobody counts them, in a state of before either.
    assert GateProvider().check(olds, {**olds, "agents": 0}).failures == []


@pytest.mark.long
def test_an_ensemble_grows_and_shrinks_by_the_votes_of_its_servers(begun: StackRunner) -> None:
    text = begun.config_file.read_text()

    for sizes in ("replicas: 5, voters: 3", "replicas: 5, voters: 5", "replicas: 5, voters: 3"):
        changed = f"config:\n  mesos-platform:cluster: {{zookeeper: {{{sizes}}}}}\n"
        begun.config_file.write_text(text.replace("config:\n", changed))
        begun.up()
    shrunk = "config:\n  mesos-platform:cluster: {zookeeper: {replicas: 3, voters: 3}}\n"
    begun.config_file.write_text(text.replace("config:\n", shrunk))
    begun.up()
    begun.config_file.write_text(text)

    # It is as before, and nobody looks after its votes any more.
    changes = begun.preview().changes
    assert {step.op for step in changes if "caretaker" in step.name} == {Op.DELETE}
    assert "blue-zookeeper" not in {step.name for step in changes if step.op is Op.CREATE}


def test_what_no_component_can_be_is_said_without_a_traceback(dev: StackRunner) -> None:
    program = Program(("python", "-m", "some.module"))
    programs = Programs(*(program for _ in range(8)))
    runner = StackRunner("dev", dev.project_dir, program=lambda: declare(dev.project_dir, programs))

    with pytest.raises(ConfigError) as refused:
        runner.preview()

    assert "expected an image to run on Kubernetes" in str(refused.value)
    assert "Traceback" not in str(refused.value)


@pytest.mark.long
def test_what_is_removed_was_unprotected_one_update_before(begun: StackRunner) -> None:
    walk(begun, at("1"))

    steps = {step.name: step for step in begun.preview().steps}

    assert steps["green-zookeeper"].protect
    walk(begun, at("0/prepared"))
    steps = {step.name: step for step in begun.preview().steps}
    assert not steps["green-zookeeper"].protect
    assert not steps["sync-engine"].protect
    assert steps["blue-zookeeper"].protect


@pytest.mark.long
def test_without_the_real_plugin_nothing_is_claimed_to_be_created(
    dev: StackRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(REMEMBERS)

    assert len(dev.preview().changes) > 20
    with pytest.raises(ResourceFailedError) as refused:
        dev.up()

    assert "own Kubernetes plugin to create" in str(refused.value)
    assert "Traceback" not in str(refused.value)
    assert "File" not in str(refused.value)


def test_a_refused_resource_is_named(dev: StackRunner) -> None:
    def declare_nameless() -> None:
        core.v1.ConfigMap("nameless", metadata=meta.v1.ObjectMetaArgs(namespace="any"))

    runner = StackRunner("dev", dev.project_dir, program=declare_nameless)

    with pytest.raises(ResourceFailedError, match="nameless"):
        runner.preview()
