"""Deletes and writes that meet a znode created again unseen, at the version that they expect."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sync_engine.direction import Side
from sync_engine.wire import ANY_VERSION, Delete, OpCode, SetData
from sync_engine.znode import PERM_READ, WORLD_ALL, Acl
from tests.robustness.history.checker import data_of
from tests.sync_engine.memory.ensemble import Client, Txn
from tests.sync_engine.memory.faults import Fate
from tests.sync_engine.memory.tree import Create
from tests.sync_engine.memory.world import World

_READ_ONLY = (Acl(PERM_READ, "world", "anyone"),)
_OTHERS = (Acl(PERM_READ, "digest", "others:hash"),)
_MULTI = frozenset({OpCode.MULTI})


class Stage:
    """A world whose two sides hold `/p/x` and `/p/y`, and a client on each."""

    def __init__(self, folder: Path, rule: dict[str, Any], **tuning: Any) -> None:
        self.world = World(1, folder, **tuning)
        self.world.rule = rule
        self.a, self.b = (Client(self.world.sides[side], f"client-{side}") for side in Side)
        for rel in ("p", "p/x", "p/y"):
            self.a.write(Create(f"/apps/{rel}", b"seen", WORLD_ALL))
        self.world.start()
        self.world.come_to_rest()

    def hold_up_delete(self) -> None:
        """Let a client of side a delete `/p/x`, and the engine's delete be under way to side b."""
        self.hold_up(Delete("/apps/p/x", ANY_VERSION))

    def hold_up(self, write: Delete | SetData) -> None:
        """Let a client of side a write, and the engine's write of it be under way to side b."""
        faults = self.world.sides[Side.B].faults
        faults.arm(Fate.DELAYED, codes=_MULTI)
        self.a.write(write)
        while faults.is_armed:
            self.world.pass_s(0.001)

    def reasons(self) -> list[str]:
        return [str(line["reason"]) for line in self.world.conflicts()]

    def data(self, side: Side, path: str) -> bytes | None:
        copy = self.world.sides[side].copy(path)
        assert copy is not None, path
        return copy.data


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path, {"direction": "both"})
    try:
        yield made
    finally:
        made.world.close()


@pytest.fixture
def one_way(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path, {})
    try:
        yield made
    finally:
        made.world.close()


def test_znode_created_again_while_its_delete_is_under_way_is_not_lost(stage: Stage) -> None:
    stage.hold_up_delete()
    again = Delete("/other/apps/p/x", 0), Create("/other/apps/p/x", b"unseen", WORLD_ALL)
    assert stage.b.write(*again) is not None
    stage.world.come_to_rest()
    assert stage.data(Side.B, "/other/apps/p/x") == b"unseen"
    assert stage.data(Side.A, "/apps/p/x") == b"unseen"
    assert stage.reasons() == ["deleted-by-other"]


def test_engine_that_dies_of_a_held_up_delete_loses_nothing_either(stage: Stage) -> None:
    stage.hold_up_delete()
    stage.b.write(Delete("/other/apps/p/x", 0), Create("/other/apps/p/x", b"unseen", WORLD_ALL))
    stage.world.crash()
    stage.world.pass_s(1)
    stage.world.start()
    stage.world.come_to_rest()
    assert stage.data(Side.A, "/apps/p/x") == stage.data(Side.B, "/other/apps/p/x") == b"unseen"


def test_delete_that_no_guard_could_hold_back_is_reported(stage: Stage) -> None:
    stage.hold_up_delete()
    b, root = stage.b, "/other/apps/p"
    again = [Delete(f"{root}/{name}", ANY_VERSION) for name in ("x", "y")]
    # As many children as before: the counter says what it said.
    b.write(*again, Delete(root, ANY_VERSION), Create(root, b"seen", WORLD_ALL))
    b.write(Create(f"{root}/y", b"seen", WORLD_ALL), Create(f"{root}/x", b"unseen", WORLD_ALL))
    stage.world.come_to_rest()
    assert stage.world.sides[Side.B].copy(f"{root}/x") is None
    assert "created-again-by-other" in stage.reasons()


def test_delete_of_one_direction_that_took_a_znode_created_again_is_reported(
    one_way: Stage,
) -> None:
    one_way.hold_up_delete()
    path = "/other/apps/p/x"
    one_way.b.write(Delete(path, 0), Create(path, b"unseen", WORLD_ALL))
    one_way.world.come_to_rest()
    assert one_way.world.sides[Side.B].copy(path) is None
    assert one_way.reasons() == ["created-again-by-other"]


@pytest.mark.parametrize("how", ["dies", "is cut off"])
@pytest.mark.parametrize("is_another", [True, False])
def test_write_of_which_nobody_heard_is_reported_if_it_hid_a_znode_created_again(
    one_way: Stage, how: str, is_another: bool
) -> None:
    world, path = one_way.world, "/other/apps/p/x"
    if is_another:
        # Nobody follows what is written on a side that does not own. Its ACL is another one, too:
        # nothing else would find that, as the data are equal afterwards.
        acl = (*WORLD_ALL, *_OTHERS)
        one_way.b.write(Delete(path, 0), Create(path, b"unseen", acl))
    world.sides[Side.B].faults.arm(Fate.LOST_AFTER, codes=_MULTI)
    one_way.a.write(SetData("/apps/p/x", b"newer", ANY_VERSION))
    if how == "dies":
        world.until(lambda: one_way.data(Side.B, path) == b"newer", "the write")
        world.crash()
        world.start()
    world.come_to_rest()

    found = [one for one in world.conflicts() if one["reason"] == "created-again-by-other"]
    assert len(found) == is_another
    # The ACL of the one that was hidden is another conflict, as it was read.
    assert set(one_way.reasons()) <= {"created-again-by-other", "changed-by-other"}
    assert is_another or not world.conflicts()
    for line in found:
        assert (line["winner"]["path"], line["loser_side"]) == ("/apps/p/x", "b")
        assert data_of(line["winner"]) == b"newer"
    copy = world.sides[Side.B].copy(path)
    assert copy is not None
    assert (copy.data, copy.acl) == (b"newer", WORLD_ALL)


def test_znode_created_after_a_write_of_which_nobody_heard_is_not_hidden_by_it(
    one_way: Stage,
) -> None:
    world, path = one_way.world, "/other/apps/p/x"
    world.sides[Side.B].faults.arm(Fate.LOST_AFTER, codes=_MULTI)
    one_way.a.write(SetData("/apps/p/x", b"newer", ANY_VERSION))
    world.until(lambda: one_way.data(Side.B, path) == b"newer", "the write")
    world.crash()
    one_way.b.write(Delete(path, ANY_VERSION), Create(path, b"newer", WORLD_ALL))
    world.start()
    world.come_to_rest()
    assert one_way.reasons() == []


def test_parent_that_one_side_deletes_stays_for_a_child_that_the_other_has_changed(
    stage: Stage,
) -> None:
    stage.world.stop()
    stage.a.write(SetData("/apps/p/x", b"newer", ANY_VERSION))
    root = "/other/apps/p"
    stage.b.write(*(Delete(path, ANY_VERSION) for path in (f"{root}/x", f"{root}/y", root)))
    stage.world.start()
    stage.world.come_to_rest()
    for side, path in ((Side.A, "/apps/p"), (Side.B, root)):
        assert stage.data(side, f"{path}/x") == b"newer"
        assert stage.world.sides[side].copy(f"{path}/y") is None
    assert sorted(stage.reasons()) == ["deleted-above-new-children", "deleted-by-other"]


def test_guard_leaves_nothing_behind_and_is_no_change_to_the_other_way(stage: Stage) -> None:
    b = stage.world.sides[Side.B]
    seen: list[Txn] = []
    stage.world.sides[Side.A].on_commit.append(seen.append)
    stage.a.write(Delete("/apps/p/x", ANY_VERSION))
    stage.world.come_to_rest()
    names = [path for path in b.tree.nodes if path.startswith("/other/apps")]
    assert names == ["/other/apps", "/other/apps/p", "/other/apps/p/y"]
    # Nothing of it comes back.
    assert [txn.who for txn in seen if txn.ops and txn.who != stage.world.who] == ["client-a"]
    assert not stage.reasons()


def test_parent_under_which_others_create_all_the_time_does_not_keep_a_delete_waiting(
    stage: Stage,
) -> None:
    stage.a.write(Delete("/apps/p/x", ANY_VERSION))
    for number in range(200):
        stage.b.write(Create(f"/other/apps/p/n{number}", b"", WORLD_ALL))
        stage.world.pass_s(0.002)
    assert stage.world.sides[Side.B].copy("/other/apps/p/x") is None
    stage.world.come_to_rest()
    assert stage.world.sides[Side.A].copy("/apps/p/n199") is not None


def test_transactions_of_one_round_under_one_parent_do_not_get_in_each_others_way(
    tmp_path: Path,
) -> None:
    stage = Stage(tmp_path, {"direction": "both"}, batch_ops_max=10, delete_count_free=100)
    try:
        rels = [f"p/n{number}" for number in range(60)]
        for rel in rels:
            stage.a.write(Create(f"/apps/{rel}", b"", WORLD_ALL))
        stage.world.come_to_rest()
        side, log = stage.world.sides[Side.B], stage.world.sides[Side.B].log
        parent = side.copy("/other/apps/p")
        assert parent is not None
        begun, zxid = len(log), side.zxid
        stage.a.write(*[Delete(f"/apps/{rel}", ANY_VERSION) for rel in rels])
        stage.world.come_to_rest()
        after = side.copy("/other/apps/p")
        assert after is not None
        assert after.stat.num_children == 2
        transactions = len(log) - begun
        # One guard each, and each expects those of its own round.
        assert transactions == after.stat.creates - parent.stat.creates >= 6
        # A refused one uses up a zxid; two rounds that overlap may meet under one parent.
        assert side.zxid - zxid - transactions <= 1
    finally:
        stage.world.close()


@pytest.mark.parametrize("rule", [{}, {"direction": "both"}])
def test_engine_that_may_delete_a_znode_and_not_write_it_deletes_it(
    tmp_path: Path, rule: dict[str, Any]
) -> None:
    (tmp_path / "super").write_text("engine:secret")
    world = World(1, tmp_path)
    world.rule = rule
    try:
        (tmp_path / "super").write_text("engine:secret")
        a = Client(world.sides[Side.A], "operator")
        a.write(Create("/apps/x", b"1", _READ_ONLY))
        a.write(Create("/apps/y", b"1", WORLD_ALL))
        world.start()
        world.come_to_rest()
        a.write(Delete("/apps/x", ANY_VERSION))
        a.write(SetData("/apps/y", b"2", ANY_VERSION))
        world.come_to_rest()
        assert world.sides[Side.B].copy("/other/apps/x") is None
        assert world.replicator.subtree.counters.skipped == {}
    finally:
        world.close()


def test_clients_znode_with_a_guards_name_is_copied_at_once(one_way: Stage) -> None:
    world, name = one_way.world, "zksync-delete-0000000012"

    def copied() -> bytes | None:
        copy = world.sides[Side.B].copy(f"/other/apps/p/{name}")
        return None if copy is None else copy.data

    one_way.a.write(Create(f"/apps/p/{name}", b"a client's", WORLD_ALL))
    world.until(lambda: copied() == b"a client's", "the copy", 5)
    one_way.a.write(Delete(f"/apps/p/{name}", 0))
    world.until(lambda: copied() is None, "the delete", 5)


def test_guards_events_come_to_nothing(stage: Stage) -> None:
    world = stage.world
    assert world.engine is not None
    before = [worker.subtree.counters.echoes for worker in world.engine.workers()]
    stage.a.write(Delete("/apps/p/x", ANY_VERSION))
    world.until(lambda: world.sides[Side.B].copy("/other/apps/p/x") is None, "the delete", 5)
    guards = [op for txn in world.sides[Side.B].log for op in txn.ops if _is_guard(op)]
    assert len(guards) == 2
    world.come_to_rest()
    assert [worker.subtree.counters.echoes for worker in world.engine.workers()] == before
    assert world.replicator.stalled is None
    assert not any(worker.subtree.counters.skipped for worker in world.engine.workers())
    assert [op for txn in world.sides[Side.B].log for op in txn.ops if _is_guard(op)] == guards


def _is_guard(op: object) -> bool:
    return isinstance(op, Create | Delete) and "/zksync-delete-" in op.path
