"""A world with a client on each side, and what its tests ask of it."""

from __future__ import annotations

from typing import Any

from sync_engine.direction import Side
from sync_engine.engine import Engine
from sync_engine.wire import ANY_VERSION, Delete
from sync_engine.znode import WORLD_ALL
from tests.sync_engine.memory.ensemble import Client
from tests.sync_engine.memory.tree import Create
from tests.sync_engine.memory.world import ROOTS, World


class Stage:
    """A world, and a client on each side. `rule` is the subtree's, beside its paths."""

    def __init__(self, world: World, **rule: Any) -> None:
        self.world = world
        self.world.rule = rule
        self.clients = {side: Client(self.world.sides[side], f"client-{side}") for side in Side}

    def make(self, side: Side, *rels: str, data: bytes = b"x") -> None:
        """Create znodes."""
        for rel in rels:
            path = ROOTS.path(side, rel)
            assert self.clients[side].write(Create(path, data, WORLD_ALL)) is not None, path

    def make_root(self) -> None:
        """Let side b have the subtree's root before any engine comes."""
        for path in ("/other", ROOTS.b):
            self.clients[Side.B].write(Create(path, b"", WORLD_ALL))

    def drop(self, side: Side, *rels: str) -> None:
        """Delete znodes."""
        for rel in rels:
            delete = Delete(ROOTS.path(side, rel), ANY_VERSION)
            assert self.clients[side].write(delete) is not None, rel

    def names(self, side: Side) -> list[str]:
        """Relative paths of all that stands below the root."""
        nodes = self.world.sides[side].tree.nodes
        return sorted(rel for path in nodes if (rel := ROOTS.rel(side, path)))

    def contents(self, side: Side) -> dict[str, bytes | None]:
        """Data of all that stands below the root, by relative path."""
        nodes = self.world.sides[side].tree.nodes
        return {rel: node.data for path, node in nodes.items() if (rel := ROOTS.rel(side, path))}

    @property
    def engine(self) -> Engine:
        """The engine that runs."""
        assert self.world.engine is not None
        return self.world.engine

    def await_stall(self, reason: str) -> None:
        """Wait until the subtree waits for an operator, for that reason."""
        self.world.until(lambda: reason in self.stalled, f"a stall: {reason}")

    @property
    def stalled(self) -> str:
        """Why the subtree waits; empty if it does not."""
        return self.world.replicator.stalled or ""
