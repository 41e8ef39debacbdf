"""What runs of seeded faults have found, each in its shortest form, on ensembles in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_engine.direction import Side
from sync_engine.errors import SyncError
from sync_engine.wire import ANY_VERSION, Delete, OpCode, SetData
from sync_engine.znode import PERM_ALL, PERM_READ, WORLD_ALL, Acl
from tests.sync_engine.memory.ensemble import Client
from tests.sync_engine.memory.faults import Fate
from tests.sync_engine.memory.tree import Create, SetAcl
from tests.sync_engine.memory.world import World

_OTHER_ACL = (Acl(PERM_ALL, "world", "anyone"), Acl(PERM_READ, "digest", "user:hash="))
_FOREIGN_ACL = (Acl(PERM_ALL, "digest", "foreign:hash="),)
_ACLS = frozenset({OpCode.SET_ACL})


@pytest.fixture
def ordinary(tmp_path: Path) -> Iterator[World]:
    """An engine that is no super user, and has copied `/x` and `/y`."""
    made = World(1, tmp_path)
    try:
        (tmp_path / "super").write_text("engine:secret")
        a = Client(made.sides[Side.A], "operator")
        for rel in ("x", "y"):
            a.write(Create(f"/apps/{rel}", b"1", WORLD_ALL))
        made.start()
        made.come_to_rest()
        yield made
    finally:
        made.close()


@pytest.fixture
def clients(world: World) -> tuple[Client, Client]:
    """Clients of side a, who owns, and of side b; the engine has copied `/x`."""
    a, b = (Client(world.sides[side], f"client-{side}") for side in Side)
    a.write(Create("/apps/x", b"1", WORLD_ALL))
    world.start()
    world.come_to_rest()
    return a, b


def test_foreign_acl_is_recorded_before_the_owners_delete_takes_it(
    world: World, clients: tuple[Client, Client]
) -> None:
    a, b = clients
    b.write(SetAcl("/other/apps/x", _OTHER_ACL, ANY_VERSION))
    a.write(Delete("/apps/x", ANY_VERSION))
    world.come_to_rest()
    assert world.sides[Side.B].copy("/other/apps/x") is None
    (line,) = world.conflicts()
    assert line["reason"] == "changed-by-other"
    assert [Acl(*entry) for entry in line["loser"]["acl"]] == list(_OTHER_ACL)


@pytest.mark.parametrize("dies", [False, True])
def test_acl_whose_answer_was_lost_is_not_left_when_the_owner_takes_it_back(
    world: World, clients: tuple[Client, Client], dies: bool
) -> None:
    a, _ = clients
    b = world.sides[Side.B]
    b.faults.arm(Fate.LOST_AFTER, codes=_ACLS)
    a.write(SetAcl("/apps/x", _OTHER_ACL, ANY_VERSION))
    world.until(lambda: _acl(world) == _OTHER_ACL, "the copy")
    if dies:
        world.crash()
    a.write(SetAcl("/apps/x", WORLD_ALL, ANY_VERSION))
    world.come_to_rest()
    assert _acl(world) == WORLD_ALL
    assert world.conflicts() == []


def _acl(world: World) -> tuple[Acl, ...] | None:
    copy = world.sides[Side.B].copy("/other/apps/x")
    return None if copy is None else copy.acl


def test_acl_written_to_a_znode_that_was_created_again_is_reported(
    world: World, clients: tuple[Client, Client]
) -> None:
    a, b = clients
    b.write(Delete("/other/apps/x", ANY_VERSION), Create("/other/apps/x", b"foreign", _FOREIGN_ACL))
    a.write(SetAcl("/apps/x", _OTHER_ACL, ANY_VERSION))
    world.come_to_rest()
    assert "created-again-by-other" in [line["reason"] for line in world.conflicts()]
    # It was looked at in full: nothing of the owner's is missing, nothing of the other's unsaid.
    copy = world.sides[Side.B].copy("/other/apps/x")
    assert copy is not None
    assert (copy.data, copy.acl) == (b"1", _OTHER_ACL)
    assert "Zm9yZWlnbg==" in [line["loser"]["data"] for line in world.conflicts() if line["loser"]]


@pytest.mark.parametrize("dies", [False, True])
def test_acl_whose_answer_was_lost_and_that_met_a_znode_created_again_is_reported_once(
    world: World, clients: tuple[Client, Client], dies: bool
) -> None:
    a, b = clients
    b.write(Delete("/other/apps/x", ANY_VERSION), Create("/other/apps/x", b"1", _FOREIGN_ACL))
    world.sides[Side.B].faults.arm(Fate.LOST_AFTER, codes=_ACLS)
    a.write(SetAcl("/apps/x", _OTHER_ACL, ANY_VERSION))
    world.until(lambda: _acl(world) == _OTHER_ACL, "the copy")
    if dies:
        world.crash()
        world.start()
    world.come_to_rest()
    assert [line["reason"] for line in world.conflicts()] == ["created-again-by-other"]
    assert _acl(world) == _OTHER_ACL


def test_ephemeral_of_the_other_side_below_a_deleted_znode_does_not_keep_the_engine_busy(
    world: World, clients: tuple[Client, Client]
) -> None:
    a, b = clients
    b.write(Create("/other/apps/x/n", b"foreign", WORLD_ALL))
    b.write(Create("/other/apps/x/n/mine", b"", WORLD_ALL, ephemeral=True))
    a.write(Delete("/apps/x", ANY_VERSION))
    world.pass_s(5)
    assert world.is_idle
    assert world.replicator.subtree.counters.skipped.keys() >= {"/x"}
    assert len(world.conflicts()) == 1
    b.leave()
    world.come_to_rest()
    world.settle()
    assert world.sides[Side.B].copy("/other/apps/x") is None
    assert world.replicator.subtree.counters.skipped == {}


def test_parent_that_cannot_be_copied_does_not_keep_the_engine_busy(
    world: World, clients: tuple[Client, Client]
) -> None:
    a, _ = clients
    a.write(Create("/apps/large", bytes(1_048_400), WORLD_ALL))
    a.write(Create("/apps/large/below", b"", WORLD_ALL))
    world.pass_s(5)
    assert world.is_idle
    skipped = world.replicator.subtree.counters.skipped
    assert skipped == {"/large": "too-large", "/large/below": "parent-is-not-on-the-other-side"}
    a.write(SetData("/apps/large", b"small", ANY_VERSION))
    world.come_to_rest()
    world.settle()
    assert world.sides[Side.B].copy("/other/apps/large/below") is not None
    assert skipped == {}


def test_znode_kept_for_an_operator_does_not_keep_the_engine_busy_with_its_parent(
    world: World, clients: tuple[Client, Client]
) -> None:
    a, b = clients
    world.stop()
    b.write(Create("/other/apps/x/kept", b"foreign", WORLD_ALL))
    world.start(forget_base=True)
    world.come_to_rest()
    a.write(Delete("/apps/x", ANY_VERSION))
    world.pass_s(5)
    assert world.is_idle
    world.settle()
    assert world.sides[Side.B].copy("/other/apps/x") is None


def test_znode_that_the_engine_may_no_longer_read_is_not_taken_for_deleted(
    ordinary: World,
) -> None:
    a = Client(ordinary.sides[Side.A], "client")
    a.write(SetData("/apps/x", b"2", ANY_VERSION))
    a.write(SetAcl("/apps/x", _FOREIGN_ACL, ANY_VERSION))
    ordinary.pass_s(5)
    copy = ordinary.sides[Side.B].copy("/other/apps/x")
    assert copy is not None
    assert copy.data == b"1"
    assert ordinary.replicator.subtree.counters.unreadable == {"/apps/x"}
    a.write(SetAcl("/apps/x", WORLD_ALL, ANY_VERSION))
    ordinary.come_to_rest()
    copy = ordinary.sides[Side.B].copy("/other/apps/x")
    assert copy is not None
    assert copy.data == b"2"
    assert ordinary.replicator.subtree.counters.unreadable == set()


@pytest.mark.parametrize("dies", [False, True])
def test_write_of_which_nobody_heard_and_that_hid_what_may_not_be_read_stops_nothing(
    ordinary: World, dies: bool
) -> None:
    a, b = (Client(ordinary.sides[side], f"client-{side}") for side in Side)
    blind = (Acl(PERM_ALL & ~PERM_READ, "world", "anyone"),)
    b.write(Delete("/other/apps/x", ANY_VERSION), Create("/other/apps/x", b"unseen", blind))
    ordinary.sides[Side.B].faults.arm(Fate.LOST_AFTER, codes=frozenset({OpCode.MULTI}))
    a.write(SetData("/apps/x", b"newer", ANY_VERSION))
    ordinary.until(lambda: _data(ordinary, "x") == b"newer", "the write")
    if dies:
        ordinary.crash()
        ordinary.start()
    a.write(SetData("/apps/y", b"newer", ANY_VERSION))
    ordinary.until(lambda: _data(ordinary, "y") == b"newer", "the next write")


def test_copy_that_the_engine_may_not_read_is_not_deleted_and_keeps_no_other_waiting(
    ordinary: World,
) -> None:
    a, b = (Client(ordinary.sides[side], f"client-{side}") for side in Side)
    blind = (Acl(PERM_ALL & ~PERM_READ, "world", "anyone"),)
    b.write(SetAcl("/other/apps/x", blind, ANY_VERSION))
    a.write(Delete("/apps/x", ANY_VERSION))
    a.write(SetData("/apps/y", b"newer", ANY_VERSION))
    ordinary.until(lambda: _data(ordinary, "y") == b"newer", "the other's write")
    ordinary.pass_s(5)
    assert _data(ordinary, "x") == b"1"
    assert ordinary.replicator.subtree.counters.skipped == {"/x": "no-auth"}

    b.write(SetAcl("/other/apps/x", WORLD_ALL, ANY_VERSION))
    ordinary.come_to_rest()
    assert _data(ordinary, "x") is None
    assert ordinary.replicator.subtree.counters.skipped == {}


def _data(world: World, name: str) -> bytes | None:
    copy = world.sides[Side.B].copy(f"/other/apps/{name}")
    return None if copy is None else copy.data


def test_znode_that_cannot_be_read_does_not_keep_others_from_being_looked_at(
    ordinary: World,
) -> None:
    a = Client(ordinary.sides[Side.A], "client")
    a.write(SetAcl("/apps/x", _FOREIGN_ACL, ANY_VERSION))
    a.write(SetAcl("/apps/y", _OTHER_ACL, ANY_VERSION))
    ordinary.come_to_rest()
    assert ordinary.replicator.subtree.counters.unreadable == {"/apps/x"}
    copy = ordinary.sides[Side.B].copy("/other/apps/y")
    assert copy is not None
    # No watch tells of it: the sweep found it.
    assert copy.acl == _OTHER_ACL


def test_znode_that_the_engine_may_no_longer_write_is_put_aside_and_tried_again(
    ordinary: World,
) -> None:
    a, b = (Client(ordinary.sides[side], f"client-{side}") for side in Side)
    b.write(SetAcl("/other/apps/x", _FOREIGN_ACL, ANY_VERSION))
    a.write(SetData("/apps/x", b"2", ANY_VERSION))
    a.write(SetData("/apps/y", b"2", ANY_VERSION))
    ordinary.pass_s(5)
    assert ordinary.is_idle
    assert ordinary.replicator.subtree.counters.skipped == {"/x": "no-auth"}
    y = ordinary.sides[Side.B].copy("/other/apps/y")
    assert y is not None
    assert y.data == b"2"
    b.write(SetAcl("/other/apps/x", WORLD_ALL, ANY_VERSION))
    ordinary.come_to_rest()
    x = ordinary.sides[Side.B].copy("/other/apps/x")
    assert x is not None
    assert x.data == b"2"
    assert ordinary.replicator.subtree.counters.skipped == {}


def test_znode_that_could_not_be_created_is_tried_again(
    world: World, clients: tuple[Client, Client]
) -> None:
    a, _ = clients
    a.write(Create("/apps/large", bytes(1_048_400), WORLD_ALL))
    a.write(Create("/apps/large/below", b"", WORLD_ALL))
    world.come_to_rest()
    a.write(SetData("/apps/large", b"small", ANY_VERSION))
    world.come_to_rest()
    # No event tells of it, and no audit was made.
    assert world.sides[Side.B].copy("/other/apps/large/below") is not None


def test_bytes_of_a_znode_kept_for_an_operator_are_recorded_when_the_owner_creates_it(
    world: World, clients: tuple[Client, Client]
) -> None:
    a, b = clients
    world.stop()
    b.write(Create("/other/apps/kept", b"foreign", WORLD_ALL))
    world.start(forget_base=True)
    world.come_to_rest()
    a.write(Create("/apps/kept", b"mine", WORLD_ALL))
    world.come_to_rest()
    assert "Zm9yZWlnbg==" in [line["loser"]["data"] for line in world.conflicts() if line["loser"]]


def test_delete_that_takes_a_znode_that_was_created_again_is_reported(
    world: World, clients: tuple[Client, Client]
) -> None:
    a, b = clients
    path, side_b = "/other/apps/x", world.sides[Side.B]
    b.write(SetData(path, b"seen", ANY_VERSION))
    side_b.faults.arm(Fate.DELAYED, codes=frozenset({OpCode.MULTI}))
    a.write(Delete("/apps/x", ANY_VERSION))
    world.until(lambda: len(world.conflicts()) == 1, "a journalled conflict")
    b.write(Delete(path, ANY_VERSION), Create(path, b"", WORLD_ALL))
    b.write(SetData(path, b"unseen", ANY_VERSION))
    world.come_to_rest()
    assert side_b.copy(path) is None
    assert [line["reason"] for line in world.conflicts()] == [
        "changed-by-other",
        "created-again-by-other",
    ]


@pytest.mark.usefixtures("clients")
def test_comparison_that_a_flip_gave_up_is_made_by_the_worker(world: World) -> None:
    worker = world.replicator

    async def give_up() -> None:
        async with worker.lock:
            reads = frozenset({OpCode.GET_CHILDREN2, OpCode.MULTI_READ})
            world.sides[Side.A].faults.arm(Fate.LOST_BEFORE, codes=reads)
            with pytest.raises(SyncError):
                await worker.drain()

    world.loop.run(give_up())
    # No event comes that would wake it.
    world.until(lambda: world.is_idle, "quiet", bound_s=20)
