"""Copies of ephemerals while their subtree waits for an operator."""

from __future__ import annotations

import pytest

from sync_engine import consent
from sync_engine.direction import Side
from sync_engine.znode import WORLD_ALL
from tests.sync_engine.memory.stage import Stage
from tests.sync_engine.memory.tree import Create
from tests.sync_engine.memory.world import ROOTS, SUBTREE, World


@pytest.fixture
def stage(world: World) -> Stage:
    return Stage(world, ephemerals="own")


def join(stage: Stage, name: str) -> None:
    """Let a member of side a come."""
    create = Create(f"{ROOTS.a}/{name}", b"1", WORLD_ALL, ephemeral=True)
    assert stage.clients[Side.A].write(create) is not None


def test_nothing_is_written_to_a_target_that_may_be_the_wrong_one(stage: Stage) -> None:
    stage.make_root()
    foreign = [f"/only-b{number}" for number in range(30)]
    stage.make(Side.B, *foreign)
    join(stage, "member")
    stage.world.come_to_rest()
    assert "was never copied to" in stage.stalled
    assert stage.names(Side.B) == sorted(foreign)
    (shown,) = consent.waiting(stage.world.replicator)
    stage.engine.confirm(SUBTREE, shown.seen)
    stage.world.until(lambda: "/member" in stage.names(Side.B), "the member's copy", 10)


def test_members_that_come_while_it_waits_are_copied_after_the_word(stage: Stage) -> None:
    rels = [f"/n{number}" for number in range(40)]
    stage.make(Side.A, *rels)
    stage.world.come_to_rest()
    stage.drop(Side.A, *rels)
    stage.await_stall("znodes are gone")
    join(stage, "late")
    stage.world.pass_s(5)
    assert "/late" not in stage.names(Side.B)
    stage.engine.confirm(SUBTREE)
    stage.world.until(lambda: stage.names(Side.B) == ["/late"], "the member's copy", 10)
