"""Containers of a real containerd, by its Container Runtime Interface."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from probe.agent.collector import State
from probe.agent.collectors import cri
from probe.agent.collectors.cri import CriCollector
from probe.agent.cri import Container, Image, Status
from probe.agent.errors import (
    AbsentError,
    AnswerError,
    HttpError,
    RefusedError,
    UnreachableError,
)
from probe.agent.files import read
from probe.agent.redaction import REDACTED
from probe.agent.site import KnownContainer
from tests.leaving import leave_out
from tests.probe import containerd
from tests.probe.containerd import Containerd
from tests.probe.sites import Clock, News, site
from tests.waiting import until

_BOUND_S = 90.0


@pytest.fixture(scope="module")
def runtime() -> Iterator[Containerd]:
    """A containerd; left out where there is none, which CI takes for a failure."""
    missing = [name for name in containerd.PROGRAMS if shutil.which(name) is None]
    why = f"not here: {missing}" if missing else "not root" if os.geteuid() else ""
    if why:
        leave_out(why)
    # Paths of sockets are short.
    with tempfile.TemporaryDirectory(prefix="cri-") as name, containerd.running(Path(name)) as one:
        yield one


class Seen:
    """A collector, and what it has told."""

    def __init__(self, path: Path) -> None:
        self.news = News()
        self.site = site(urgent=self.news)
        self.collector = CriCollector(self.site, str(path))

    def row(self, id_: str) -> dict[str, Any]:
        table = self.site.ledger["container"]
        return dict(table.node(id_)) if id_ in table else {}

    async def told(self, id_: str, **values: Any) -> dict[str, Any]:
        def is_told() -> bool:
            row = self.row(id_)
            return bool(row) and all(row.get(name) == value for name, value in values.items())

        await until(is_told, f"{values} are told, saw {self.row(id_)}", _BOUND_S)
        return self.row(id_)


@contextlib.asynccontextmanager
async def looking(runtime: Containerd) -> AsyncGenerator[Seen]:
    seen = Seen(runtime.socket)
    try:
        await seen.collector.start()
        await seen.collector.collect()
        yield seen
    finally:
        await seen.collector.close()
        await runtime.remove_all()


@pytest.mark.timeout(300)
async def test_containers_are_told_by_events_with_their_pod_and_its_pause_container(
    runtime: Containerd,
) -> None:
    async with looking(runtime) as seen:
        pod = await runtime.run_pod("web-1", "uid-1")
        id_ = await runtime.run(pod, "app", "/bin/busybox", "sleep", "1000")

        pause = await seen.told(pod[0], state="running")
        row = await seen.told(id_, state="running")

        assert pause["pause"] is True
        assert pause["name"] == "web-1"
        assert row["pause"] is False
        assert row["pod"] == pause["pod"] == "uid-1"
        assert row["name"] == "app"
        assert row["runtime"] == "containerd"
        assert row["image_name"] == containerd.IMAGE
        assert row["image"] in seen.site.ledger["container_image"]
        assert row["restarts"] == 3
        assert row["command"] == "/bin/busybox sleep 1000"
        assert row["labels"] == ["app=web", f"db-password={REDACTED}"]
        assert row["host_network"] is True
        assert read(f"/proc/{row['pid']}/cmdline").startswith(b"/bin/busybox")
        assert seen.news.count > 0
        capability = seen.collector.capability()
        assert "containerd" in capability.mode
        assert "events" in capability.mode

        await seen.collector.collect()
        assert seen.row(id_)["memory_bytes"] > 0
        assert capability.state is State.FULL, capability.misses

        await runtime.stop(id_)
        row = await seen.told(id_, state="exited")
        assert "pid" not in row
        assert row["exit_code"] == 137
        await runtime.remove(id_)
        await until(lambda: not seen.row(id_), "it is gone", _BOUND_S)
        await runtime.remove_pod(pod[0])
        await until(lambda: not seen.row(pod[0]), "its pod is gone", _BOUND_S)
        assert not seen.site.containers


@pytest.mark.timeout(300)
async def test_what_is_there_already_is_listed(runtime: Containerd) -> None:
    pod = await runtime.run_pod("old", "uid-2")
    id_ = await runtime.run(pod, "app", "/bin/busybox", "false")
    async with looking(runtime) as seen:
        row = await seen.told(id_, state="exited")
        assert row["exit_code"] == 1
        assert row["started_ms"] >= row["created_ms"]


async def test_without_a_runtime_it_says_what_would_add_one(tmp_path: Path) -> None:
    collector = CriCollector(site(), str(tmp_path / "none.sock"))
    with pytest.raises(AbsentError) as raised:
        await collector.start()
    await collector.close()
    assert "cri_socket" in raised.value.grant


async def test_containers_of_a_runtime_that_has_gone_stay_while_their_process_lives(
    tmp_path: Path,
) -> None:
    living, ended, own, other = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)
    place = site(proc=str(tmp_path))
    table = place.ledger["container"]
    for pid, id_ in enumerate((living, ended, own, other), 7):
        runtime = "docker" if id_ == other else "containerd"
        table.put(id_, runtime=runtime, state="running", pid=pid, cpu_percent=50.0)
        place.containers[id_] = KnownContainer(id_, pid, 0)
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "cgroup").write_text(f"0::/kubepods/cri-containerd-{id_}.scope\n")
    (tmp_path / "8" / "cgroup").write_text("0::/system.slice/cron.service\n")
    (tmp_path / "9" / "cgroup").write_text("0::/\n")

    collector = CriCollector(place, str(tmp_path / "none.sock"))
    with pytest.raises(AbsentError):
        await collector.start()
    await collector.close()

    assert table.ids() == [living, own, other]
    assert list(place.containers) == [living, own, other]
    assert table.get(living, "cpu_percent") is None
    assert table.get(other, "cpu_percent") == 50.0


class Broken:
    """A runtime with three containers, that cannot say what one of them does."""

    def __init__(self, error: HttpError) -> None:
        self.error: HttpError | None = error
        self.is_gone = False

    def at(self, _: str) -> Broken:
        return self

    async def version(self) -> tuple[str, str]:
        if self.is_gone:
            msg = "expected an answer, saw none"
            raise UnreachableError(msg)
        return "containerd", "1.7"

    async def containers(self) -> list[Container]:
        await asyncio.sleep(0)  # Whoever listens begins to.
        return [Container(id_, id_, "running", "") for id_ in ("a", "b", "c")]

    async def status(self, of: Container) -> Status:
        if of.id == "b" and self.error is not None:
            raise self.error
        return Status(None, ["run", of.id])

    async def images(self) -> list[Image]:
        return []

    async def events(self) -> AsyncGenerator[str]:
        await asyncio.Event().wait()
        yield ""

    async def close(self) -> None:
        pass


class Lengthy(Broken):
    """A runtime whose texts are longer than is shown of them, with a secret at the edge."""

    def __init__(self) -> None:
        super().__init__(AnswerError("no status"))

    async def containers(self) -> list[Container]:
        await asyncio.sleep(0)  # Whoever listens begins to.
        labels = {"url": f"{'x ' * 500}https://me:{'hunter22' * 9}@h/"}
        return [Container("a", "a", "running", "", labels=labels)]

    async def status(self, of: Container) -> Status:
        return Status(None, ["app", f"{'x ' * 2030}https://{of.id}:{'hunter22' * 9}@h/"])


async def test_secrets_go_before_a_text_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cri, "Runtime", Lengthy().at)
    place = site()
    collector = CriCollector(place, "none.sock")
    try:
        await collector.start()
        await collector.collect()
        (row,) = (node for _, node in place.ledger["container"])
        assert "x x" in str(row["command"])
        assert "x x" in str(row["labels"])
        assert "hunter22" not in str(row)
    finally:
        await collector.close()


@pytest.mark.parametrize(
    "error",
    [RefusedError("no shim", status=2), UnreachableError("saw none"), AnswerError("no status")],
    ids=["refused", "hangs", "unreadable"],
)
async def test_a_container_whose_status_cannot_be_had_is_missed_alone(
    monkeypatch: pytest.MonkeyPatch, error: HttpError
) -> None:
    runtime, clock = Broken(error), Clock()
    monkeypatch.setattr(cri, "Runtime", runtime.at)
    place = site(clock=clock)
    table = place.ledger["container"]
    collector = CriCollector(place, "none.sock")
    try:
        await collector.start()
        await collector.collect()
        misses = collector.capability().misses
        assert [table.get(id_, "command") for id_ in ("a", "b", "c")] == ["run a", None, "run c"]
        assert table.get("b", "state") == "running"
        assert [one.what for one in misses] == [
            f"status of 1 containers that the runtime does not tell ({error})"
        ]

        runtime.error = None
        clock.now += 60
        await collector.collect()
        await until(lambda: table.get("b", "command") == "run b", "it is asked for again")
        assert collector.capability().state is State.FULL
    finally:
        await collector.close()


async def test_a_runtime_that_hangs_is_not_taken_for_a_container_that_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runtime = Broken(UnreachableError("saw none"))
    monkeypatch.setattr(cri, "Runtime", runtime.at)
    collector = CriCollector(site(), "none.sock")
    try:
        await collector.start()
        runtime.is_gone = True
        with pytest.raises(UnreachableError, match="expected an answer"):
            await collector.collect()
    finally:
        await collector.close()


class Eventful(Broken):
    """A runtime whose statuses and images hang where a test says so, and that tells of events."""

    def __init__(self) -> None:
        super().__init__(UnreachableError("saw none"))
        self.listed: dict[str, Container] = {}
        self.hangs: set[str] = set()
        self.freed = asyncio.Event()
        self.asked: list[str] = []
        self._happened = asyncio.Event()

    def put(self, id_: str, state: str = "running", **more: Any) -> None:
        self.listed[id_] = Container(id_, id_, state, "", **more)
        self._happened.set()

    def end(self, id_: str) -> None:
        del self.listed[id_]
        self._happened.set()

    async def containers(self) -> list[Container]:
        await asyncio.sleep(0)
        return list(self.listed.values())

    async def status(self, of: Container) -> Status:
        self.asked.append(of.id)
        if of.id in self.hangs:
            await self.freed.wait()
        return Status(None, ["run", of.id], host_network=True if of.is_sandbox else None)

    async def images(self) -> list[Image]:
        if "images" in self.hangs:
            await asyncio.Event().wait()
        return []

    async def events(self) -> AsyncGenerator[str]:
        while True:
            await self._happened.wait()
            self._happened.clear()
            yield ""


@contextlib.asynccontextmanager
async def following(
    monkeypatch: pytest.MonkeyPatch, *ids: str, hangs: Iterable[str] = ()
) -> AsyncGenerator[tuple[Eventful, Seen]]:
    runtime = Eventful()
    runtime.hangs |= set(hangs)
    for id_ in ids:
        runtime.put(id_)
    monkeypatch.setattr(cri, "Runtime", runtime.at)
    monkeypatch.setattr(cri, "_LISTED_S_MAX", 0.2)
    seen = Seen(Path("none.sock"))
    try:
        await seen.collector.start()
        await seen.collector.collect()
        yield runtime, seen
    finally:
        await seen.collector.close()


async def test_events_are_followed_while_statuses_and_images_hang(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hangs = ("h1", "h2", "images")
    async with following(monkeypatch, "a", "h1", hangs=hangs) as (runtime, seen):
        await seen.told("a", command="run a")
        runtime.put("h2")
        await until(lambda: "h2" in runtime.asked, "it hangs")
        before = seen.news.count
        runtime.put("b")
        await seen.told("b", command="run b")
        runtime.put("a", "exited")
        await seen.told("a", state="exited")
        assert seen.news.count >= before + 2
        assert not seen.row("h2")
        # One that ends while it is looked at is gone.
        runtime.end("h2")
        runtime.put("c")
        await seen.told("c", command="run c")
        runtime.put("h2")
        runtime.hangs.discard("h2")
        runtime.put("h2", "exited")
        await seen.told("h2", state="exited")


async def test_a_container_comes_after_its_sandbox_whose_network_it_is_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with following(monkeypatch, hangs=("pod",)) as (runtime, seen):
        runtime.put("app", sandbox="pod")
        runtime.put("pod", is_sandbox=True)
        runtime.put("other")
        await seen.told("other", state="running")
        assert runtime.asked.count("app") == 0
        runtime.freed.set()
        row = await seen.told("pod", state="running")
        assert row["host_network"] is True
        row = await seen.told("app", state="running")
        assert row["pause"] is False


async def test_containers_of_a_sandbox_that_is_told_of_have_its_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with following(monkeypatch) as (runtime, seen):
        runtime.put("app", sandbox="pod")
        runtime.put("pod", is_sandbox=True)
        row = await seen.told("app", state="running")
        assert row["host_network"] is True
        assert runtime.asked[:2] == ["pod", "app"]
