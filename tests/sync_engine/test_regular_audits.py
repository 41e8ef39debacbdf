"""Audits that nobody asked for: the real engine between ensembles in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sync_engine.direction import Side
from sync_engine.report import AuditReport
from sync_engine.wire import ANY_VERSION, Delete, SetData
from sync_engine.znode import WORLD_ALL
from tests.sync_engine.memory.ensemble import Client
from tests.sync_engine.memory.tree import Create
from tests.sync_engine.memory.world import World

_INTERVAL_S = 90.0
Made = Callable[..., World]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    worlds: list[World] = []

    def make(**tuning: Any) -> World:
        world = World(1, tmp_path, **tuning)
        worlds.append(world)
        client = Client(world.sides[Side.A], "client")
        client.write(Create("/apps/x", b"ours", WORLD_ALL))
        world.come_to_rest()
        return world

    yield make
    for world in worlds:
        world.close()


def write_on_b(world: World) -> None:
    """What nobody who is listened to tells of."""
    client = Client(world.sides[Side.B], "foreign")
    assert client.write(SetData("/other/apps/x", b"foreign", ANY_VERSION)) is not None


def data_on_b(world: World) -> bytes | None:
    copy = world.sides[Side.B].copy("/other/apps/x")
    assert copy is not None
    return copy.data


def last_audit(world: World) -> AuditReport | None:
    assert world.engine is not None
    return world.engine.last_audit


def test_what_a_client_wrote_on_the_other_side_is_found_told_and_mended(made: Made) -> None:
    world = made(audit_interval_s=_INTERVAL_S)
    write_on_b(world)
    world.pass_s(_INTERVAL_S / 2)
    assert data_on_b(world) == b"foreign"
    world.until(lambda: data_on_b(world) == b"ours", "the mend", _INTERVAL_S)
    found = last_audit(world)
    assert found is not None
    assert [d.path for d in found.subtrees["apps"].differences] == ["/apps/x"]
    assert [line["reason"] for line in world.conflicts()] == ["changed-by-other"]
    # It looks again soon, and the status tells of no more differences.
    world.pass_s(100)
    found = last_audit(world)
    assert found is not None
    assert found.equal


def test_none_is_made_where_the_interval_is_zero(made: Made) -> None:
    world = made(audit_interval_s=0)
    write_on_b(world)
    world.pass_s(3 * _INTERVAL_S)
    assert last_audit(world) is None
    assert data_on_b(world) == b"foreign"


def test_one_under_way_gives_way_to_a_flip_and_is_made_afterwards(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than anything else takes.
    monkeypatch.setattr("sync_engine.audit._REST_S", 30.0)
    world = made(audit_interval_s=_INTERVAL_S)
    world.pass_s(_INTERVAL_S)
    assert last_audit(world) is None
    assert world.flip(Side.B) is not None, world.refusal
    assert last_audit(world) is None
    world.until(lambda: last_audit(world) is not None, "the audit", 200)
    found = last_audit(world)
    assert found is not None
    assert found.equal


def test_subtree_that_waits_for_an_operator_keeps_no_other_from_its_audit(made: Made) -> None:
    world = made(audit_interval_s=_INTERVAL_S)
    world.stop()
    world.others = [{"name": "jobs", "path_a": "/jobs", "path_b": "/jobs", "owner": "a"}]
    client = Client(world.sides[Side.A], "worker")
    jobs = [f"/jobs/{number}" for number in range(30)]
    for path in ("/jobs", *jobs):
        assert client.write(Create(path, b"", WORLD_ALL)) is not None
    world.come_to_rest()
    assert client.write(*(Delete(path, ANY_VERSION) for path in jobs)) is not None
    engine = world.engine
    assert engine is not None
    world.until(lambda: engine.replicators["jobs"].stalled, "a stall")

    write_on_b(world)
    world.until(lambda: data_on_b(world) == b"ours", "the mend", 2 * _INTERVAL_S)
    found = last_audit(world)
    assert found is not None
    assert list(found.subtrees) == ["apps"]

    # Nothing but what waits: nothing is looked at.
    engine.replicators["apps"].stall("a test", None)
    before = last_audit(world)
    world.pass_s(2 * _INTERVAL_S)
    assert last_audit(world) is before
    engine.confirm("apps")
    engine.confirm("jobs")
    world.until(lambda: len(getattr(last_audit(world), "subtrees", ())) == 2, "both", 200)
