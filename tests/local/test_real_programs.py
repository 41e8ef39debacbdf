"""What `mesos-master` and `mesos-agent` are told: the same as the stand-ins, and no secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.workload import NODE_NAME, POD_IP
from stacks.local import mesos_agent, mesos_master
from stacks.local.errors import StartError
from stacks.local.mesos.master import Master
from stacks.local.pod import in_pod
from stacks.local.settings import AgentSettings, MasterSettings


def test_the_real_programs_get_the_same_settings_and_no_secret(tmp_path: Path) -> None:
    secret = tmp_path / "credential"
    secret.write_text("operator:word")
    private = tmp_path / "private"
    master = MasterSettings.model_validate(
        {"port": 1, "zk": "zk://h:1/mesos", "quorum": 2, "work_dir": tmp_path,
         "private_dir": private, "credential_file": secret, "zk_auth_file": secret}
    )  # fmt: skip
    command = mesos_master.real_command("mesos-master", master)
    assert "--quorum=2" in command
    assert not any("operator:word" in word or "@" in word for word in command)
    assert f"--zk=file://{private / 'zk'}" in command
    assert (private / "zk").stat().st_mode & 0o777 == 0o600
    agent = AgentSettings.model_validate(
        {"port": 2, "master": "zk://h:1/mesos", "work_dir": tmp_path}
    )
    assert "--master=zk://h:1/mesos" in mesos_agent.real_command("mesos-agent", agent)


def test_the_real_master_knows_each_principal_and_gets_no_flag_twice(tmp_path: Path) -> None:
    for name in ("operator", "spark"):
        (tmp_path / name).write_text(f"{name}:word-of-{name}")
    master = MasterSettings.model_validate(
        {"port": 1, "zk": "zk://h:1/mesos", "work_dir": tmp_path,
         "private_dir": tmp_path / "private", "credential_file": tmp_path / "operator",
         "principal_files": [tmp_path / "spark"],
         "acls": {"permissive": False}, "flags": {"allocation_interval": "2secs"}}
    )  # fmt: skip

    command = mesos_master.real_command("mesos-master", master)

    names = [word.removeprefix("--no-").removeprefix("--").partition("=")[0] for word in command]
    assert len(set(names)) == len(names)
    assert "--allocation_interval=2secs" in command
    assert f"--acls={tmp_path / 'acls.json'}" in command
    assert not any("word-of" in word for word in command)
    credentials = tmp_path / "private" / "credentials.json"
    assert f"--credentials={credentials}" in command
    known = json.loads(credentials.read_text())["credentials"]
    assert [one["principal"] for one in known] == ["operator", "spark"]
    assert credentials.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("program", ["mesos-master", "mesos-agent"])
def test_no_secret_comes_into_a_work_folder_and_one_that_an_earlier_version_left_goes(
    tmp_path: Path, program: str
) -> None:
    secret, work, private = tmp_path / "secret", tmp_path / "work", tmp_path / "private"
    secret.write_text("somebody:word-of-mouth")
    work.mkdir()
    for name in ("zk", "credentials.json") if program == "mesos-master" else ("credential.json",):
        (work / name).write_text("word-of-mouth")
    common: dict[str, Any] = {
        "port": 1,
        "work_dir": str(work),
        "private_dir": str(private),
        "credential_file": str(secret),
    }
    of_program: dict[str, Any] = {
        "mesos-master": {"zk": "zk://h:1/mesos", "zk_auth_file": str(secret), "acls": {}},
        "mesos-agent": {"master": "zk://h:1/mesos"},
    }
    stub = tmp_path / "bin" / program
    stub.parent.mkdir()
    stub.write_text("#!/bin/sh\nexit 0\n")
    stub.chmod(0o755)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(common | of_program[program]))

    ended = subprocess.run(
        [sys.executable, "-m", f"stacks.local.{program.replace('-', '_')}", "--config", config],
        env={**os.environ, "PATH": f"{stub.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    written = [path for path in work.rglob("*") if path.is_file()]
    assert [path.name for path in written if "word-of-mouth" in path.read_text()] == []
    kept = {path.name: path for path in private.iterdir()}
    expected = {"zk", "credentials.json"} if program == "mesos-master" else {"credential.json"}
    assert set(kept) == expected
    assert {path.stat().st_mode & 0o777 for path in kept.values()} == {0o600}
    assert private.stat().st_mode & 0o777 == 0o700


def test_a_secret_that_cannot_be_kept_is_said_with_its_place(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("somebody:word")
    (tmp_path / "private").write_text("a file where the folder should be")
    agent = AgentSettings.model_validate(
        {"port": 2, "master": "zk://h:1/mesos", "work_dir": tmp_path,
         "private_dir": tmp_path / "private", "credential_file": secret}
    )  # fmt: skip

    with pytest.raises(StartError, match=f"expected a folder at {tmp_path / 'private'}"):
        mesos_agent.real_command("mesos-agent", agent)


def test_an_agent_of_many_nodes_has_the_name_of_its_own(tmp_path: Path) -> None:
    settings = AgentSettings.model_validate(
        {"port": 2, "master": "zk://h:1/mesos", "work_dir": tmp_path, "hostname": "shared"}
    )

    named = mesos_agent.on_node(settings, {NODE_NAME: "node-7"})

    assert named.public_hostname == "node-7"
    assert "--hostname=node-7" in mesos_agent.real_command("mesos-agent", named)
    assert mesos_agent.on_node(settings, {}) == settings


def test_masters_and_agents_of_pods_tell_others_the_address_of_their_own(tmp_path: Path) -> None:
    every_address = "0.0.0.0"  # noqa: S104 - nothing is bound
    everywhere = {"ip": every_address, "port": 2, "work_dir": tmp_path}
    master = MasterSettings.model_validate({**everywhere, "zk": "zk://h:1/mesos"})
    agent = AgentSettings.model_validate({**everywhere, "master": "zk://h:1/mesos"})

    told = in_pod(master, {POD_IP: "10.1.2.3"})
    assert (told.ip, told.public_ip) == (every_address, "10.1.2.3")
    assert Master(told).info["address"]["ip"] == "10.1.2.3"
    assert "--advertise_ip=10.1.2.3" in mesos_master.real_command("mesos-master", told)
    command = mesos_agent.real_command("mesos-agent", in_pod(agent, {POD_IP: "10.1.2.3"}))
    assert {f"--ip={every_address}", "--advertise_ip=10.1.2.3"} <= set(command)
    # An address that was chosen stays.
    one = master.model_copy(update={"ip": "10.9.9.9"})
    assert in_pod(one, {POD_IP: "10.1.2.3"}) == one
    assert in_pod(master, {}) == master
