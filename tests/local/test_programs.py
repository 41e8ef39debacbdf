"""Process mode: what the launchers do when `mesos-master` and `mesos-agent` are on PATH."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.mesos.access import Access
from stacks.local import mesos_agent, mesos_master
from stacks.local.settings import AgentSettings, MasterSettings
from tests.local import against_mesos, programs

SECRETS = {"operator": "operator:word-one", "agent": "agent:word-two", "zk": "super:word-three"}


@pytest.fixture
def secrets(tmp_path: Path) -> dict[str, Path]:
    for name, text in SECRETS.items():
        (tmp_path / name).write_text(text)
    return {name: tmp_path / name for name in SECRETS}


def secret_of(text: str) -> bool:
    return any(secret.partition(":")[2] in text for secret in SECRETS.values())


def test_a_master_takes_its_command_line_and_is_told_who_may_do_what(
    tmp_path: Path, secrets: dict[str, Path]
) -> None:
    given: dict[str, Any] = {
        "port": 5050,
        "zk": "zk://h1:1,h2:2/mesos",
        "zk_auth_file": secrets["zk"],
        "quorum": 2,
        "work_dir": tmp_path,
        "cluster": "blue",
        "hostname": "master-1",
        "log_auto_initialize": False,
        "credential_file": secrets["operator"],
        "principal_files": [secrets["agent"]],
        "acls": Access(asks_agents=True).acls(),
        "authenticate_agents": True,
        "authenticate_http_frameworks": True,
    }
    command = mesos_master.real_command("mesos-master", MasterSettings.model_validate(given))
    assert not any(secret_of(word) for word in command)
    flags = programs.read_flags("mesos-master", command[1:])
    asked = ("agents", "frameworks", "http_frameworks", "http_readonly", "http_readwrite")
    assert {flags[f"authenticate_{name}"] for name in asked} == {"true"}
    known = json.loads(Path(flags["credentials"]).read_text())["credentials"]
    assert [one["principal"] for one in known] == ["operator", "agent"]
    assert Path(flags["credentials"]).stat().st_mode & 0o777 == 0o600
    acls = json.loads(Path(flags["acls"]).read_text())
    assert acls["register_agents"][0]["principals"] == {"values": ["agent"]}
    assert acls["update_quotas"] == [
        {"principals": {"values": ["agent"]}, "roles": {"type": "NONE"}}
    ]
    again = MasterSettings.model_validate(programs.master_settings(flags))
    same = ("port", "zk", "quorum", "work_dir", "cluster", "hostname", "log_auto_initialize")
    for name in (*same, "authenticate_agents", "zk_session_timeout_s", "allocation_interval_ms"):
        assert getattr(again, name) == getattr(MasterSettings.model_validate(given), name), name


def test_an_agent_takes_its_command_line(tmp_path: Path, secrets: dict[str, Path]) -> None:
    settings = AgentSettings.model_validate(
        {
            "port": 5051,
            "master": "zk://h:1/mesos",
            "work_dir": tmp_path,
            "credential_file": secrets["agent"],
            "attributes": {"rack": "2"},
            "resources": {"cpus": 4, "mem": 2048, "disk": 1000, "ports": [31000, 31100]},
            "isolation": "cgroups",
        }
    )
    command = mesos_agent.real_command("mesos-agent", settings)
    assert not any(secret_of(word) for word in command)
    given = programs.agent_settings(programs.read_flags("mesos-agent", command[1:]))
    again = AgentSettings.model_validate(given)
    for name in ("port", "master", "attributes", "resources", "isolation", "public_hostname"):
        assert getattr(again, name) == getattr(settings, name), name
    assert Path(given["credential_file"]).read_text() == SECRETS["agent"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--port=1", "--port=2"], "Duplicate flag 'port'"),
        (["--quiet", "--no-quiet"], "Duplicate flag 'quiet'"),
        (["--prot=1"], "unknown flag 'prot'"),
        (["--port"], "Missing value"),
        (["--quiet=maybe"], "Expecting a boolean"),
    ],
)
def test_what_the_real_programs_refuse_is_refused(arguments: list[str], told: str) -> None:
    with pytest.raises(programs.FlagError, match=told):
        programs.read_flags("mesos-master", arguments)


def test_without_the_programs_it_is_said_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="saw no mesos-master and no mesos-agent: install"):
        against_mesos.main()


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_contract_tests_hold_for_programs_on_path(tmp_path: Path) -> None:
    environment = programs.install(tmp_path / "bin")
    ended = subprocess.run(
        [sys.executable, "-m", "tests.local.against_mesos", "-q", "--basetemp", tmp_path / "base"],
        cwd=programs.CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert " passed" in ended.stdout
    # It was these that served, and not what the launchers run without them.
    names = [arguments[0] for arguments in programs.started(environment)]
    # A cluster for each of the two files: a leader, a follower, three agents.
    assert (names.count("mesos-master"), names.count("mesos-agent")) == (4, 6)
