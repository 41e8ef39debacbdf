"""Every order of clients' writes and faults, as a state machine: hypothesis picks the steps.

Clients write on both sides, though only one side owns; connections break before and after a write
was applied; servers lag, stop and start; sessions expire; engines stop, are killed at any of their
effects, and begin again with or without their base, under rules that take in the same paths or
others. After each run everything goes well until both sides have come to rest, and then the whole
history must fit together; of paths that not every engine took in, only that no other wrote them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from enum import StrEnum
from itertools import zip_longest
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from sync_engine.direction import Side
from sync_engine.wire import ANY_VERSION, Delete, OpCode, SetData
from sync_engine.znode import PERM_ALL, PERM_READ, WORLD_ALL, Acl, join, parent
from tests.robustness.history.recorded import complaints, unaided
from tests.sync_engine.memory.ensemble import Client
from tests.sync_engine.memory.faults import WRITES, Fate
from tests.sync_engine.memory.tree import Create, SetAcl
from tests.sync_engine.memory.world import ROOTS, World

APP = ("digest", "app:hash")
_MEMORY = Path("/dev/shm")  # noqa: S108 - the folder inside has a name of its own
_RELS = ("/x", "/y", "/x/1", "/x/2", "/x/1/deep", "")
_READS = frozenset({OpCode.MULTI_READ, OpCode.GET_ACL, OpCode.GET_CHILDREN2, OpCode.SYNC})


class Does(StrEnum):
    """What a client does to a path."""

    CREATE = "create"
    CREATE_RESTRICTED = "create-restricted"
    SEQUENTIAL = "sequential"
    EPHEMERAL = "ephemeral"
    SET = "set"
    SET_ACL = "set-acl"
    DELETE = "delete"
    CREATE_AGAIN = "create-again"


class Trouble(StrEnum):
    """What goes wrong between the engine and one side."""

    CUT = "cut"
    EXPIRE = "expire"
    LAG = "lag"
    STOP_SERVER = "stop-server"
    START_SERVERS = "start-servers"
    READ_LOST = "read-lost"
    READ_DELAYED = "read-delayed"
    WRITE_LOST = "write-lost"
    ANSWER_LOST = "answer-lost"
    WRITE_DELAYED = "write-delayed"


_LOSSES = {
    Trouble.READ_LOST: (Fate.LOST_BEFORE, _READS),
    Trouble.READ_DELAYED: (Fate.DELAYED, _READS),
    Trouble.WRITE_LOST: (Fate.LOST_BEFORE, WRITES),
    Trouble.ANSWER_LOST: (Fate.LOST_AFTER, WRITES),
    Trouble.WRITE_DELAYED: (Fate.DELAYED, WRITES),
}
# What an engine takes for its own: everything more often than a part, each in a way of its own.
_SELECTIONS: tuple[dict[str, list[str]], ...] = (
    {},
    {},
    {},
    {"exclude": ["/x/1"]},
    {"exclude": ["/**/deep", "/*/n-*"]},
    {"include": ["/x/*"]},
    {"include": ["/x"], "exclude": ["/x/2"]},
)
selections = st.sampled_from(_SELECTIONS)
Steps = list[tuple[Does, str, int]]
sides = st.sampled_from(Side)
rels = st.sampled_from(_RELS)
# The first three come more often.
does = st.sampled_from([Does.CREATE, Does.SET, Does.DELETE, *Does])
steps = st.lists(st.tuples(does, rels, st.sampled_from([0, 0, 1, 4])), min_size=1, max_size=6)
troubles = st.sampled_from(Trouble)


class EngineMachine(RuleBasedStateMachine):
    """Two ensembles, their clients, and an engine."""

    def __init__(self) -> None:
        super().__init__()
        # Thousands of engines open a base each; on a disk they would mostly wait for it.
        self._folder = tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None)
        self._number = 0

    @initialize(
        seed=st.integers(0, 2**32),
        is_live=st.sampled_from([True, True, True, False]),
        selection=selections,
    )
    def begin(self, seed: int, is_live: bool, selection: dict[str, list[str]]) -> None:
        self.world = World(seed, Path(self._folder.name), delete_count_free=3)
        self.world.rule = selection
        self.clients = {
            side: Client(ensemble, f"client-{side}", [APP])
            for side, ensemble in self.world.sides.items()
        }
        for rel in ("/x", "/y", "/x/1"):
            path = ROOTS.path(Side.A, rel)
            self.clients[Side.A].write(Create(path, self._value(), WORLD_ALL))
        self.world.start()
        if is_live:
            self.world.until(lambda: self.world.is_idle, "a start")

    # Clients

    def _value(self) -> bytes:
        self._number += 1
        return str(self._number).encode()

    def _acl(self) -> tuple[Acl, ...]:
        self._number += 1
        own = Acl(PERM_READ, "digest", f"u{self._number}:h")
        return (Acl(PERM_ALL, *APP), Acl(PERM_READ, "world", "anyone"), own)

    @rule(steps=steps)
    def owner_writes(self, steps: Steps) -> None:
        self._write_all(self.world.owner, steps)

    @rule(steps=steps)
    def other_side_is_written(self, steps: Steps) -> None:
        self._write_all(self.world.owner.other, steps)

    @rule(steps=steps, side=sides, trouble=troubles, number=st.integers(0, 3))
    def owner_writes_in_trouble(
        self, steps: Steps, side: Side, trouble: Trouble, number: int
    ) -> None:
        self._make(trouble, side, number)
        self._write_all(self.world.owner, steps)

    @rule(mine=steps, theirs=steps)
    def both_sides_are_written(self, mine: Steps, theirs: Steps) -> None:
        for one, two in zip_longest(mine, theirs):
            self._write_all(self.world.owner, [one] if one else [])
            self._write_all(self.world.owner.other, [two] if two else [])

    def _write_all(self, side: Side, steps: Steps) -> None:
        for does, rel, pause_ms in steps:
            self._write(side, does, rel)
            if pause_ms:
                self.world.pass_s(pause_ms / 1000)

    def _write(self, side: Side, does: Does, rel: str) -> None:
        path, client = ROOTS.path(side, rel), self.clients[side]
        match does:
            case Does.CREATE | Does.EPHEMERAL:
                above = ROOTS.path(side, parent(rel).rstrip("/"))
                if self.world.sides[side].copy(above) is None:
                    client.write(Create(above, self._value(), WORLD_ALL))
                is_ephemeral = does is Does.EPHEMERAL
                client.write(Create(path, self._value(), WORLD_ALL, ephemeral=is_ephemeral))
            case Does.CREATE_RESTRICTED:
                client.write(Create(path, self._value(), self._acl()))
            case Does.SEQUENTIAL:
                client.write(Create(f"{path}/n-", self._value(), WORLD_ALL, sequential=True))
            case Does.SET:
                client.write(SetData(path, self._value(), ANY_VERSION))
            case Does.SET_ACL:
                client.write(SetAcl(path, self._acl(), ANY_VERSION))
            case Does.DELETE if rel:
                for name in list(self._children(side, path)):
                    client.write(Delete(join(path, name), ANY_VERSION))
                client.write(Delete(path, ANY_VERSION))
            case Does.CREATE_AGAIN if rel:
                client.write(Delete(path, ANY_VERSION), Create(path, self._value(), WORLD_ALL))
            case _:
                pass

    def _children(self, side: Side, path: str) -> Iterable[str]:
        node = self.world.sides[side].tree.nodes.get(path)
        return () if node is None else node.children

    @rule(side=sides)
    def leave(self, side: Side) -> None:
        self.clients[side].leave()

    # Time and faults

    @rule(ms=st.sampled_from([0, 1, 3, 10, 100, 1500]))
    def wait(self, ms: int) -> None:
        self.world.pass_s(ms / 1000)

    @rule(side=sides, trouble=troubles, number=st.integers(0, 3))
    def make_trouble(self, side: Side, trouble: Trouble, number: int) -> None:
        self._make(trouble, side, number)

    def _make(self, trouble: Trouble, side: Side, number: int) -> None:
        ensemble, who = self.world.sides[side], self.world.who
        server = ensemble.servers[number % ensemble.size]
        match trouble:
            case Trouble.CUT:
                self.world.network.cut(who, server)
            case Trouble.EXPIRE:
                own = [s.id for s in ensemble.sessions.values() if s.who == who]
                if number < len(own):
                    ensemble.expire(own[number])
            case Trouble.LAG:
                server.lag_s = (0.001, 0.02, 0.2, 0.5)[number]
            case Trouble.STOP_SERVER:
                server.stop()
            case Trouble.START_SERVERS:
                self._start_servers(side)
            case _:
                fate, codes = _LOSSES[trouble]
                ensemble.faults.arm(fate, codes=codes, skip=number)

    def _start_servers(self, side: Side) -> None:
        if not all(server.is_up for server in self.world.sides[side].servers):
            self.world.sides[side].start()

    # The engine's life

    @precondition(lambda self: self.world.engine is not None)
    @rule()
    def crash(self) -> None:
        self.world.crash()

    @precondition(lambda self: self.world.engine is not None)
    @rule(effects=st.integers(0, 12))
    def crash_later(self, effects: int) -> None:
        self.world.crash_after = effects

    @precondition(lambda self: self.world.engine is not None)
    @rule()
    def stop(self) -> None:
        self.world.stop()

    @precondition(lambda self: self.world.engine is None)
    @rule(
        forget_base=st.sampled_from([False, False, False, True]),
        selection=st.none() | st.none() | selections,
    )
    def start(self, forget_base: bool, selection: dict[str, list[str]] | None) -> None:
        """A base is not lost under a fence: originals of ACLs may stand nowhere else.

        The rules may take in other paths than those of the engine before.
        """
        if selection is not None:
            self.world.rule = selection
        self.world.start(forget_base=forget_base and not self.world.is_fenced)

    @precondition(lambda self: self.world.engine is not None)
    @rule(pause_ms=st.sampled_from([0, 50, 1000]))
    def overtake(self, pause_ms: int) -> None:
        """Of two that begin at the same time the last one wins, so the first must have begun."""
        if self._is_all_up() and self.world.is_idle:
            self.world.overtake(pause_ms / 1000)

    @precondition(lambda self: self.world.engine is not None)
    @rule(to=sides, effects=st.none() | st.integers(0, 120))
    def flip(self, to: Side, effects: int | None) -> None:
        """Its writers stand still; the engine may die of it at any point."""
        if not self._is_all_up():
            return
        # It dies of the flip or not at all.
        self.world.crash_after = None
        self.world.until(lambda: self.world.is_idle, "quiet")
        for side, ensemble in self.world.sides.items():
            self.clients[side].leave()
            if side is to:
                ensemble.raise_epoch(self.world.sides[side.other].zxid)
        self.world.crash_after = effects
        self.world.flip(to)
        self.world.crash_after = None

    def _is_all_up(self) -> bool:
        return all(s.is_up for e in self.world.sides.values() for s in e.servers)

    @precondition(lambda self: self.world.engine is not None)
    @rule()
    def come_to_rest(self) -> None:
        self.settle()

    def settle(self) -> None:
        """Let both sides come to rest, and look at everything that was written so far."""
        for side, ensemble in self.world.sides.items():
            self.clients[side].leave()
            for server in ensemble.servers:
                server.lag_s = 0.001
            self._start_servers(side)
        self.world.come_to_rest()
        found = unaided(self.world)
        assert not found, "\n".join(found)
        self.world.settle()
        found = complaints(self.world)
        assert not found, "\n".join(found)

    def teardown(self) -> None:
        try:
            if hasattr(self, "world"):
                self.settle()
        finally:
            if hasattr(self, "world"):
                self.world.close()
            self._folder.cleanup()
