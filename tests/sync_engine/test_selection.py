"""Subtrees of which the rules take in a part: the real engine between ensembles in memory."""

from __future__ import annotations

from typing import Any

import pytest

from sync_engine.acl_fence import fence, is_fenced
from sync_engine.base import Base
from sync_engine.direction import Side
from sync_engine.report import AuditReport
from sync_engine.wire import ANY_VERSION, SetData
from sync_engine.znode import PERM_ALL, PERM_READ, Acl
from tests.sync_engine.memory.stage import Stage
from tests.sync_engine.memory.tree import SetAcl
from tests.sync_engine.memory.world import ROOTS, World


class Rules(Stage):
    """The engine runs under one rule after the other."""

    def run(self, **rule: Any) -> None:
        """Start the engine, under another rule than before."""
        if self.world.engine is not None:
            self.world.stop()
        self.world.rule = rule
        self.world.start()
        self.rest()

    def rest(self) -> None:
        """Let the engine do all it wants."""
        self.world.come_to_rest()

    def put(self, side: Side, rel: str, data: bytes) -> None:
        write = SetData(ROOTS.path(side, rel), data, ANY_VERSION)
        assert self.clients[side].write(write) is not None

    def data(self, side: Side, rel: str) -> bytes | None:
        found = self.world.sides[side].copy(ROOTS.path(side, rel))
        assert found is not None, rel
        return found.data

    def audit(self) -> AuditReport:
        assert self.world.engine is not None
        return self.world.loop.run(self.world.engine.audit(60))

    @property
    def base(self) -> Base:
        return self.world.replicator.subtree.base

    @property
    def reasons(self) -> list[str]:
        """Why conflicts were recorded."""
        return [str(line["reason"]) for line in self.world.conflicts()]


@pytest.fixture
def stage(world: World) -> Rules:
    return Rules(world)


def test_what_is_left_out_is_left_alone_on_both_sides(stage: Rules) -> None:
    stage.make(Side.A, "/apps", "/apps/x", "/apps/x/config", "/apps/x/log", "/other")
    stage.make(Side.A, "/apps/x/config/secret", "/apps/x/config/secret/key")
    stage.run(include=["/apps/*/config"], exclude=["/**/secret"])
    ours = ["/apps", "/apps/x", "/apps/x/config"]
    assert stage.names(Side.B) == ours
    stage.make(Side.B, "/apps/x/config/secret", "/apps/x/own", "/own", data=b"b's")
    stage.make(Side.A, "/apps/x/config/live", "/apps/x/log/line", "/other/y")
    stage.drop(Side.A, "/apps/x/config/secret/key")
    stage.put(Side.A, "/apps/x/config/secret", b"a's")
    stage.rest()
    ours.append("/apps/x/config/live")
    assert stage.names(Side.B) == sorted([*ours, "/apps/x/config/secret", "/apps/x/own", "/own"])
    assert stage.data(Side.B, "/apps/x/config/secret") == b"b's"
    report = stage.audit()
    assert report.equal, report
    assert report.subtrees["apps"].znodes == len(stage.base) == 1 + len(ours)
    assert not stage.reasons


def test_another_exclude_between_runs_deletes_nothing(stage: Rules) -> None:
    stage.make(Side.A, "/x", "/x/both", "/x/deleted", "/x/changed", "/y")
    stage.run()
    before = stage.names(Side.B)
    stage.run(exclude=["/x"])
    stage.drop(Side.A, "/x/deleted", "/y")
    stage.put(Side.A, "/x/changed", b"new")
    stage.make(Side.B, "/x/only-b")
    stage.rest()
    assert stage.names(Side.B) == sorted([*before, "/x/only-b"])[:-1]
    assert stage.data(Side.B, "/x/changed") == b"x"
    assert stage.audit().equal


def test_what_is_taken_in_again_is_told_by_what_was_last_equal(stage: Rules) -> None:
    stage.make(Side.A, "/x", "/x/both", "/x/deleted", "/x/changed")
    stage.run()
    stage.run(exclude=["/x"])
    stage.drop(Side.A, "/x/deleted")
    stage.put(Side.A, "/x/changed", b"new")
    stage.make(Side.B, "/x/only-b")
    stage.rest()
    stage.run()
    # Deleted by its owner meanwhile, and known to be; what nobody knows of waits for an operator.
    assert stage.names(Side.A) == ["/x", "/x/both", "/x/changed"]
    assert stage.names(Side.B) == ["/x", "/x/both", "/x/changed", "/x/only-b"]
    assert stage.data(Side.B, "/x/changed") == b"new"
    assert [d.kind for d in stage.audit().subtrees["apps"].differences] == ["only_b"]
    stage.rest()
    assert "/x/only-b" in stage.names(Side.B)
    assert not stage.reasons


def test_what_was_never_copied_is_not_deleted_when_it_is_taken_in(stage: Rules) -> None:
    stage.make(Side.A, "/x", "/out", "/out/a")
    stage.run(exclude=["/out"])
    stage.make(Side.B, "/out", "/out/b")
    stage.run()
    assert stage.names(Side.B) == ["/out", "/out/a", "/out/b", "/x"]
    stage.audit()
    stage.rest()
    assert "/out/b" in stage.names(Side.B)


def test_both_ways_bring_back_nothing_that_was_deleted_while_left_out(stage: Rules) -> None:
    stage.make(Side.A, "/x", "/x/deleted", "/x/stays")
    stage.run(direction="both")
    stage.run(direction="both", exclude=["/x"])
    stage.drop(Side.A, "/x/deleted")
    stage.make(Side.B, "/x/new")
    stage.run(direction="both")
    assert stage.names(Side.A) == stage.names(Side.B) == ["/x", "/x/new", "/x/stays"]


def test_many_deletes_while_left_out_wait_for_an_operator(stage: Rules) -> None:
    many = [f"/x/{number}" for number in range(40)]
    stage.make(Side.A, "/x", *many)
    stage.run()
    stage.run(exclude=["/x"])
    stage.drop(Side.A, *many)
    stage.run()
    assert "40 of 42 znodes are gone" in (stage.world.replicator.stalled or "")
    assert len(stage.names(Side.B)) == 41


def test_a_conflict_that_waits_is_not_forgotten_while_it_is_left_out(stage: Rules) -> None:
    rule = {"direction": "both", "on_conflict": "manual"}
    stage.make(Side.A, "/x")
    stage.run(**rule)
    stage.world.stop()
    stage.put(Side.A, "/x", b"a")
    stage.put(Side.B, "/x", b"b")
    stage.run(**rule)
    held = stage.world.replicator.subtree.shared.held
    assert list(held.entries) == ["/x"]
    stage.run(**rule, exclude=["/x"])
    assert not stage.world.replicator.subtree.shared.held.entries
    assert stage.audit().equal
    stage.run(**rule)
    assert list(stage.world.replicator.subtree.shared.held.entries) == ["/x"]
    assert (stage.data(Side.A, "/x"), stage.data(Side.B, "/x")) == (b"a", b"b")


def test_a_deleted_tree_stays_where_something_left_out_is_below_it(stage: Rules) -> None:
    rule = {"exclude": ["/**/cache"]}
    stage.make(Side.A, "/x", "/x/y", "/x/y/z", "/x/y/z/end", "/x/plain")
    stage.run(**rule)
    stage.make(Side.B, "/x/y/cache", "/x/y/cache/entry")
    stage.drop(Side.A, "/x/y/z/end", "/x/y/z", "/x/y", "/x/plain", "/x")
    stage.rest()
    kept = ["/x", "/x/y", "/x/y/cache", "/x/y/cache/entry"]
    assert stage.names(Side.B) == kept
    assert stage.base.kept == {"/x", "/x/y"}
    assert stage.audit().equal
    assert not stage.world.replicator.subtree.counters.skipped
    assert stage.world.is_idle
    stage.run(**rule)
    assert stage.names(Side.B) == kept
    assert stage.world.replicator.stalled is None
    # It goes with the last of what was below it.
    stage.drop(Side.B, "/x/y/cache/entry", "/x/y/cache")
    stage.rest()
    assert stage.names(Side.B) == []
    assert not stage.base.kept
    assert not stage.reasons


def test_what_stays_is_its_owners_again_when_it_is_created_again(stage: Rules) -> None:
    stage.make(Side.A, "/x", "/x/y")
    stage.run(exclude=["/x/y/cache"])
    stage.make(Side.B, "/x/y/cache")
    stage.drop(Side.A, "/x/y", "/x")
    stage.rest()
    assert stage.base.kept == {"/x", "/x/y"}
    stage.make(Side.A, "/x", data=b"again")
    stage.rest()
    assert stage.data(Side.B, "/x") == b"again"
    assert stage.base.kept == {"/x/y"}
    assert stage.audit().equal
    stage.drop(Side.A, "/x")
    stage.rest()
    assert stage.names(Side.B) == ["/x", "/x/y", "/x/y/cache"]
    assert not stage.reasons


@pytest.mark.parametrize("is_restarted", [False, True], ids=["at once", "over a restart"])
def test_what_stayed_is_copied_once_its_side_owns_it_and_nothing_left_out_is_below(
    stage: Rules, is_restarted: bool
) -> None:
    rule = {"exclude": ["/**/cache"]}
    stage.make(Side.A, "/x", "/x/y", "/plain")
    stage.run(**rule)
    stage.make(Side.B, "/x/cache", "/x/y/cache")
    stage.drop(Side.A, "/x/y", "/x")
    stage.rest()
    assert stage.world.flip(Side.B) is not None, stage.world.refusal
    stage.rest()
    # It stays alone, though its side is the owner's now.
    assert stage.names(Side.A) == ["/plain"]
    assert stage.base.kept == {"/x", "/x/y"}
    stage.drop(Side.B, "/x/cache")
    stage.rest()
    assert stage.names(Side.A) == ["/plain"]
    if is_restarted:
        stage.world.stop()
        stage.drop(Side.B, "/x/y/cache")
        stage.run(**rule)
    else:
        stage.drop(Side.B, "/x/y/cache")
        stage.rest()
    assert stage.names(Side.A) == stage.names(Side.B) == ["/plain", "/x", "/x/y"]
    assert not stage.base.kept
    assert stage.audit().equal
    assert not stage.reasons
    stage.drop(Side.B, "/x/y", "/x")
    stage.rest()
    assert stage.names(Side.A) == ["/plain"]


def test_what_stays_goes_when_its_new_owner_deletes_it(stage: Rules) -> None:
    stage.make(Side.A, "/x")
    stage.run(exclude=["/*/cache"])
    stage.make(Side.B, "/x/cache")
    stage.drop(Side.A, "/x")
    stage.rest()
    assert stage.world.flip(Side.B) is not None, stage.world.refusal
    stage.drop(Side.B, "/x/cache", "/x")
    stage.rest()
    assert stage.names(Side.A) == stage.names(Side.B) == []
    assert not stage.base.kept
    assert not stage.reasons


def test_what_stays_goes_though_the_owner_was_another_one_meanwhile(stage: Rules) -> None:
    stage.make(Side.A, "/x")
    stage.run(exclude=["/*/cache"])
    stage.make(Side.B, "/x/cache")
    stage.drop(Side.A, "/x")
    stage.rest()
    for owner in (Side.B, Side.A):
        assert stage.world.flip(owner) is not None, stage.world.refusal
        stage.rest()
    stage.drop(Side.B, "/x/cache")
    stage.rest()
    assert stage.names(Side.A) == stage.names(Side.B) == []
    assert not stage.base.kept


def test_a_flip_lets_go_of_what_nothing_left_out_is_below_any_more(stage: Rules) -> None:
    stage.make(Side.A, "/x", "/x/y", "/z")
    stage.run(exclude=["/**/cache"])
    stage.make(Side.B, "/x/y/cache", "/z/cache")
    stage.drop(Side.A, "/x/y", "/x", "/z")
    stage.rest()
    # At once: no sweep comes between.
    stage.drop(Side.B, "/x/y/cache")
    assert stage.world.flip(Side.B) is not None, stage.world.refusal
    assert stage.names(Side.B) == ["/z", "/z/cache"]
    stage.drop(Side.B, "/z/cache")
    assert stage.world.flip(Side.A) is not None, stage.world.refusal
    # By then it was the owner's, and no sweep had copied it yet.
    stage.rest()
    assert stage.names(Side.A) == stage.names(Side.B) == ["/z"]
    assert not stage.base.kept
    assert not stage.reasons


@pytest.mark.parametrize("first", ["/x/cache", "/x/y/cache"])
def test_what_stays_below_what_has_to_stay_is_not_copied_before_it(
    stage: Rules, first: str
) -> None:
    stage.make(Side.A, "/x", "/x/y", "/plain")
    stage.run(exclude=["/**/cache"])
    caches = ["/x/cache", "/x/y/cache"]
    stage.make(Side.B, *caches)
    stage.drop(Side.A, "/x/y", "/x")
    stage.rest()
    assert stage.world.flip(Side.B) is not None, stage.world.refusal
    caches.remove(first)
    stage.drop(Side.B, first)
    stage.rest()
    assert stage.names(Side.A) == ["/plain"]
    assert stage.base.kept == {"/x", "/x/y"}
    stage.drop(Side.B, *caches)
    stage.rest()
    assert stage.names(Side.A) == stage.names(Side.B) == ["/plain", "/x", "/x/y"]
    assert not stage.base.kept


def test_both_ways_do_not_bring_back_what_stays(stage: Rules) -> None:
    rule = {"direction": "both", "exclude": ["/*/cache"]}
    stage.make(Side.A, "/x", "/plain")
    stage.run(**rule)
    stage.make(Side.B, "/x/cache")
    stage.drop(Side.A, "/x")
    stage.rest()
    for _ in range(2):
        assert stage.names(Side.A) == ["/plain"]
        assert stage.names(Side.B) == ["/plain", "/x", "/x/cache"]
        assert stage.audit().equal
        stage.run(**rule)
    # Once clients write below it, it lives again on both sides.
    stage.make(Side.B, "/x/new")
    stage.rest()
    assert stage.names(Side.A) == ["/plain", "/x", "/x/new"]
    stage.put(Side.A, "/x", b"shared")
    stage.rest()
    assert stage.data(Side.B, "/x") == b"shared"
    assert not stage.reasons


def test_both_ways_write_what_stays_anew_when_a_client_does(stage: Rules) -> None:
    stage.make(Side.A, "/x")
    stage.run(direction="both", exclude=["/*/cache"])
    stage.make(Side.B, "/x/cache")
    stage.drop(Side.A, "/x")
    stage.rest()
    stage.put(Side.B, "/x", b"alive")
    stage.rest()
    assert stage.data(Side.A, "/x") == b"alive"
    assert not stage.base.kept
    assert not stage.reasons


def test_a_flip_fences_and_pads_only_what_is_taken_in(stage: Rules) -> None:
    stage.make(Side.A, "/in", "/out", "/out/node")
    stage.run(exclude=["/out"])
    stage.make(Side.B, "/out")
    for rel in ("/in/n1", "/in/n2", "/out/n1"):
        stage.make(Side.A, rel)
        stage.drop(Side.A, rel)
    stage.rest()
    before = stage.world.sides[Side.B].copy(ROOTS.path(Side.B, "/out"))
    report = stage.world.flip(Side.B)
    assert report is not None, stage.world.refusal
    # What the copies themselves counted is as many already.
    assert stage.world.sides[Side.B].copy(ROOTS.path(Side.B, "/out")) == before
    assert _is_fenced(stage, "/in")
    assert not _is_fenced(stage, "/out/node")
    # Left out since it was fenced, it is freed with the rest on the way back.
    stage.run(exclude=["/out", "/in"])
    assert stage.world.flip(Side.A) is not None, stage.world.refusal
    assert not _is_fenced(stage, "/in")


def test_an_acl_changed_while_patterns_change_reaches_the_fenced_side(stage: Rules) -> None:
    stage.make(Side.A, "/in", "/out")
    stage.run()
    assert stage.world.flip(Side.B) is not None, stage.world.refusal
    stage.world.stop()
    acl = (Acl(PERM_ALL, "digest", "app:hash"), Acl(PERM_READ, "digest", "reader:hash"))
    path = ROOTS.path(Side.B, "/in")
    assert stage.clients[Side.B].write(SetAcl(path, acl, ANY_VERSION)) is not None

    stage.run(exclude=["/out"])

    copy = stage.world.sides[Side.A].copy(ROOTS.path(Side.A, "/in"))
    assert copy is not None
    assert set(copy.acl) == set(fence(acl))


def _is_fenced(stage: Rules, rel: str) -> bool:
    found = stage.world.sides[Side.A].copy(ROOTS.path(Side.A, rel))
    assert found is not None
    return is_fenced(found.acl)
