"""What waits for an operator's word: the real engine between ensembles in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_engine.direction import Side
from sync_engine.wire import ANY_VERSION, Delete
from sync_engine.znode import WORLD_ALL
from tests.sync_engine.memory.ensemble import Client
from tests.sync_engine.memory.tree import Create
from tests.sync_engine.memory.world import ROOTS, World


class Stage:
    """A world, and a client on each side."""

    def __init__(self, folder: Path) -> None:
        self.world = World(1, folder)
        self.clients = {side: Client(self.world.sides[side], f"client-{side}") for side in Side}

    def make(self, side: Side, *rels: str, data: bytes = b"x") -> None:
        for rel in rels:
            path = ROOTS.path(side, rel)
            assert self.clients[side].write(Create(path, data, WORLD_ALL)) is not None, path

    def drop(self, side: Side, *rels: str) -> None:
        for rel in rels:
            delete = Delete(ROOTS.path(side, rel), ANY_VERSION)
            assert self.clients[side].write(delete) is not None, rel

    def names(self, side: Side) -> list[str]:
        """Relative paths of all that stands below the root."""
        nodes = self.world.sides[side].tree.nodes
        return sorted(rel for path in nodes if (rel := ROOTS.rel(side, path)))

    @property
    def stalled(self) -> str:
        """Why the subtree waits; empty if it does not."""
        return self.world.replicator.stalled or ""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    try:
        yield made
    finally:
        made.world.close()


def test_tree_that_is_deleted_slowly_waits_with_half_of_it_left(stage: Stage) -> None:
    rels = [f"/n{number}" for number in range(200)]
    stage.make(Side.A, *rels)
    stage.world.come_to_rest()
    for number in range(0, 200, 5):
        stage.drop(Side.A, *rels[number : number + 5])
        stage.world.pass_s(0.5)
    assert "of 201 znodes are gone on side a" in stage.stalled
    assert len(stage.names(Side.B)) == 100


def test_queue_that_comes_and_goes_needs_no_word(stage: Stage) -> None:
    stage.make(Side.A, *(f"/n{number}" for number in range(30)))
    stage.world.come_to_rest()
    for begun in range(0, 400, 40):
        jobs = [f"/job{number}" for number in range(begun, begun + 40)]
        stage.make(Side.A, *jobs)
        stage.world.pass_s(2)
        stage.drop(Side.A, *jobs)
        stage.world.pass_s(2)
    assert stage.stalled == ""
    assert stage.names(Side.B) == stage.names(Side.A)
