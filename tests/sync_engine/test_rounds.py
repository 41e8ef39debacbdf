"""Rounds that overlap: what they may take, whom they let in, and what a failure leaves dirty."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_engine.dirty import Dirty, DirtySet, Footprint
from sync_engine.rounds import Rounds, Turn
from sync_engine.sizes import Sizes
from tests.waiting import until

_RELS = st.lists(st.sampled_from("abc"), max_size=3).map(
    lambda names: "".join(f"/{n}" for n in names)
)


def _dirty(*rels: str) -> DirtySet:
    found = DirtySet(1000)
    for rel in rels:
        found.add(rel, Dirty(None))
    return found


def _above(rel: str) -> str:
    return rel.rpartition("/")[0]


@given(st.sets(_RELS), st.lists(_RELS, unique=True), st.integers(1, 9))
def test_nothing_is_taken_that_is_close_to_what_is_under_way_or_has_to_wait(
    under_way: set[str], rels: list[str], count: int
) -> None:
    taken = Footprint()
    taken.add(under_way)
    dirty = _dirty(*rels)
    found = dirty.take(count, apart_from=taken)
    assert len(found) <= count
    assert len(found) + len(dirty) == len(rels)
    for rel in found:
        close = {rel, _above(rel)} | {other for other in under_way if _above(other) == rel}
        assert not close & under_way
    order = [rel for rel in rels if rel not in found]
    for later in found:
        waiting = [rel for rel in order if rels.index(rel) < rels.index(later)]
        assert not any(later == _above(rel) or _above(later) == rel for rel in waiting)


@given(st.lists(_RELS, unique=True))
def test_a_footprint_that_is_given_back_leaves_nothing(rels: list[str]) -> None:
    taken = Footprint()
    taken.add(rels)
    taken.remove(rels)
    assert not len(taken)
    assert not any(taken.meets(rel) for rel in rels)


async def test_a_round_begins_while_another_is_under_way_but_not_on_its_paths() -> None:
    dirty = _dirty("/a")
    begun: list[str] = []
    gates = {"/a": asyncio.Event(), "/b": asyncio.Event()}

    async def look(batch: dict[str, Dirty]) -> bool:
        begun.extend(batch)
        await asyncio.gather(*(gates[rel].wait() for rel in batch))
        return True

    rounds = Rounds(dirty, look)
    running = asyncio.create_task(rounds.run(lambda _: True))
    await until(lambda: begun == ["/a"], "the first round")
    dirty.add("/a", Dirty(None))
    dirty.add("/b", Dirty(None))
    rounds.wake()
    await until(lambda: begun == ["/a", "/b"], "a second round beside the first")
    gates["/b"].set()
    gates["/a"].set()
    await running
    assert begun == ["/a", "/b", "/a"]
    assert not len(rounds)


async def test_a_failed_round_leaves_its_paths_dirty_and_lets_the_others_end() -> None:
    dirty = _dirty("/a", "/b")
    ended = asyncio.Event()

    async def look(batch: dict[str, Dirty]) -> bool:
        if "/b" in batch:
            dirty.add("/c", Dirty(None))
            rounds.wake()
            await until(lambda: not dirty, "a round beside this one")
            raise OSError
        await asyncio.sleep(0)
        ended.set()
        return True

    rounds = Rounds(dirty, look)
    with pytest.raises(OSError, match=r"^$"):
        await rounds.run(lambda _: True)
    assert ended.is_set()
    assert set(dirty.take(9, apart_from=Footprint())) == {"/a", "/b"}


async def test_a_cancelled_round_leaves_its_paths_dirty() -> None:
    dirty = _dirty("/a")

    async def look(_batch: dict[str, Dirty]) -> bool:
        await asyncio.Event().wait()
        return True

    rounds = Rounds(dirty, look)
    running = asyncio.create_task(rounds.run(lambda _: True))
    await until(lambda: len(rounds) == 1, "the round")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert set(dirty.take(9, apart_from=Footprint())) == {"/a"}


async def test_the_holder_of_a_turn_sees_who_waits() -> None:
    turn = Turn()
    async with turn:
        assert not turn.is_wanted
        waiting = asyncio.create_task(turn.acquire())
        await until(lambda: turn.is_wanted, "somebody waits")
        waiting.cancel()
        await until(lambda: not turn.is_wanted, "nobody waits")


@pytest.mark.parametrize(
    ("sizes", "before"),
    [
        # Shrinks slowly, step by step.
        ([(float(at), 100 - at) for at in range(60)], 100),
        ([(float(at), 100 - at) for at in range(81)], 81),
        # Within one step of the window, too.
        ([(0.0, 100), (0.1, 60), (0.2, 20)], 100),
        # What came within the window was not there at its beginning.
        ([(0.0, 10), (5.0, 90), (30.0, 12)], 10),
        # A change, and then nothing for long: that is the size since.
        ([(0.0, 100), (0.5, 9), (600.0, 9)], 9),
        ([(0.0, 9), (0.5, 100), (600.0, 40)], 100),
    ],
)
def test_the_size_of_a_minute_ago_is_known(sizes: list[tuple[float, int]], before: int) -> None:
    at = 0.0
    clock: Callable[[], float] = lambda: at  # noqa: E731 - it reads a local
    window = Sizes(clock)
    found = 0
    for moment, size in sizes:
        at = moment
        found = window.note(size)
    assert found == before
    window.forget()
    assert window.note(3) == 3
