"""`probe agent`: what its verbs print and how they end, as processes of their own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from probe.agent.agent import Agent
from probe.agent.doctor import count, sees_host
from probe.agent.log import Log
from probe.agent.settings import COLLECTORS, read_settings
from probe.agent.status import CollectorStatus, StatusServer
from probe.cli import main
from probe.console import EXIT_NOT_RUNNING, EXIT_SETTINGS, EXIT_UNWELL
from probe.report.ledger import Ledger
from probe.report.scope import importer
from tests.probe.receiver import receiving
from tests.waiting import block_until, until

_NOBODY = 65_534
_BOUND_S = 60.0


def settings(folder: Path, **more: Any) -> Path:
    file = folder / "settings.json"
    given = {
        "host": "node",
        "collectors": ["host", "process"],
        "status_socket": str(folder / "agent.sock"),
        "publish_interval_s": 0.5,
        **more,
    }
    file.write_text(json.dumps(given))
    return file


def run(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "probe.cli", "agent", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=_BOUND_S, check=False, **more
    )


@contextlib.contextmanager
def agent(file: Path, *arguments: str) -> Generator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "probe.cli", "agent", "run", "--settings", str(file), *arguments],
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=_BOUND_S)


def test_once_prints_a_report_of_this_machine(tmp_path: Path) -> None:
    done = run("once", "--settings", str(settings(tmp_path)), "--json")
    told = json.loads(done.stdout)

    assert done.returncode == 0
    assert told["host"]["node"]["cpus"] == os.cpu_count()
    assert told["host"]["node"]["memory_total_bytes"] > 0
    mine = [p for p in told["process"].values() if p["pid"] == os.getpid()]
    assert len(mine) == 1
    # Rates take two looks.
    assert "cpu_percent" in told["host"]["node"]
    assert any("cpu_percent" in process for process in told["process"].values())
    text = run("once", "--settings", str(settings(tmp_path)), "--topology", "host")
    assert text.stdout.startswith("host (1)\n  node  ")


def test_once_writes_a_report_that_scope_takes(tmp_path: Path) -> None:
    done = run("once", "--settings", str(settings(tmp_path)), "--scope")
    found = importer.read(done.stdout.encode())

    assert found.nodes["host"].keys() == {"node"}
    assert any(p["pid"] == os.getpid() for p in found.nodes["process"].values())


async def test_run_publishes_and_status_tells_of_it(tmp_path: Path) -> None:
    async with receiving() as app:
        with agent(settings(tmp_path), "--app", app.url) as process:
            await until(lambda: len(app.frames) > 3, "frames come", _BOUND_S)
            assert app.nodes("host").keys() == {"node"}
            assert app.snapshots == 1
            file = str(tmp_path / "settings.json")
            status = await _status(file)

            assert status["frame"] >= 3
            assert {one["name"] for one in status["collectors"]} == {"host", "process"}
            assert status["apps"][0]["problem"] is None
            assert (tmp_path / "agent.sock").stat().st_mode & 0o777 == 0o600
            process.send_signal(signal.SIGTERM)
            assert process.wait(_BOUND_S) == 0
        assert not (tmp_path / "agent.sock").exists()


async def _status(file: str) -> dict[str, Any]:
    # The app must go on while a process is waited for.
    done = await asyncio.to_thread(run, "status", "--settings", file, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_metrics_and_health_are_told_at_the_socket(tmp_path: Path) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    place = tmp_path / "agent.sock"
    with agent(settings(tmp_path)):
        block_until(place.exists, "the socket is there", _BOUND_S)

        def ask(path: str) -> str:
            command = [curl, "-s", "--unix-socket", str(place), f"http://x{path}"]
            return subprocess.run(command, capture_output=True, text=True, check=False).stdout

        block_until(lambda: 'nodes{topology="process"}' in ask("/metrics"), "it counts", _BOUND_S)
        assert ask("/healthz") == "ok\n"
        assert "expected /status" in ask("/other")


def test_status_without_an_agent_says_what_to_do(tmp_path: Path) -> None:
    done = run("status", "--settings", str(settings(tmp_path)), "--json")

    assert done.returncode == EXIT_NOT_RUNNING
    assert json.loads(done.stderr)["error"] == "NotRunningError"
    assert "probe agent run" in done.stderr


async def test_an_agent_whose_collector_has_failed_is_unwell_and_alive(tmp_path: Path) -> None:
    looking = Agent(read_settings(settings(tmp_path)))
    status = looking.status()
    failed = CollectorStatus("host", "failed", "", [], "it broke", 3.0, 0.0, 0, 1, 1)
    status.collectors.append(failed)
    place = str(tmp_path / "agent.sock")
    server = StatusServer(place, lambda: status, looking.grants, Log())
    serving = asyncio.create_task(server.run())
    try:
        await until(Path(place).exists, "the socket is there")
        for more, code in (((), EXIT_UNWELL), (("--alive",), 0)):
            words = ("status", "--settings", str(tmp_path / "settings.json"), *more)
            done = await asyncio.to_thread(run, *words)
            assert done.returncode == code, done.stderr
            assert "it broke" in done.stdout
    finally:
        serving.cancel()


def test_the_doctor_says_what_is_missing_and_what_would_add_it(tmp_path: Path) -> None:
    file = settings(
        tmp_path,
        collectors=["host", "container", "process", "connections"],
        docker_host=f"unix://{tmp_path}/none.sock",
    )
    done = run("doctor", "--settings", str(file), "--json")
    told = json.loads(done.stdout)
    findings = {one["collector"]: one for one in told["findings"]}

    assert done.returncode == EXIT_UNWELL
    assert findings["container"]["state"] == "absent"
    assert "docker_host" in findings["container"]["misses"][0]
    assert findings["host"]["nodes"] == 1
    assert findings["process"]["nodes"] > 1
    assert findings["connections"]["state"] in {"full", "partial"}


def test_the_doctor_counts_the_containers_of_each_runtime_apart() -> None:
    ledger = Ledger("node", 1)
    for number, runtime in enumerate(("docker", "docker", "containerd", "mesos", "mesos", "mesos")):
        ledger["container"].put(str(number), runtime=runtime)

    assert {name: count(ledger, name) for name in COLLECTORS if count(ledger, name)} == {
        "container": 2,
        "cri": 1,
        "mesos_container": 3,
    }


@pytest.fixture
def open_folder() -> Generator[Path]:
    """A folder that every user can look into; those of pytest are the user's own."""
    with tempfile.TemporaryDirectory(prefix="probe-cli-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_the_doctor_is_right_without_privileges(open_folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can run it as somebody else")
    file = settings(open_folder, collectors=["host", "process", "connections"])
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("setpriv is not installed")
    # An interpreter that only root can reach would be a miss of another kind.
    reach = subprocess.run(
        [setpriv, f"--reuid={_NOBODY}", "--clear-groups", sys.executable, "-c", "import probe"],
        capture_output=True,
        check=False,
        env={**os.environ, "HOME": "/"},
    )
    if reach.returncode:
        pytest.skip("nobody else can run this interpreter")
    command = [setpriv, f"--reuid={_NOBODY}", "--clear-groups", "--inh-caps=-all", sys.executable]
    done = subprocess.run(
        [*command, "-m", "probe.cli", "agent", "doctor", "--settings", str(file), "--json"],
        capture_output=True,
        text=True,
        timeout=_BOUND_S,
        check=False,
    )
    assert done.returncode == EXIT_UNWELL, done.stderr
    told = json.loads(done.stdout)
    findings = {one["collector"]: one for one in told["findings"]}

    assert told["user"] == _NOBODY
    assert not any(one["held"] for one in told["capabilities"])
    assert findings["host"]["state"] == "full"
    # Since Linux 6.2 everybody may know how many files a process has open, and no more.
    tells_files = Path("/proc/self/fd").stat().st_size > 0
    assert findings["process"]["state"] == ("full" if tells_files else "partial")
    assert any("CAP_SYS_PTRACE" in miss for miss in findings["connections"]["misses"])
    assert findings["process"]["nodes"] > 10
    assert findings["connections"]["state"] == "partial"
    assert any("CAP_NET_ADMIN" in miss for miss in findings["connections"]["misses"])


def verbs() -> Iterator[tuple[str, ...]]:
    for group_name, group in main.commands.items():
        assert isinstance(group, click.Group)
        for name in group.commands:
            yield group_name, name


@pytest.mark.parametrize("words", list(verbs()), ids=" ".join)
def test_every_verb_has_help_with_examples_that_it_takes(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(main, [*words, "--help"])
    _, _, examples = shown.output.partition("Example:\n")
    lines = [line for line in examples.splitlines() if line.strip()]

    assert shown.exit_code == 0
    assert lines
    for line in lines:
        program, *example = line.partition("|")[0].split()
        assert program == "probe"
        assert tuple(example[:2]) == words
        assert CliRunner().invoke(main, [*example, "--help"]).exit_code == 0


def test_completion_knows_verbs_and_options() -> None:
    def completed(line: str, place: int) -> str:
        asked = {"_PROBE_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(place)}
        command = [sys.executable, "-c", "from probe.cli import main; main(prog_name='probe')"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, **asked}
        )
        return done.stdout

    assert "plain,doctor" in completed("probe agent d", 2)
    assert "plain,--settings" in completed("probe agent run --s", 3)
    assert "plain,check" in completed("probe plugin c", 2)


@pytest.mark.parametrize(
    "words",
    [(), ("agent",), ("agent", "nothing"), ("agent", "once", "--nothing"), ("plugin", "run")],
)
def test_a_wrong_command_line_ends_with_its_code_and_says_what_is_there(
    words: tuple[str, ...],
) -> None:
    done = CliRunner().invoke(main, words)

    assert done.exit_code == EXIT_SETTINGS
    assert "Usage: " in done.output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--topology", "process", "--topology", "nosuch"), "saw nosuch"),
        (("--scope", "--topology", "process"), "no --topology beside --scope"),
    ],
)
def test_one_look_refuses_what_it_would_not_heed(words: tuple[str, ...], says: str) -> None:
    done = CliRunner().invoke(main, ["agent", "once", *words])

    assert done.exit_code == EXIT_SETTINGS
    assert says in " ".join(done.output.replace("│", " ").split())


@pytest.mark.parametrize(
    ("comm", "namespace", "sees"),
    [
        ("kthreadd", "pid:[4026532999]", True),
        (None, "pid:[4026531836]", True),  # hidepid: the threads of the kernel are not shown.
        ("sleep", "pid:[4026532999]", False),
        (None, None, None),
    ],
)
def test_the_doctor_tells_the_host_s_processes_even_where_others_are_hidden(
    tmp_path: Path, *, comm: str | None, namespace: str | None, sees: bool | None
) -> None:
    if comm is not None:
        (tmp_path / "2").mkdir()
        (tmp_path / "2/comm").write_text(f"{comm}\n")
    if namespace is not None:
        (tmp_path / "self/ns").mkdir(parents=True)
        (tmp_path / "self/ns/pid").symlink_to(namespace)
    assert sees_host(str(tmp_path)) is sees


def test_a_wrong_file_ends_with_its_own_code(tmp_path: Path) -> None:
    done = run("once", "--settings", str(tmp_path / "none.yaml"))
    assert done.returncode == EXIT_SETTINGS
    assert "none.yaml" in done.stderr
    (tmp_path / "broken.yaml").write_text("a: [")
    assert run("once", "--settings", str(tmp_path / "broken.yaml")).returncode == EXIT_SETTINGS


def test_the_hot_process_loads_nothing_that_costs_megabytes() -> None:
    # Every collector that there is without settings has looked.
    script = """
import asyncio, sys, probe.cli
from probe.agent.agent import Agent
from probe.agent.settings import Settings

async def look() -> None:
    async with Agent(Settings()).once():
        pass

asyncio.run(look())
dear = {"httpx", "pydantic", "yaml", "rich", "starlette", "pulumi", "kazoo", "clients"}
print(sorted(dear & sys.modules.keys()))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
