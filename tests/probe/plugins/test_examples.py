"""The plugins that come with the SDK, on trees made by hand and beside an agent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from probe.plugins import hooks, testing
from probe.plugins.errors import LookError
from probe.plugins.examples import cpu_throttling, mesos_sandbox
from probe.plugins.examples.cpu_throttling import CpuThrottling
from probe.plugins.examples.mesos_sandbox import MesosSandbox
from tests.probe.sites import Clock
from tests.waiting import block_until

RUN = "5a1fd0b0-3a62-4b4c-9f7e-2f4f6f1f2c3d"
ENDED = "6b1fd0b0-3a62-4b4c-9f7e-2f4f6f1f2c3d"
DOCKER = "d" * 64
_BOUND_S = 60.0


def sandbox(work_dir: Path, executor: str, container: str, *, ended: bool = False) -> Path:
    below = f"slaves/s-S0/frameworks/f-0000/executors/{executor}/runs"
    folder = work_dir / below / container
    folder.mkdir(parents=True)
    (work_dir / below / "latest").symlink_to(folder)
    meta = work_dir / "meta" / below / container
    meta.mkdir(parents=True)
    if ended:
        (meta / "executor.sentinel").touch()
    return folder


def fill(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)


def allocated(*paths: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in paths)


async def test_sandboxes_are_told_of_their_containers_tasks_and_host(tmp_path: Path) -> None:
    here = sandbox(tmp_path, "web.1", RUN)
    there = sandbox(tmp_path, "old.1", ENDED, ended=True)
    files = [here / name for name in ("stdout", "stdout.1", "deep/core.9")]
    for file, size in zip(files, (10_000, 20_000, 3_000_000), strict=True):
        fill(file, size)
    fill(there / "stdout", 50_000)
    (here / "volume").symlink_to(there)
    plugin = MesosSandbox(mesos_sandbox.Settings(work_dir=str(tmp_path)))
    nodes = {"host": [testing.HOST], "container": [RUN], "mesos_task": ["f-0000;web.1"]}
    shown = await testing.shown(plugin, nodes)
    container, host = shown["container"][RUN], shown["host"][testing.HOST]

    assert container["sandbox_bytes"] == allocated(*files, here / "volume")
    assert container["sandbox_files"] == 4
    assert container["log_bytes"] == allocated(*files[:2])
    assert str(container["largest_file"]).startswith("deep/core.9, 3")
    assert shown["mesos_task"]["f-0000;web.1"] == container
    assert host["sandboxes_ended_bytes"] == allocated(there / "stdout")
    assert host["sandboxes_bytes"] == container["sandbox_bytes"] + host["sandboxes_ended_bytes"]  # pyright: ignore[reportOperatorIssue] - both are numbers
    assert 0 <= float(str(host["work_dir_free_percent"])) <= 100


def test_a_sandbox_with_too_many_files_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mesos_sandbox, "_ENTRIES_MAX", 5)
    here = sandbox(tmp_path, "web.1", RUN)
    for number in range(9):
        fill(here / f"{number}", 1)
    told = testing.look(MesosSandbox(mesos_sandbox.Settings(work_dir=str(tmp_path))))

    assert told.nodes["container"][RUN]["sandbox_files"] == 5
    assert "the rest is not counted" in str(told.nodes["container"][RUN]["sandbox_note"])


async def test_a_host_without_an_agent_is_the_plugin_s_problem(tmp_path: Path) -> None:
    plugin = MesosSandbox(mesos_sandbox.Settings(work_dir=str(tmp_path)))
    with pytest.raises(LookError, match="set work_dir"):
        await testing.shown(plugin, {"host": [testing.HOST]})


def cgroup(folder: Path, file: str, **numbers: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{name} {number}\n" for name, number in numbers.items())
    (folder / file).write_text(text)


def run_v1(root: Path, *, periods: int, throttled: int, ms: int) -> None:
    mesos = root / "cpu" / "mesos" / RUN
    cgroup(mesos, "cpu.stat", nr_periods=periods, nr_throttled=throttled, throttled_time=ms * 10**6)
    cgroup(root / "memory" / "docker" / DOCKER, "memory.oom_control", under_oom=0, oom_kill=2)


def run_v2(root: Path, *, periods: int, throttled: int, ms: int) -> None:
    (root / "cgroup.controllers").touch()
    cgroup(
        root / "mesos" / RUN,
        "cpu.stat",
        nr_periods=periods,
        nr_throttled=throttled,
        throttled_usec=ms * 1000,
    )
    cgroup(root / "system.slice" / f"docker-{DOCKER}.scope", "memory.events", oom=3, oom_kill=2)


@pytest.mark.parametrize("run", [run_v1, run_v2])
def test_throttling_is_told_as_a_rate_and_kills_as_a_count(tmp_path: Path, run: object) -> None:
    assert callable(run)
    clock = Clock()
    plugin = CpuThrottling(cpu_throttling.Settings(cgroups=str(tmp_path)), clock)
    run(tmp_path, periods=100, throttled=10, ms=500)
    first = testing.look(plugin).nodes["container"]
    clock.now += 10
    run(tmp_path, periods=200, throttled=60, ms=3_500)
    second = testing.look(plugin).nodes["container"]

    assert first[RUN] == {}
    assert second[RUN] == {"throttled_percent": 50.0, "throttled_ms_per_s": 300.0}
    assert first[DOCKER] == second[DOCKER] == {"oom_kills": 2}


def test_a_container_that_begins_anew_has_no_rate_below_zero(tmp_path: Path) -> None:
    clock = Clock()
    plugin = CpuThrottling(cpu_throttling.Settings(cgroups=str(tmp_path)), clock)
    run_v2(tmp_path, periods=100, throttled=10, ms=500)
    testing.look(plugin)
    clock.now += 10
    run_v2(tmp_path, periods=1, throttled=0, ms=0)

    assert testing.look(plugin).nodes["container"][RUN] == {}


PLUGIN = """
from probe.plugins import hooks


class Fortune(hooks.Plugin):
    id = "fortune"
    label = "Fortune"
    description = "Whether it is a lucky day."
    columns = (hooks.gauge("luck", "Luck", unit="percent"),)

    def look(self, told: hooks.Told) -> None:
        told.host(luck=75)
"""


def probe(*words: str) -> list[str]:
    return [sys.executable, "-m", "probe.cli", *words]


def test_a_plugin_of_somebody_else_runs_and_an_agent_tells_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "fortune.py").write_text(PLUGIN)
    place = f"{tmp_path}/fortune.py:Fortune"
    folder = tmp_path / "sockets"
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"collectors": ["host", "plugins"], "plugins": str(folder)}))
    running = subprocess.Popen(probe("plugin", "run", place, "--folder", str(folder)))
    try:
        block_until((folder / "fortune.sock").exists, "its socket is there", _BOUND_S)
        assert (folder / "fortune.sock").stat().st_mode & 0o777 == 0o600

        def luck() -> object:
            words = probe("agent", "once", "--settings", str(settings), "--json")
            done = subprocess.run(words, capture_output=True, check=True, timeout=_BOUND_S)
            told = json.loads(done.stdout)
            return told["host"][os.uname().nodename].get("x:fortune:luck")

        assert block_until(luck, "it was asked after its first look", _BOUND_S) == 75
        running.send_signal(signal.SIGTERM)
        assert running.wait(_BOUND_S) == 0
    finally:
        running.kill()
        running.wait()
    assert not (folder / "fortune.sock").exists()


def test_the_verbs_say_what_there_is_and_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "fortune.py").write_text(PLUGIN)

    def done(*words: str) -> subprocess.CompletedProcess[str]:
        command = probe("plugin", *words)
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_BOUND_S
        )

    known = json.loads(done("list", "--json").stdout)
    assert [one["name"] for one in known] == ["cpu-throttling", "mesos-sandbox"]
    assert not any("problem" in one for one in known)
    told = json.loads(done("check", f"{tmp_path}/fortune.py:Fortune", "--json").stdout)
    assert told == {"host": {testing.HOST: {"luck": 75}}}
    missing = done("check", "mesos-sandbox", "--set", f"work_dir={tmp_path}", "--json")
    assert missing.returncode == 1
    assert "set work_dir" in json.loads(missing.stderr)["message"]
    for words in (["check", "nobody"], ["run", "mesos-sandbox", "--set", "work_dir"]):
        assert done(*words).returncode == 2
    assert done("run", "mesos-sandbox", "--mode", "999").returncode == 2


def test_plugins_are_not_loaded_by_an_agent() -> None:
    script = (
        "import sys, probe.cli, probe.agent.collectors.plugins\n"
        "print('probe.plugins.hooks' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout == "False\n"
    assert issubclass(MesosSandbox, hooks.Plugin)
