"""Trees of odd shapes and names: the real engine between ensembles in memory, and real ones."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sync_engine import wire
from sync_engine.direction import Side
from sync_engine.wire import ANY_VERSION, Delete
from sync_engine.znode import WORLD_ALL
from tests.sync_engine.memory.ensemble import Client
from tests.sync_engine.memory.tree import Create
from tests.sync_engine.memory.world import ROOTS, World
from tests.sync_engine.rig import Rig, is_live, read, tree, until_equal
from tests.sync_engine.servers import Server
from tests.waiting import BOUND_S, until

_MULTI, _LONG_BOUND_S = 500, 90.0
_NAMES = (
    "grün",
    "日本",
    "ключ",
    "مرحبا",
    "\uf900",
    "e\u0301",
    "é",
    " ",
    "a b",
    "*",
    "?",
    "%2F",
    "..a",
)


def _contents(world: World, side: Side) -> dict[str, bytes | None]:
    nodes = world.sides[side].tree.nodes
    return {rel: node.data for path, node in nodes.items() if (rel := ROOTS.rel(side, path))}


def _make(client: Client, rels: dict[str, bytes | None]) -> None:
    for rel, data in rels.items():
        assert client.write(Create(ROOTS.path(Side.A, rel), data, WORLD_ALL)) is not None, rel


def test_a_hundred_levels_come_and_go(world: World) -> None:
    client = Client(world.sides[Side.A], "client")
    rels = ["".join(f"/{level}" for level in range(depth)) for depth in range(1, 101)]
    _make(client, dict.fromkeys(rels, b"x"))
    world.come_to_rest()
    assert _contents(world, Side.B) == _contents(world, Side.A)
    for rel in reversed(rels):
        client.write(Delete(ROOTS.path(Side.A, rel), ANY_VERSION))
    world.until(lambda: world.replicator.stalled is not None, "a question to the operator")
    world.settle()
    assert _contents(world, Side.B) == {}


@pytest.mark.long
def test_twenty_thousand_children_arrive(world: World) -> None:
    client = Client(world.sides[Side.A], "client")
    _make(client, {f"/{number:05}-{'x' * 50}": b"" for number in range(20_000)})
    world.come_to_rest()
    assert _contents(world, Side.B) == _contents(world, Side.A)


def test_names_in_any_script_arrive_and_null_stays_apart_from_empty(world: World) -> None:
    client = Client(world.sides[Side.A], "client")
    rels: dict[str, bytes | None] = {f"/{name}": name.encode() for name in _NAMES}
    _make(client, {**rels, "/null": None, "/empty": b""})
    world.start()
    world.come_to_rest()
    _make(client, {f"{rel}/live": None for rel in rels})
    world.come_to_rest()
    found = _contents(world, Side.B)
    assert found == _contents(world, Side.A)
    assert (found["/null"], found["/empty"]) == (None, b"")
    assert len(found) == 2 * len(_NAMES) + 2


async def test_real_servers_get_trees_of_every_shape_as_a_first_copy_and_live(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    def shapes(under: str) -> list[str]:
        levels = ["".join(f"/{level}" for level in range(depth)) for depth in range(1, 31)]
        names = [f"/{name}" for name in _NAMES]
        children = [f"/0/{number:05}" for number in range(200)]
        return [f"{under}{rel}" for rel in ("", *levels, *names, *children)]

    rig = Rig(pair, tmp_path)
    async with rig.lanes() as (a, b):

        async def make(under: str) -> None:
            creates = (a.create(f"{rig.a}{rel}", rel.encode(), WORLD_ALL) for rel in shapes(under))
            await asyncio.gather(*creates)

        await make("/copied")
        async with rig.engine() as engine:
            await until_equal(rig, a, b, BOUND_S)
            await make("/live")
            await until_equal(rig, a, b, BOUND_S)
            assert (await engine.audit(30)).equal
        found = await tree(b, rig.b)
        assert set(found) == {"", *shapes("/copied"), *shapes("/live")}
        assert found["/live/日本"][0] == "/live/日本".encode()


@pytest.mark.long
async def test_real_servers_get_twenty_thousand_children_and_a_hundred_levels(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    children = [f"/wide/{number:05}-{'x' * 50}" for number in range(20_000)]
    levels = ["".join(f"/{level}" for level in range(depth)) for depth in range(1, 101)]
    rig = Rig(pair, tmp_path)
    async with rig.lanes() as (a, b):

        async def make(rels: list[str]) -> None:
            for start in range(0, len(rels), _MULTI):
                some = rels[start : start + _MULTI]
                await a.multi([wire.Create(f"{rig.a}{r}", r.encode(), WORLD_ALL) for r in some])

        async def arrived(rels: list[str]) -> bool:
            return await read(b, f"{rig.b}{rels[-1]}") is not None

        # Half of each is copied, half of it comes while the engine runs.
        await make(["/wide", *children[:10_000], *levels[:50]])
        async with rig.engine(live=False) as engine:
            await until(lambda: is_live(engine), "the first copy", _LONG_BOUND_S)
            await make([*children[10_000:], *levels[50:]])
            await until(lambda: arrived(levels), "the last level", _LONG_BOUND_S)
            audit = await engine.audit(_LONG_BOUND_S)
            assert audit.equal
            assert audit.subtrees[rig.name].znodes == 2 + len(children) + len(levels)
        found = await tree(b, rig.b)
        assert {rel for rel, (data, _) in found.items() if data != rel.encode()} == {""}
        assert set(found) == {"", "/wide", *children, *levels}
        assert (await b.children(f"{rig.b}/wide"))[1].num_children == len(children)
