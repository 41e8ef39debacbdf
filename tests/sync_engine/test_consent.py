"""What waits for an operator's word: the real engine between ensembles in memory."""

from __future__ import annotations

import pytest

from sync_engine import consent
from sync_engine.direction import Side
from sync_engine.errors import EngineRefusedError
from sync_engine.status import gather
from tests.sync_engine.memory.stage import Stage
from tests.sync_engine.memory.world import SUBTREE


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


def test_word_about_sequential_names_lets_no_mass_delete_happen(stage: Stage) -> None:
    rels = [f"/n{number}" for number in range(40)]
    stage.world.rule = {"direction": "both"}
    stage.make(Side.A, *rels)
    stage.world.come_to_rest()
    stage.make(Side.A, "/lock-0000000001")
    stage.await_stall("sequential")
    (shown,) = gather(stage.engine).subtrees[SUBTREE].waiting
    stage.drop(Side.A, *rels)
    stage.engine.confirm(SUBTREE, shown.seen)
    stage.await_stall("of 41 znodes are gone")
    assert set(stage.names(Side.B)) >= set(rels)
    # What was shown before is not what waits now.
    with pytest.raises(EngineRefusedError, match=r"saw \w+: 40 of 41 znodes are gone") as caught:
        stage.engine.confirm(SUBTREE, shown.seen)
    assert caught.value.type == "NotWhatWasSeen"
    stage.world.settle()
    assert stage.names(Side.B) == stage.names(Side.A) == ["/lock-0000000001"]


def test_word_about_a_mass_delete_deletes_nothing_that_nobody_knows_of(stage: Stage) -> None:
    rels = [f"/n{number}" for number in range(40)]
    stage.make(Side.A, *rels)
    stage.world.come_to_rest()
    stage.world.stop()
    stage.make(Side.B, "/only-b")
    stage.world.start(forget_base=True)
    stage.world.come_to_rest()
    stage.drop(Side.A, *rels)
    stage.await_stall("znodes are gone")
    stalled, unowned = gather(stage.engine).subtrees[SUBTREE].waiting
    stage.engine.confirm(SUBTREE, stalled.seen)
    stage.world.come_to_rest()
    assert stage.names(Side.B) == ["/only-b"]
    stage.engine.confirm(SUBTREE, unowned.seen)
    stage.world.come_to_rest()
    assert stage.names(Side.B) == []


def test_word_about_paths_that_nobody_knows_of_lets_no_other_delete_happen(stage: Stage) -> None:
    rels = [f"/n{number}" for number in range(40)]
    stage.make(Side.A, *rels)
    stage.world.come_to_rest()
    stage.world.stop()
    stage.make(Side.B, *(f"/only-b{number}" for number in range(60)))
    stage.world.start(forget_base=True)
    stage.world.come_to_rest()
    stage.engine.confirm(SUBTREE, consent.waiting(stage.world.replicator)[0].seen)
    stage.drop(Side.A, *rels)
    # They are more than half of what is there, and are not counted: an operator has seen them.
    stage.await_stall("of 41 znodes are gone")
    stage.world.settle()
    assert stage.names(Side.B) == stage.names(Side.A) == []


def test_word_for_the_start_is_about_what_was_shown() -> None:
    before, later = (
        consent.named([f"side a went back to zxid 0x{zxid:x}: it was restored"])
        for zxid in (10, 11)
    )
    other = consent.named(["the sides are exchanged"])
    # How far a side is goes on, and the question is the same.
    assert before.seen == later.seen != other.seen
    assert consent.chosen([later], before.seen) == later
    with pytest.raises(EngineRefusedError, match="the sides are exchanged"):
        consent.chosen([other], before.seen)
    # Scripts name none: it is the first; nothing waits, nothing happens.
    assert consent.chosen([other, later], None) == other
    assert consent.chosen([], None) is None


def test_first_run_asks_before_it_overwrites_a_target_that_is_in_use(stage: Stage) -> None:
    both, alone = [f"/n{n}" for n in range(15)], [f"/only-b{n}" for n in range(15)]
    stage.make_root()
    stage.make(Side.B, *both, *alone, data=b"b")
    stage.make(Side.A, *both, data=b"a")
    before = {side: stage.contents(side) for side in Side}
    stage.world.come_to_rest()
    assert "of its 31 znodes 15 differ" in stage.stalled
    assert "15 are on side b alone" in stage.stalled
    assert {side: stage.contents(side) for side in Side} == before
    # Also when it is started again before anybody said anything.
    stage.world.stop()
    stage.world.come_to_rest()
    assert {side: stage.contents(side) for side in Side} == before
    (shown,) = consent.waiting(stage.world.replicator)
    stage.engine.confirm(SUBTREE, shown.seen)
    stage.world.come_to_rest()
    assert stage.contents(Side.B) == before[Side.A] | dict.fromkeys(alone, b"b")


@pytest.mark.parametrize("difference", ["none", "few", "small share"])
def test_first_run_asks_nothing_of_a_target_that_is_nearly_equal(
    stage: Stage, difference: str
) -> None:
    rels = [f"/n{n}" for n in range(300)]
    other = {"none": 0, "few": 19, "small share": 30}[difference]
    equal = rels[:300] if difference != "few" else rels[:20]
    stage.make(Side.A, *rels)
    stage.make_root()
    stage.make(Side.B, *equal[other:])
    stage.make(Side.B, *equal[:other], data=b"b")
    stage.world.come_to_rest()
    assert stage.stalled == ""
    assert stage.contents(Side.B) == stage.contents(Side.A)
