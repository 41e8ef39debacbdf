"""The client group that writes: its log says what must hold, and seeded faults are found."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.security import make_digest_acl

from stacks.local.errors import StartError
from stacks.local.session import Session
from stacks.local.traffic import verify
from stacks.local.traffic_settings import TrafficSettings
from stacks.local.writes.ledger import Ledger, pauses, read, replay, sequence_problems, sha
from stacks.local.writes.verify import Report
from stacks.local.writes.writer import Writer, read_identity
from tests.ports import free_port
from tests.waiting import until

SUPER = "super:secret"


def settings_of(hosts: str, folder: Path, root: str, **more: Any) -> TrafficSettings:
    given = {
        "listen": f"127.0.0.1:{free_port()}",
        "work_dir": folder,
        "hosts": hosts,
        "path": root,
        "znodes": 60,
        "rate_per_s": 400,
        "zk_session_timeout_s": 2,
        **more,
    }
    return TrafficSettings.model_validate(given)


async def write(settings: TrafficSettings, acknowledged: int) -> Writer:
    """Write so much, and stop in order."""
    assert settings.hosts is not None
    identity = read_identity(settings.work_dir)
    session = Session(settings.hosts, timeout_s=2, auth=identity)
    writer = Writer(settings, session, identity)
    await session.start(bound_s=10)
    await writer.open()
    stop = asyncio.Event()
    run = asyncio.ensure_future(writer.run(stop))
    await until(lambda: writer.counts.acknowledged >= acknowledged, "writes are acknowledged")
    stop.set()
    await run
    await writer.close()
    return writer


async def check(settings: TrafficSettings) -> Report:
    log = settings.work_dir / "acks.jsonl"
    assert settings.hosts is not None
    return await asyncio.to_thread(verify, log, settings.hosts, SUPER, settings.path)


@pytest.fixture
def root() -> str:
    return f"/apps/test-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def admin(zookeeper: str) -> Iterator[Any]:
    client = KazooClient(zookeeper, auth_data=[("digest", SUPER)])
    client.start(timeout=10)
    yield client
    client.stop()
    client.close()


async def test_every_acknowledged_write_is_found(zookeeper: str, tmp_path: Path, root: str) -> None:
    settings = settings_of(zookeeper, tmp_path, root)
    await write(settings, 600)
    report = await check(settings)
    assert report.ok, report
    assert report.acknowledged >= 600
    records = list(read(tmp_path / "acks.jsonl"))
    operations = {r["op"] for r in records if r["kind"] == "ack"}
    assert operations == {"create", "set", "delete", "set_acl", "sequence"}
    assert [r["kind"] for r in records[:1]] == ["started"]
    assert records[-1]["kind"] == "stopped"
    acls = {tuple(r["acl"]) for r in records if r["kind"] == "ack"}
    assert any(acl[0].startswith("digest:") for acl in acls)


async def test_a_second_process_goes_on_where_the_first_stopped(
    zookeeper: str, tmp_path: Path, root: str
) -> None:
    settings = settings_of(zookeeper, tmp_path, root)
    await write(settings, 200)
    await write(settings, 200)
    report = await check(settings)
    assert report.ok, report
    kinds = [r["kind"] for r in read(tmp_path / "acks.jsonl")]
    ((stopped, resumed),) = pauses(read(tmp_path / "acks.jsonl"))
    assert 0 < resumed - stopped < 10
    assert kinds.count("started") == kinds.count("stopped") == kinds.count("first_ack") == 2


async def test_seeded_faults_are_found(
    zookeeper: str, tmp_path: Path, root: str, admin: Any
) -> None:
    settings = settings_of(zookeeper, tmp_path, root)
    await write(settings, 300)
    expected = replay(read(tmp_path / "acks.jsonl"))
    live = sorted(p for p, s in expected.last.items() if s is not None and "/data/" in p)
    gone = sorted(p for p, s in expected.last.items() if s is None and "/data/" in p)
    missing, changed, opened = live[0], live[1], live[2]
    await asyncio.to_thread(admin.delete, missing)
    await asyncio.to_thread(admin.set, changed, b"older")
    await asyncio.to_thread(admin.set_acls, opened, [make_digest_acl("x", "y", read=True)])
    await asyncio.to_thread(admin.create, f"{root}/data/d000/stray", b"")
    if gone:
        await asyncio.to_thread(admin.create, gone[0], b"")
    report = await check(settings)
    assert not report.ok
    assert report.missing == [missing]
    assert report.different == [changed]
    assert report.acl_different == [opened]
    assert report.unexplained == [f"{root}/data/d000/stray"]
    assert report.resurrected == gone[:1]


async def test_attempts_that_a_killed_process_left_open_are_settled(
    zookeeper: str, tmp_path: Path, root: str, admin: Any
) -> None:
    settings = settings_of(zookeeper, tmp_path, root)
    await write(settings, 200)
    expected = replay(read(tmp_path / "acks.jsonl"))
    applied, lost = [p for p, s in expected.last.items() if s is not None and "/data/" in p][:2]
    ledger = Ledger(tmp_path / "acks.jsonl")
    for path in (applied, lost):
        state = expected.last[path]
        assert state is not None
        ledger.note("try", op="set", path=path, sha=sha(b"in flight"), acl=list(state.acl))
    ledger.close()
    await asyncio.to_thread(admin.set, applied, b"in flight")
    settled = await write(settings, 100)
    assert settled.counts.resolved == 2
    records = list(read(tmp_path / "acks.jsonl"))
    outcomes = {r["path"]: r["kind"] for r in records if r.get("resolved")}
    assert outcomes == {applied: "ack", lost: "fail"}
    assert (await check(settings)).ok


def test_sequential_names_that_repeat_or_go_back_are_found() -> None:
    def ack(name: str) -> dict[str, Any]:
        return {"kind": "ack", "op": "sequence", "path": f"/q/{name}", "sha": "x", "acl": []}

    good = [ack("item-a-0000000001"), ack("item-b-0000000002")]
    assert sequence_problems(replay(good)) == []
    assert len(sequence_problems(replay([*good, ack("item-c-0000000002")]))) == 1
    assert len(sequence_problems(replay([*good, ack("item-c-0000000001")]))) == 1


def test_an_attempt_without_outcome_allows_both_states(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "log")
    first = {"op": "create", "path": "/a", "sha": sha(b"1"), "acl": ["w"]}
    second = {"op": "set", "path": "/a", "sha": sha(b"2"), "acl": ["w"]}
    for kind, record in (("try", first), ("ack", first), ("try", second)):
        ledger.note(kind, **record)
    ledger.close()
    expected = replay(read(tmp_path / "log"))
    states = [state.sha for state in expected.allowed("/a") if state is not None]
    assert states == [sha(b"1"), sha(b"2")]


def test_a_sequential_attempt_whose_number_nobody_was_told_explains_one_node() -> None:
    def attempt(op: str, path: str) -> dict[str, Any]:
        return {"kind": "try", "op": op, "path": path, "sha": "x", "acl": []}

    expected = replay([attempt("sequence", "/q/item-a-"), attempt("create", "/q/node-")])
    one, twice = "/q/item-a-0000000007", "/q/item-a-0000000008"
    others = ["/q/item-b-0000000007", "/q/node-0000000007"]
    assert expected.unexplained([one, "/q/node-"]) == []
    assert expected.unexplained([one, twice, *others]) == [twice, *others]
    told = {**attempt("sequence", "/q/item-a-"), "kind": "ack", "path": one}
    told["try_path"] = "/q/item-a-"
    assert replay([attempt("sequence", "/q/item-a-"), told]).unexplained([one, twice]) == [twice]


def test_a_line_that_a_kill_has_cut_is_left_out_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text('{"kind": "started"}\n{"kind": "ac')
    assert [record["kind"] for record in read(path)] == ["started"]
    Ledger(path).close()
    assert path.read_text() == '{"kind": "started"}\n'


def test_an_ensemble_that_is_away_is_told_plainly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stacks.local.writes.verify._CONNECT_TIMEOUT_S", 0.3)
    (tmp_path / "log").write_text("")
    with pytest.raises(StartError, match="is the ensemble up"):
        verify(tmp_path / "log", f"127.0.0.1:{free_port()}", None)


async def test_a_killed_process_loses_no_acknowledged_write(
    zookeeper: str, tmp_path: Path, root: str
) -> None:
    settings = settings_of(zookeeper, tmp_path / "work", root)
    config = tmp_path / "traffic.json"
    config.write_text(settings.model_dump_json())
    command = [sys.executable, "-m", "stacks.local.traffic", "--config", str(config)]
    log = tmp_path / "work" / "acks.jsonl"

    def acknowledged() -> int:
        if not log.exists():
            return 0
        return sum(1 for record in read(log) if record["kind"] == "ack")

    for number in (signal.SIGKILL, signal.SIGTERM):
        before = acknowledged()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: ASYNC220 - starting is quick
        try:
            await until(lambda seen=before: acknowledged() > seen + 150, "writes go on")
        finally:
            os.kill(process.pid, number)
            process.wait(20)
    assert json.loads(log.read_text().splitlines()[-1])["kind"] == "stopped"
    report = await check(settings)
    assert report.ok, report
    assert time.time() - json.loads(log.read_text().splitlines()[-1])["t"] < 60
