"""What a merge hook's result may meet when it is written, on ensembles in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sync_engine import engine as engine_module
from sync_engine.direction import Side
from sync_engine.errors import QuotaExceededError
from sync_engine.merge import MergeRunner, Versions
from sync_engine.wire import ANY_VERSION, Delete, SetData
from sync_engine.znode import PERM_ALL, WORLD_ALL, Acl
from tests.sync_engine.memory.ensemble import Client, Ensemble
from tests.sync_engine.memory.tree import Create, RefusedError
from tests.sync_engine.memory.world import World

_LIMIT = 300_000
_RULE = {"direction": "both", "on_conflict": "merge", "merge_hook": "made-up"}
Hook = Callable[[Versions], bytes]


class _Inline(MergeRunner):
    """Asks the hook without a thread, which has no place in virtual time."""

    async def merge(self, versions: Versions) -> bytes:
        result = self._hook(versions)
        assert isinstance(result, bytes)
        return result


class Merging:
    """A world whose subtree merges; `hook` may be changed at any time."""

    def __init__(self, folder: Path) -> None:
        self.hook: Hook = lambda _: b"merged"
        self.world = World(1, folder)
        self.world.rule = _RULE
        self.a, self.b = (Client(self.world.sides[side], f"client-{side}") for side in Side)

    def ask(self, versions: Versions) -> bytes:
        """Ask the hook of this moment."""
        return self.hook(versions)

    def conflict(self) -> None:
        """Let both sides give `/x` another version each."""
        self.a.write(Create("/apps/x", b"of a", WORLD_ALL))
        self.b.write(Create("/other", b"", WORLD_ALL), Create("/other/apps", b"", WORLD_ALL))
        self.b.write(Create("/other/apps/x", b"of b", WORLD_ALL))
        self.world.start()

    def data(self, path: str) -> tuple[bytes | None, bytes | None]:
        """What stands at a path below the subtree's root, on both sides."""
        copies = (
            self.world.sides[Side.A].copy(f"/apps{path}"),
            self.world.sides[Side.B].copy(f"/other/apps{path}"),
        )
        a, b = (None if copy is None else copy.data for copy in copies)
        return a, b

    def skipped(self) -> set[str]:
        """Why `/x` is put aside, by either worker."""
        assert self.world.engine is not None
        found = [w.subtree.counters.skipped.get("/x") for w in self.world.engine.workers()]
        return {reason for reason in found if reason is not None}


@pytest.fixture
def merging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Merging]:
    made = Merging(tmp_path)

    def find(_: str) -> Hook:
        return made.ask

    monkeypatch.setattr(engine_module, "find_hook", find)
    monkeypatch.setattr(engine_module, "MergeRunner", _Inline)
    try:
        yield made
    finally:
        made.world.close()


def _give_quota(monkeypatch: pytest.MonkeyPatch, bytes_max: int) -> None:
    real: Callable[..., Any] = Ensemble.commit

    def commit(self: Ensemble, session: Any, ops: Sequence[Any], identities: Any) -> Any:
        for index, op in enumerate(ops):
            if isinstance(op, SetData) and len(op.data or b"") > bytes_max:
                raise RefusedError(index, QuotaExceededError.code)
        return real(self, session, ops, identities)

    monkeypatch.setattr(Ensemble, "commit", commit)


@pytest.mark.parametrize(
    ("refuses", "size", "reason"),
    [
        ("a quota", 200_000, "merged-quota-exceeded"),
        ("the servers", 400_000, "merged-too-large"),
        ("every server", 2_000_000, "merged-too-large"),
    ],
)
def test_merged_data_that_is_refused_leaves_the_path_waiting_and_the_rest_going_on(
    merging: Merging, monkeypatch: pytest.MonkeyPatch, refuses: str, size: int, reason: str
) -> None:
    world = merging.world
    if refuses == "a quota":
        _give_quota(monkeypatch, 100_000)
    if refuses == "the servers":
        for ensemble in world.sides.values():
            ensemble.frame_bytes_max = _LIMIT
    merging.hook = lambda _: bytes(size)
    merging.conflict()
    world.until(merging.skipped, "the refusal")
    assert merging.skipped() == {reason}
    merging.a.write(Create("/apps/y", b"y", WORLD_ALL))
    world.until(lambda: merging.data("/y") == (b"y", b"y"), "another path's copy")
    world.pass_s(10)
    assert merging.data("/x") == (b"of a", b"of b")
    assert merging.skipped() == {reason}
    assert world.engine is not None
    (waiting,) = world.engine.held().conflicts
    assert waiting.why == f"merge: {size} bytes were refused: {reason.removeprefix('merged-')}"
    # Not once more for each time that it was tried; one that is not even sent merges nothing.
    assert [line["held"] for line in world.conflicts()] == [False, True]
    # Nor for each start.
    world.stop()
    world.start()
    world.until(merging.skipped, "the refusal after a start")
    assert [line["held"] for line in world.conflicts()] == [False, True]

    merging.hook = lambda _: b"smaller"
    world.until(lambda: merging.data("/x") == (b"smaller", b"smaller"), "the merge")
    world.come_to_rest()
    assert not merging.skipped()
    assert not world.engine.held().conflicts


def test_znode_created_again_while_a_hook_works_is_recorded(merging: Merging) -> None:
    world = merging.world
    restricted = (Acl(PERM_ALL, "digest", "user:hash="),)

    def hook(_: Versions) -> bytes:
        copy = world.sides[Side.A].copy("/apps/x")
        if copy is not None and copy.data == b"of a":
            # At the version that the merge expects.
            merging.a.write(
                Delete("/apps/x", ANY_VERSION), Create("/apps/x", b"unseen", restricted)
            )
        return b"merged"

    merging.hook = hook
    merging.conflict()
    world.until(lambda: merging.data("/x") == (b"merged", b"merged"), "the merge")
    world.come_to_rest()
    assert merging.data("/x") == (b"merged", b"merged")
    (line,) = [one for one in world.conflicts() if one["reason"] == "created-again-by-other"]
    assert line["loser"] is None
    assert "was not seen" in line["why"]
    # Its ACL was not taken for the one that was read.
    copies = [world.sides[Side.A].copy("/apps/x"), world.sides[Side.B].copy("/other/apps/x")]
    assert {copy.acl for copy in copies if copy is not None} == {restricted}
