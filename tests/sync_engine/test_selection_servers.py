"""Subtrees of which the rules take in a part, on real servers and through `zk-sync`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from sync_engine import offline
from sync_engine.cli import main
from sync_engine.lane import Lane
from sync_engine.settings import parse_rules
from sync_engine.tree import stored
from sync_engine.znode import PERM_ALL, WORLD_ALL, Acl
from tests.sync_engine.rig import tree, worker
from tests.sync_engine.servers import Server, start_all
from tests.sync_engine.test_two_way import rig_of
from tests.waiting import until

Pair = tuple[Server, Server]
_NOBODY = (Acl(PERM_ALL, "digest", "nobody:hash="),)


async def _make(lane: Lane, root: str, *rels: str) -> None:
    for rel in rels:
        await lane.create(f"{root}{rel}", b"x", WORLD_ALL)


async def _until_names(lane: Lane, root: str, *rels: str) -> None:
    async def are_there() -> bool:
        return sorted(await tree(lane, root)) == sorted(["", *rels])

    await until(are_there, f"exactly {rels}")


@pytest.fixture
def fresh_pair(tmp_path: Path) -> Iterator[Pair]:
    """Servers of one test: a stranger cannot use what an engine with credentials left on others."""
    pair = Server(tmp_path / "side-a"), Server(tmp_path / "side-b")
    with start_all(*pair):
        yield pair


async def test_what_is_left_out_is_neither_copied_nor_read(
    fresh_pair: Pair, tmp_path: Path
) -> None:
    rig = rig_of(fresh_pair, tmp_path, {"exclude": ["/locked", "/**/cache"]})
    for side in ("a", "b"):
        # A stranger, from whom the ACL hides what is left out.
        del rig.document["sides"][side]["auth"]
    async with rig.lanes() as (a, b):
        await a.create(f"{rig.a}/locked", b"", _NOBODY)
        await _make(a, rig.a, "/open", "/open/cache", "/open/x")
        async with rig.engine() as engine:
            await _until_names(b, rig.b, "/open", "/open/x")
            assert (await engine.audit(30)).equal
            assert not worker(engine, rig).subtree.counters.unreadable
            # A deleted tree goes but for what holds something that is left out.
            await _make(b, rig.b, "/open/cache", "/open/cache/entry")
            for rel in ("/open/cache", "/open/x", "/open"):
                await a.delete(f"{rig.a}{rel}", -1)
            await _until_names(b, rig.b, "/open", "/open/cache", "/open/cache/entry")
            await until(lambda: worker(engine, rig).subtree.base.kept == {"/open"}, "kept")
            assert (await engine.audit(30)).equal
            for rel in ("/open/cache/entry", "/open/cache"):
                await b.delete(f"{rig.b}{rel}", -1)
            await _until_names(b, rig.b)


async def test_plan_and_diff_show_only_what_is_taken_in(pair: Pair, tmp_path: Path) -> None:
    rig = rig_of(pair, tmp_path, {"include": ["/in"], "exclude": ["/in/out"]})
    async with rig.lanes() as (a, b):
        await _make(a, rig.a, "/in", "/in/x", "/in/out", "/elsewhere")
        if await b.exists("/other") is None:
            await b.create("/other", None, WORLD_ALL)
        await b.create(rig.b, None, WORLD_ALL)
        await _make(b, rig.b, "/own")
        rules = parse_rules(rig.document, "rules")
        found = await offline.plan(rules, limit=100)
        changed = sorted(change.path for change in found.subtrees[rig.name].changes)
        assert changed == [f"{rig.b}/in", f"{rig.b}/in/x"]
        differing = await offline.diff(rules, [], limit=100)
        assert [one.path_a for one in differing.differences] == [f"{rig.a}/in", f"{rig.a}/in/x"]


def test_export_leaves_out_what_the_rules_leave_out(pair: Pair, tmp_path: Path) -> None:
    rig = rig_of(pair, tmp_path, {"exclude": ["/out"]})

    async def fill() -> None:
        async with rig.lanes() as (a, _):
            await _make(a, rig.a, "/in", "/out", "/out/x")

    asyncio.run(fill())
    for extra, rels in (([], ["", "/in"]), (["--path", f"{rig.a}/out"], ["/out", "/out/x"])):
        file = tmp_path / "tree.jsonl"
        arguments = ["export", "--rules", str(rig.rules_file), "--side", "a", *extra, str(file)]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        assert [znode.path for znode in stored(file)] == [f"{rig.a}{rel}" for rel in rels]
