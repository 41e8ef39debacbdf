"""What the start asks before anything is copied, and what becomes of the answer."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from sync_engine import documents, opening, pair
from sync_engine.base import BaseStore
from sync_engine.direction import Roots, Side
from sync_engine.errors import ConnectionLostError
from sync_engine.fence import Fence
from sync_engine.link import Link
from sync_engine.wire import ANY_VERSION, Delete, SetData
from sync_engine.znode import WORLD_ALL
from tests.sync_engine.memory.ensemble import Client
from tests.sync_engine.memory.stage import Stage
from tests.sync_engine.memory.tree import Create
from tests.sync_engine.memory.world import ROOTS


@pytest.mark.parametrize("moment", ["between the identities", "before the base is bound"])
def test_first_run_asks_also_when_its_start_was_killed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    rels = [f"/n{n}" for n in range(30)]
    stage.make_root()
    stage.make(Side.B, *rels, data=b"b")
    stage.make(Side.A, *rels, data=b"a")
    before = {side: stage.contents(side) for side in Side}

    def die(*_: object, **__: object) -> None:
        stage.world.crash()
        raise ConnectionLostError("killed", sent=False)

    async def below(link: Link, path: str, depth: int) -> list[str]:
        if link.side is Side.B:
            die()
        return await real(link, path, depth)

    real = pair._below  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - what comes between
    with monkeypatch.context() as patched:
        if moment == "between the identities":
            patched.setattr(pair, "_below", below)
        else:
            patched.setattr(BaseStore, "bind", die)
        stage.world.start()
        stage.world.until(lambda: stage.world.engine is None, "a crash")
    assert stage.world.sides[Side.A].copy(documents.IDENTITY) is not None

    stage.world.come_to_rest()
    assert "of its 31 znodes 30 differ" in stage.stalled
    assert {side: stage.contents(side) for side in Side} == before


def test_new_subtree_of_a_known_pair_asks_as_well(stage: Stage) -> None:
    stage.world.come_to_rest()
    stage.world.stop()
    rels = [f"/n{n}" for n in range(30)]
    elsewhere = Roots("/else", ROOTS.b)
    stage.clients[Side.A].write(Create("/else", b"", WORLD_ALL))
    for rel in rels:
        stage.clients[Side.A].write(Create(elsewhere.path(Side.A, rel), b"a", WORLD_ALL))
    stage.make(Side.B, *rels, data=b"b")
    stage.world.rule = {"path_a": "/else"}
    stage.world.come_to_rest()
    assert "of its 31 znodes 30 differ" in stage.stalled


def test_word_for_the_start_is_not_asked_for_again_by_each_subtree(stage: Stage) -> None:
    rels = [f"/n{n}" for n in range(30)]
    stage.make(Side.A, *rels)
    stage.world.come_to_rest()
    stage.world.stop()
    for rel in rels:
        stage.clients[Side.B].write(SetData(ROOTS.path(Side.B, rel), b"b", ANY_VERSION))
    for ensemble in stage.world.sides.values():
        Client(ensemble, "operator").write(Delete(documents.IDENTITY, ANY_VERSION))
    stage.world.start()
    stage.world.until(lambda: stage.engine.held_reasons, "a held start")
    stage.engine.confirm(None)
    stage.world.come_to_rest()
    assert stage.stalled == ""
    assert stage.contents(Side.B) == stage.contents(Side.A)


@pytest.mark.parametrize("is_over", [False, True])
def test_word_that_comes_while_a_side_does_not_answer_is_kept_for_what_it_is_about(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, is_over: bool
) -> None:
    stage.world.come_to_rest()
    stage.world.stop()
    kept: dict[Side, bytes] = {}
    for side, client in stage.clients.items():
        copy = stage.world.sides[side].copy(documents.IDENTITY)
        assert copy is not None
        kept[side] = copy.data or b""
        client.write(Delete(documents.IDENTITY, ANY_VERSION))
    stage.world.start()
    stage.world.until(lambda: stage.engine.held_reasons, "a held start")

    async def lost(*_: object) -> None:
        if not stage.engine.start_confirmed.is_set():
            stage.engine.confirm(None)
        raise ConnectionLostError("lost", sent=False)

    with monkeypatch.context() as patched:
        patched.setattr(opening, "inspect", lost)
        stage.world.until(stage.engine.start_confirmed.is_set, "a word")
    if is_over:
        for side, client in stage.clients.items():
            client.write(Create(documents.IDENTITY, kept[side], WORLD_ALL))
    stage.world.come_to_rest()

    # Nor is it kept for what may come later.
    assert not stage.engine.start_confirmed.is_set()
    copy = stage.world.sides[Side.A].copy(documents.IDENTITY)
    assert copy is not None
    assert (copy.data == kept[Side.A]) is is_over


def test_side_that_gets_another_identity_is_never_without_one(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.world.come_to_rest()
    stage.world.stop()
    stage.clients[Side.B].write(Delete(documents.IDENTITY, ANY_VERSION))
    # Wherever what is deleted is cut into transactions.
    monkeypatch.setattr(pair, "_OPS_MAX", 1)
    begun = len(stage.world.sides[Side.A].log)
    stage.world.come_to_rest()
    changes = [
        [type(op).__name__ for op in txn.ops if getattr(op, "path", "") == documents.IDENTITY]
        for txn in stage.world.sides[Side.A].log[begun:]
    ]
    assert [change for change in changes if change] == [["Delete", "Create"]]


def test_base_is_bound_to_a_pair_as_a_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "base.sqlite"
    store = BaseStore(path)
    noted: list[str] = []

    def note(_: BaseStore, key: str, value: str) -> None:
        noted.append(key)
        if key == "pair":
            raise KeyboardInterrupt
        real(store, key, value)

    real = BaseStore.note
    with monkeypatch.context() as patched:
        patched.setattr(BaseStore, "note", note)
        with pytest.raises(KeyboardInterrupt):
            store.bind("p", confirmed=["apps"])
    store.close()

    again = BaseStore(path)
    assert noted
    assert [again.meta(key) for key in (*noted, "confirmed:apps")] == [None] * (len(noted) + 1)
    again.close()


@pytest.mark.parametrize("moment", ["fence taken on one side", "fence taken", "killed"])
def test_word_for_a_start_that_is_broken_off_holds_for_the_next_try(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    world = stage.world
    world.come_to_rest()
    snapshot = copy.deepcopy(world.sides[Side.A].tree)
    # Another start, whose epoch the copy has not.
    world.stop()
    world.start()
    rels = {f"/n{n}" for n in range(30)}
    stage.make(Side.A, *rels)
    world.come_to_rest()
    world.stop()
    before = stage.contents(Side.B)
    world.sides[Side.A].restore(snapshot)
    world.start()
    world.until(lambda: stage.engine.held_reasons, "a held start")
    broken = 0

    async def lost(*_: object, **__: object) -> None:
        nonlocal broken
        broken += 1
        if moment == "killed":
            world.crash()
        raise ConnectionLostError("lost", sent=False)

    async def write(fence: Fence, side: Side, epoch: int, version: int) -> None:
        if side is Side.B:
            await lost()
        await real(fence, side, epoch, version)

    real = Fence._write  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - what comes between
    with monkeypatch.context() as patched:
        if moment == "fence taken on one side":
            patched.setattr(Fence, "_write", write)
        else:
            patched.setattr(opening, "check_unchanged", lost)
        stage.engine.confirm(None)
        world.until(lambda: broken, "a start that is broken off")
    world.come_to_rest()

    # Deleted is what an operator names next, and nothing before.
    assert stage.contents(Side.B) == before
    assert world.replicator.subtree.base.unowned == rels
