"""What `mesos-master` and `mesos-agent` are told: the same as the stand-ins, and no secret."""

from __future__ import annotations

import json
from pathlib import Path

from components.workload import NODE_NAME, POD_IP
from stacks.local import mesos_agent, mesos_master
from stacks.local.mesos.master import Master
from stacks.local.pod import in_pod
from stacks.local.settings import AgentSettings, MasterSettings


def test_the_real_programs_get_the_same_settings_and_no_secret(tmp_path: Path) -> None:
    secret = tmp_path / "credential"
    secret.write_text("operator:word")
    master = MasterSettings.model_validate(
        {"port": 1, "zk": "zk://h:1/mesos", "quorum": 2, "work_dir": tmp_path,
         "credential_file": secret, "zk_auth_file": secret}
    )  # fmt: skip
    command = mesos_master.real_command("mesos-master", master)
    assert "--quorum=2" in command
    assert not any("operator:word" in word or "@" in word for word in command)
    assert (tmp_path / "zk").stat().st_mode & 0o777 == 0o600
    agent = AgentSettings.model_validate(
        {"port": 2, "master": "zk://h:1/mesos", "work_dir": tmp_path}
    )
    assert "--master=zk://h:1/mesos" in mesos_agent.real_command("mesos-agent", agent)


def test_the_real_master_knows_each_principal_and_gets_no_flag_twice(tmp_path: Path) -> None:
    for name in ("operator", "spark"):
        (tmp_path / name).write_text(f"{name}:word-of-{name}")
    master = MasterSettings.model_validate(
        {"port": 1, "zk": "zk://h:1/mesos", "work_dir": tmp_path,
         "credential_file": tmp_path / "operator", "principal_files": [tmp_path / "spark"],
         "acls": {"permissive": False}, "flags": {"allocation_interval": "2secs"}}
    )  # fmt: skip

    command = mesos_master.real_command("mesos-master", master)

    names = [word.removeprefix("--no-").removeprefix("--").partition("=")[0] for word in command]
    assert len(set(names)) == len(names)
    assert "--allocation_interval=2secs" in command
    assert f"--acls={tmp_path / 'acls.json'}" in command
    assert not any("word-of" in word for word in command)
    known = json.loads((tmp_path / "credentials.json").read_text())["credentials"]
    assert [one["principal"] for one in known] == ["operator", "spark"]
    assert (tmp_path / "credentials.json").stat().st_mode & 0o777 == 0o600


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
