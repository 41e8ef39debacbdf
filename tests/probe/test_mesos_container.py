"""Containers of the Mesos containerizer, found by their cgroups and tied to their tasks."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from probe.agent import mesos_agent
from probe.agent.collector import State
from probe.agent.collectors.mesos_container import MesosContainerCollector
from probe.agent.errors import AnswerError, UnreachableError
from probe.agent.mesos_agent import Told
from probe.agent.settings import MesosAgent
from probe.agent.site import KnownProcess, Site
from tests.probe.sites import Clock, News, site
from tests.waiting import until

ID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
NESTED = "11111111-2222-3333-4444-555555555555"


class World:
    """A /proc and cgroups made by hand, of version 1 and of version 2."""

    def __init__(self, folder: Path, *, is_v2: bool = False) -> None:
        self.proc, self.cgroups = folder / "proc", folder / "cgroup"
        self.proc.mkdir()
        self.cgroups.mkdir()
        self.is_v2 = is_v2
        if is_v2:
            (self.cgroups / "cgroup.controllers").write_text("cpu memory io\n")
        self.clock, self.news = Clock(), News()
        self.site: Site = site(
            proc=str(self.proc), cgroups=str(self.cgroups), clock=self.clock, urgent=self.news
        )

    def process(self, pid: int, path: str) -> None:
        (self.proc / str(pid)).mkdir()
        lines = f"0::{path}\n" if self.is_v2 else f"4:memory:{path}\n2:cpuacct:{path}\n0::/\n"
        (self.proc / str(pid) / "cgroup").write_text(lines)
        self.site.processes[pid] = KnownProcess(f"node;{pid};1", 1)

    def count(self, path: str, *, cpu_ns: int, memory: int) -> None:
        if self.is_v2:
            files = {f"{path}/cpu.stat": f"usage_usec {cpu_ns // 1000}\nuser_usec 1\n"}
            files |= {f"{path}/memory.current": f"{memory}\n", f"{path}/memory.max": "max\n"}
            files |= {f"{path}/io.stat": "8:0 rbytes=4096 wbytes=0 rios=1\n"}
        else:
            files = {f"/cpuacct{path}/cpuacct.usage": f"{cpu_ns}\n"}
            files |= {f"/memory{path}/memory.usage_in_bytes": f"{memory}\n"}
            files |= {f"/memory{path}/memory.limit_in_bytes": f"{1 << 26}\n"}
        for name, content in files.items():
            file = Path(f"{self.cgroups}{name}")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)

    def node(self) -> dict[str, Any]:
        return dict(self.site.ledger["container"].node(ID))


async def check(world: World) -> None:
    path = f"/mesos/{ID}"
    world.count(path, cpu_ns=0, memory=4096)
    world.process(70, path)
    world.process(71, f"{path}/mesos/{NESTED}")
    world.process(80, "/system.slice/mesos-agent.service")
    world.site.ledger["mesos_task"].put("F;web.1", name="web", process="node;71;1")
    collector = MesosContainerCollector(world.site)
    await collector.start()
    await collector.collect()
    world.count(path, cpu_ns=1_500_000_000, memory=8192)
    world.clock.now += 3
    await collector.collect()

    assert world.site.ledger["container"].ids() == [ID]
    node = world.node()
    assert (node["runtime"], node["state"], node["pid"]) == ("mesos", "running", 70)
    assert (node["task"], node["name"]) == ("F;web.1", "web")
    assert (node["cpu_percent"], node["memory_bytes"]) == (50.0, 8192)
    assert world.site.containers[ID].pid == 70
    assert collector.capability().state is State.FULL
    world.site.processes.clear()
    await collector.collect()
    assert len(world.site.ledger["container"]) == 0
    assert world.news.count == 2
    await collector.close()
    assert world.site.files.used == 0


async def test_a_container_is_told_of_with_its_task_and_use(tmp_path: Path) -> None:
    await check(World(tmp_path))


async def test_the_same_on_a_host_with_cgroups_of_version_2(tmp_path: Path) -> None:
    await check(World(tmp_path, is_v2=True))


@pytest.mark.parametrize("is_v2", [False, True])
async def test_containers_come_and_go_with_their_groups_between_two_looks(
    tmp_path: Path, *, is_v2: bool
) -> None:
    world = World(tmp_path, is_v2=is_v2)
    root = world.cgroups / ("mesos" if is_v2 else "memory/mesos")
    root.mkdir(parents=True)
    table = world.site.ledger["container"]
    collector = MesosContainerCollector(world.site)
    await collector.start()
    await collector.collect()

    (root / ID).mkdir()
    world.process(70, f"/mesos/{ID}")
    process = world.site.processes.pop(70)
    assert ID not in table
    (root / ID / "cgroup.procs").write_text("0\n70\n")
    await until(lambda: ID in table, "it is told of")
    assert (world.node()["state"], world.node()["pid"]) == ("running", 70)
    assert world.news.count == 1
    assert collector.capability().mode == "cgroups of 1 containers, by events"

    # The next look knows the process, and has not heard of its end when the group is gone.
    world.site.processes[70] = process
    await collector.collect()
    assert table.ids() == [ID]
    shutil.rmtree(root / ID)
    await until(lambda: ID not in table, "it is taken away")
    await collector.collect()
    assert ID not in table
    assert world.news.count == 2
    world.site.processes.clear()
    await collector.collect()
    await collector.close()
    assert world.site.files.used == 0


@pytest.mark.parametrize("is_known", [False, True], ids=["by its group", "by its process"])
async def test_a_group_that_was_left_behind_empty_is_no_container(
    tmp_path: Path, *, is_known: bool
) -> None:
    world = World(tmp_path, is_v2=True)
    group, table = world.cgroups / "mesos" / ID, world.site.ledger["container"]
    group.mkdir(parents=True)
    (group / "cgroup.procs").write_text("70\n")
    world.process(70, f"/mesos/{ID}")
    process = world.site.processes.pop(70)
    collector = MesosContainerCollector(world.site)
    await collector.start()
    await collector.collect()
    assert world.node()["pid"] == 70
    if is_known:
        world.site.processes[70] = process
        await collector.collect()
        del world.site.processes[70]

    # Its process ends, and another one of the host has its number now.
    (group / "cgroup.procs").write_text("")
    (world.proc / "70" / "cgroup").write_text("0::/system.slice/cron.service\n")
    await collector.collect()
    assert table.ids() == []
    assert world.site.containers == {}

    # One more group that comes is told of while the other is still there.
    other = world.cgroups / "mesos" / NESTED
    other.mkdir()
    world.process(71, f"/mesos/{NESTED}")
    (other / "cgroup.procs").write_text("71\n")
    await until(lambda: NESTED in table, "the other is told of")
    assert table.ids() == [NESTED]
    await collector.close()


async def test_an_agent_that_comes_later_or_anew_is_heard_of(tmp_path: Path) -> None:
    world = World(tmp_path, is_v2=True)
    root, table = world.cgroups / "mesos", world.site.ledger["container"]
    collector = MesosContainerCollector(world.site)
    await collector.start()
    await collector.collect()
    assert "events" not in collector.capability().mode
    for pid in (70, 71):
        root.mkdir()
        await collector.collect()
        world.process(pid, f"/mesos/{ID}")
        del world.site.processes[pid]
        (root / ID).mkdir()
        (root / ID / "cgroup.procs").write_text(f"{pid}\n")
        await until(lambda: ID in table, "it is told of")
        assert world.node()["pid"] == pid
        shutil.rmtree(root)
        await until(lambda: ID not in table, "it is taken away")
    await collector.close()


async def test_a_task_is_known_by_its_container_and_gives_it_framework_app_and_role(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    world.process(70, f"/mesos/{ID}")
    task = {"framework": "F", "app": "10.0.0.1:8080;/web", "role": "dev"}
    world.site.ledger["mesos_task"].put("F;web.1", name="web", container=ID, **task)
    world.site.ledger["container"].put("d" * 64, runtime="docker", task="F;web.1")
    collector = MesosContainerCollector(world.site)
    await collector.collect()

    assert world.node().items() >= {"task": "F;web.1", "name": "web", **task}.items()
    assert world.site.ledger["container"].node("d" * 64).items() >= task.items()
    await collector.close()


async def test_a_group_that_it_shares_with_others_is_not_counted_as_its_own(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.count("/", cpu_ns=10**15, memory=4096)
    world.count(f"/mesos/{ID}", cpu_ns=0, memory=8192)
    world.process(70, f"/mesos/{ID}")
    (world.proc / "70" / "cgroup").write_text(f"4:memory:/mesos/{ID}\n2:cpuacct:/\n")
    collector = MesosContainerCollector(world.site)
    for _ in range(2):
        await collector.collect()
        world.clock.now += 3

    assert world.node()["memory_bytes"] == 8192
    assert "cpu_percent" not in world.node()
    await collector.close()


async def test_an_agent_that_does_not_answer_is_missed(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.process(70, f"/mesos/{ID}")
    collector = MesosContainerCollector(world.site, [MesosAgent("http://127.0.0.1:1")])
    await collector.collect()
    capability = collector.capability()

    assert world.node()["state"] == "running"
    assert capability.state is State.PARTIAL
    assert "127.0.0.1:1" in capability.misses[0].what
    await collector.close()


async def test_an_agent_that_is_not_there_is_not_missed_where_another_knows_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def containers(self: mesos_agent.MesosAgent) -> dict[str, Told]:
        if self.place.port == 2:
            msg = "expected a connection, saw none"
            raise UnreachableError(msg)
        return {ID: Told("F", "web.1", "F;web.1")}

    monkeypatch.setattr(mesos_agent.MesosAgent, "containers", containers)
    world = World(tmp_path)
    world.process(70, f"/mesos/{ID}")
    world.count(f"/mesos/{ID}", cpu_ns=0, memory=4096)
    agents = [MesosAgent(f"http://127.0.0.1:{port}") for port in (1, 2)]
    collector = MesosContainerCollector(world.site, agents)
    await collector.collect()
    assert world.node()["framework"] == "F"
    assert collector.capability().state is State.FULL

    # One that neither the first knows: it may be the other's.
    world.process(90, f"/mesos/{NESTED}")
    await collector.collect()
    assert [one.what for one in collector.capability().misses if ":2" in one.what]
    await collector.close()


# As an agent of Mesos 1.11 answers, shortened.
CONTAINERS = b"""[
 {"container_id": "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "executor_id": "web.1",
  "executor_name": "Command Executor (Task: web.1) (Command: sh -c 'exec sleep 1000')",
  "framework_id": "F", "source": "web.1", "statistics": {"cpus_limit": 0.2},
  "status": {"executor_pid": 70}},
 {"container_id": "11111111-2222-3333-4444-555555555555", "executor_id": "pods",
  "executor_name": "of its own", "framework_id": "F"}]"""


def test_of_an_executor_of_its_own_only_the_framework_is_known() -> None:
    assert mesos_agent.read_containers(CONTAINERS) == {
        ID: Told("F", "web.1", "F;web.1"),
        NESTED: Told("F", "pods", None),
    }
    with pytest.raises(AnswerError, match="containers of a Mesos agent"):
        mesos_agent.read_containers(b"<html>")


@pytest.mark.parametrize("is_v2", [False, True])
async def test_a_machine_without_mesos_has_none_and_misses_nothing(
    tmp_path: Path, is_v2: bool
) -> None:
    world = World(tmp_path, is_v2=is_v2)
    world.process(80, "/system.slice/sshd.service")
    collector = MesosContainerCollector(world.site)
    await collector.collect()

    assert len(world.site.ledger["container"]) == 0
    assert collector.capability().state is State.FULL
