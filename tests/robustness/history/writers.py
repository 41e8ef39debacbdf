"""Clients that write on both sides at the same time, while things go wrong, and log what they are
told.

What they log is all that the checker gets: the acknowledgement of a write, never what a server or
the engine keeps.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

from sync_engine.direction import Side
from sync_engine.wire import ANY_VERSION, Delete, SetData
from sync_engine.znode import PERM_ALL, PERM_READ, WORLD_ALL, Acl
from tests.robustness.history import both_ways
from tests.robustness.history.acknowledged import History, Kind, Write
from tests.robustness.history.checker import Journal, problems
from tests.robustness.history.laws import broken
from tests.robustness.history.recorded import copied, nodes, unaided
from tests.sync_engine.memory.ensemble import Client
from tests.sync_engine.memory.faults import Fate
from tests.sync_engine.memory.tree import Create, Op, SetAcl
from tests.sync_engine.memory.world import ROOTS, SUBTREE, World

_ROOT_DATA = b""
_PAUSE_MAX_S = 0.02
_FOREIGN_PAUSE_MAX_S = 0.2
_TROUBLE_PAUSE_MAX_S = 0.05
_LAGS_S = (0.001, 0.05, 0.3)


@dataclass(frozen=True)
class Plan:
    """One run. `foreign`: writers on the side that does not own; `paths`: in each folder; `lives`:
    engines one after the other, all but the last killed; `overtakes`: whether a held-up engine
    wakes up under the last; `lag_s`: of one server a side; `both`: whether both sides' writes are
    copied, where the owner's version wins.
    """

    seed: int
    owners: int = 3
    foreign: int = 1
    writes: int = 25
    paths: int = 3
    lives: int = 2
    troubles: int = 6
    overtakes: bool = False
    lag_s: float = _LAGS_S[0]
    both: bool = False


@dataclass
class _Run:
    plan: Plan
    world: World
    history: History = field(default_factory=History)
    number: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.plan.seed)  # noqa: S311 - repeatable, not secret
        root = self.world.sides[Side.A].copy(ROOTS.a)
        assert root is not None
        self.history.writes.append(
            Write(0, Side.A, "", Kind.CREATE, root.stat.czxid, True, root.data, frozenset(root.acl))
        )

    async def write(self, side: Side, name: str, *, shared: bool) -> None:
        """One client, which writes paths that it shares with others or its own."""
        client = Client(self.world.sides[side], name)
        pause_s = _PAUSE_MAX_S if side is self.world.owner else _FOREIGN_PAUSE_MAX_S
        for _ in range(self.plan.writes):
            await asyncio.sleep(self.chance.uniform(0, pause_s))
            folder = "/shared" if shared else f"/{name}"
            number = self.chance.randrange(self.plan.paths)
            rels = [folder, f"{folder}/{number}", f"{folder}/{number}", f"{folder}/1/deep"]
            self._act(client, side, self.chance.choice(rels))

    def _act(self, client: Client, side: Side, rel: str) -> None:
        self.number += 1
        path, data = ROOTS.path(side, rel), str(self.number).encode()
        own = (*WORLD_ALL, Acl(PERM_READ, "digest", f"u{self.number}:h"))
        kind = self.chance.choice([Kind.SET, Kind.SET, Kind.SET, Kind.SET_ACL, Kind.DELETE])
        before = self.world.sides[side].copy(path)
        if before is None:
            kind = Kind.CREATE
        ops: dict[Kind, Op] = {
            Kind.CREATE: Create(path, data, self.chance.choice([WORLD_ALL, own])),
            Kind.SET: SetData(path, data, ANY_VERSION),
            Kind.SET_ACL: SetAcl(path, (*own, Acl(PERM_ALL, "digest", "app:h")), ANY_VERSION),
            Kind.DELETE: Delete(path, ANY_VERSION),
        }
        op = ops[kind]
        told = client.write(op)
        if told is None:
            return
        written = op.data if isinstance(op, Create | SetData) else None
        acl = frozenset(op.acl) if isinstance(op, Create | SetAcl) else frozenset[Acl]()
        owned = self.plan.both or side is self.world.owner
        took = None if before is None else before.stat.mzxid
        self.history.writes.append(
            Write(told.order, side, rel, kind, told.zxid, owned, written, acl, took=took)
        )

    async def trouble(self) -> None:
        """What goes wrong meanwhile."""
        for _ in range(self.plan.troubles):
            await asyncio.sleep(self.chance.uniform(0, _TROUBLE_PAUSE_MAX_S))
            ensemble = self.world.sides[self.chance.choice(list(Side))]
            match self.chance.choice(["cut", "lose", "lag", "expire"]):
                case "cut":
                    self.world.network.cut(self.world.who, self.chance.choice(ensemble.servers))
                case "lose":
                    fates = [Fate.LOST_BEFORE, Fate.LOST_AFTER, Fate.DELAYED]
                    ensemble.faults.arm(self.chance.choice(fates), skip=self.chance.randrange(3))
                case "lag":
                    self.chance.choice(ensemble.servers).lag_s = self.chance.choice(_LAGS_S)
                case _:
                    own = [s.id for s in ensemble.sessions.values() if s.who == self.world.who]
                    if own:
                        ensemble.expire(self.chance.choice(own))

    async def meanwhile(self) -> None:
        """All clients and all troubles of one engine's life, to their end."""
        owner = self.world.owner
        works = [self.write(owner, f"w{n}", shared=n == 0) for n in range(self.plan.owners)]
        works += [self.write(owner.other, f"f{n}", shared=True) for n in range(self.plan.foreign)]
        await asyncio.gather(*works, self.trouble())


def run(world: World, plan: Plan) -> list[str]:
    """Let clients and engines do their work; returns what does not hold once all is at rest."""
    going = _Run(plan, world)
    found: list[str] = []
    for ensemble in world.sides.values():
        ensemble.servers[0].lag_s = plan.lag_s
    world.rule = {"direction": "both"} if plan.both else {}
    world.start()
    world.until(lambda: world.is_idle, "a start")
    for life in range(plan.lives):
        if life:
            world.crash()
            world.start()
        is_last = life == plan.lives - 1
        if not is_last:
            world.crash_after = going.chance.randrange(200)
        if plan.overtakes and is_last:
            world.until(lambda: world.is_idle, "a start")
            found += _overtake(going)
        else:
            world.loop.run(going.meanwhile())
        world.pass_s(0)
    for ensemble in world.sides.values():
        for server in ensemble.servers:
            server.lag_s = _LAGS_S[0]
    world.come_to_rest()
    if not plan.both:
        found += unaided(world)
    world.settle()
    a, b = nodes(world)
    journal, history = Journal(world.conflicts(), ROOTS), going.history
    if plan.both:
        history.copied |= copied(world)
        found += both_ways.problems(history, a, b, journal, Side.A)
    else:
        found += problems(history, a, b, journal)
    logs = {side: ensemble.log for side, ensemble in world.sides.items()}
    return found + broken(SUBTREE, ROOTS, logs, world.selections, both=plan.both)


def _overtake(going: _Run) -> list[str]:
    """Clients write while one engine is held up, another begins, and the first wakes up."""
    world = going.world
    clients = world.loop.create_task(going.meanwhile())
    world.pass_s(going.chance.uniform(0.02, 0.1))
    has_ended = world.overtake(going.chance.uniform(0, 0.2))
    world.until(clients.done, "the end of all writes")
    clients.result()
    return [] if has_ended else ["an engine that was taken over goes on"]
