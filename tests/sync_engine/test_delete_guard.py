"""How many znodes may vanish without a word: the real engine between ensembles in memory."""

from __future__ import annotations

from sync_engine.direction import Side
from sync_engine.report import Waiting
from sync_engine.status import gather
from tests.sync_engine.memory.stage import Stage
from tests.sync_engine.memory.world import SUBTREE


def names(count: int, prefix: str = "n") -> list[str]:
    return [f"/{prefix}{number}" for number in range(count)]


def make_unheard(stage: Stage, *rels: str) -> None:
    """Create znodes of which no event tells."""
    side = stage.world.sides[Side.A]
    side.stop()
    stage.make(Side.A, *rels)
    side.start()


def test_what_a_comparison_found_counts_a_minute_later(stage: Stage) -> None:
    stage.make(Side.A, *names(30))
    stage.world.come_to_rest()
    stage.make(Side.A, "/told")
    stage.world.come_to_rest()
    make_unheard(stage, *names(300, "later"))
    stage.world.come_to_rest()
    assert stage.names(Side.B) == stage.names(Side.A)
    stage.world.pass_s(70)
    stage.drop(Side.A, *names(200, "later"))
    stage.await_stall("of 332 znodes are gone on side a")


def test_what_one_way_had_a_word_for_is_not_counted_by_the_other(stage: Stage) -> None:
    stage.world.rule = {"direction": "both"}
    stage.make(Side.A, *names(200), *names(2, "other"))
    stage.world.come_to_rest()
    # Each worker knows the size of before.
    stage.drop(Side.B, "/other0")
    stage.world.pass_s(1)
    stage.drop(Side.A, *names(150))
    stage.await_stall("of 203 znodes are gone on side a")
    stage.engine.confirm(SUBTREE)
    stage.world.until(lambda: len(stage.names(Side.B)) == 51, "what the word was about")
    stage.drop(Side.B, "/other1")
    stage.world.until(lambda: len(stage.names(Side.A)) == 50, "one more delete", 10)
    assert stage.stalled == ""


def shown(stage: Stage) -> list[Waiting]:
    return gather(stage.engine).subtrees[SUBTREE].waiting


def test_word_is_about_as_many_as_were_shown(stage: Stage) -> None:
    stage.make(Side.A, *names(40))
    stage.world.come_to_rest()
    stage.drop(Side.A, *names(25))
    stage.await_stall("25 of 41 znodes are gone")
    (before,) = shown(stage)
    stage.drop(Side.A, *names(40)[25:])
    stage.world.pass_s(2)
    stage.engine.confirm(SUBTREE, before.seen)
    # The first of them went before there were too many.
    stage.await_stall("39 of 40 znodes are gone")
    assert len(stage.names(Side.B)) == 39
    (now,) = shown(stage)
    stage.engine.confirm(SUBTREE, now.seen)
    stage.world.come_to_rest()
    assert stage.names(Side.B) == []


def test_word_holds_though_a_few_more_went_meanwhile(stage: Stage) -> None:
    stage.make(Side.A, *names(100))
    stage.world.come_to_rest()
    stage.drop(Side.A, *names(60))
    stage.await_stall("of 101 znodes are gone")
    stage.drop(Side.A, *names(100)[60:75])
    stage.engine.confirm(SUBTREE)
    stage.world.come_to_rest()
    assert stage.stalled == ""
    assert stage.names(Side.B) == sorted(names(100)[75:])


def test_word_is_no_word_for_an_ensemble_that_lost_the_rest(stage: Stage) -> None:
    stage.make(Side.A, *names(40))
    stage.world.come_to_rest()
    stage.drop(Side.A, *names(25))
    stage.await_stall("25 of 41 znodes are gone")
    stage.drop(Side.A, *names(40)[25:], "")
    stage.world.pass_s(2)
    stage.engine.confirm(SUBTREE)
    stage.await_stall("side a holds nothing of the 40 znodes")
    assert len(stage.names(Side.B)) == 39


def make_unowned(stage: Stage, count: int, *, beside: int) -> list[str]:
    """Let side b have paths of which no base says whose they are."""
    stage.make(Side.A, *names(beside))
    stage.world.come_to_rest()
    stage.world.stop()
    rels = names(count, "only-b")
    stage.make(Side.B, *rels)
    stage.world.start(forget_base=True)
    stage.world.come_to_rest()
    return rels


def test_paths_that_may_go_are_asked_about_again_if_the_engine_dies_before_they_go(
    stage: Stage,
) -> None:
    rels = make_unowned(stage, 30, beside=5)
    stage.engine.confirm(SUBTREE, shown(stage)[0].seen)
    stage.world.crash()
    stage.world.start()
    stage.world.come_to_rest()
    assert set(stage.names(Side.B)) >= set(rels)
    assert "30 paths are on side b alone" in shown(stage)[0].reason
    stage.engine.confirm(SUBTREE)
    stage.world.come_to_rest()
    assert stage.names(Side.B) == stage.names(Side.A)
    assert shown(stage) == []


def test_more_paths_may_go_than_may_wait(stage: Stage) -> None:
    stage.world.tuning["backlog_max"] = 20
    make_unowned(stage, 50, beside=5)
    stage.engine.confirm(SUBTREE, shown(stage)[0].seen)
    # The word is given: nothing waits for one any more.
    assert shown(stage) == []
    stage.world.come_to_rest()
    assert stage.names(Side.B) == stage.names(Side.A)


def test_paths_that_may_go_hide_no_others_that_went_before_them(stage: Stage) -> None:
    make_unowned(stage, 30, beside=100)
    stage.drop(Side.A, *names(45))
    stage.world.come_to_rest()
    assert stage.stalled == ""
    stage.engine.confirm(SUBTREE, shown(stage)[0].seen)
    stage.world.come_to_rest()
    assert stage.names(Side.B) == stage.names(Side.A)
    stage.drop(Side.A, *names(90)[45:])
    stage.await_stall("of 101 znodes are gone")


def test_more_may_be_missing_than_may_wait(stage: Stage) -> None:
    stage.world.tuning |= {"backlog_max": 20, "delete_share_max": 1}
    stage.make(Side.A, *names(60))
    stage.world.come_to_rest()
    stage.world.stop()
    stage.drop(Side.A, *names(50))
    stage.world.come_to_rest()
    assert stage.names(Side.B) == stage.names(Side.A)


def test_what_only_the_other_sides_clients_made_is_told_as_that(stage: Stage) -> None:
    stage.make(Side.A, *names(50))
    stage.world.come_to_rest()
    foreign = names(60, "foreign")
    stage.make(Side.B, *foreign)
    stage.world.loop.run(stage.engine.audit(30))
    stage.await_stall("60 znodes are on side b that side a, with 51, never had")
    stage.drop(Side.A, *names(5))
    (waits,) = shown(stage)
    stage.engine.confirm(SUBTREE, waits.seen)
    stage.world.come_to_rest()
    assert stage.names(Side.B) == stage.names(Side.A)
    assert len(stage.world.conflicts()) == len(foreign)


def test_word_about_the_other_sides_znodes_is_no_word_for_a_mass_delete(stage: Stage) -> None:
    stage.make(Side.A, *names(50))
    stage.world.come_to_rest()
    stage.make(Side.B, *names(60, "foreign"))
    stage.world.loop.run(stage.engine.audit(30))
    stage.await_stall("are on side b")
    stage.drop(Side.A, *names(40))
    stage.engine.confirm(SUBTREE)
    stage.await_stall("40 of 51 znodes are gone on side a")
