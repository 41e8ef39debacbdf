"""What Marathon is declared with is what it accepts: its own model reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.base import Placing
from components.errors import ArgumentsError
from components.marathon import real
from components.marathon.service import MarathonService, MarathonServiceArgs
from components.workload import Program
from stacks.local.marathon.settings import MarathonSettings
from tests.components.conftest import Run

PROGRAM = Program(("python", "-m", "some.module"))
HOSTS = "127.0.0.1:20000,127.0.0.1:20001,127.0.0.1:20002"


def test_marathon_is_what_marathon_accepts_and_each_instance_names_itself(
    run: Run, placing: Placing, tmp_path: Path
) -> None:
    args = MarathonServiceArgs(
        PROGRAM,
        HOSTS,
        instances=2,
        user="web",
        flags={"failover_timeout": 7200, "zk_session_timeout": 20_000},
        zookeeper_identity="zookeeper-mesos",
    )

    recorder = run(lambda: MarathonService(args, placing))

    both = [
        MarathonSettings.model_validate_json(recorder.config_of(f"frameworks-marathon-{index}"))
        for index in range(2)
    ]
    assert [one.host_port for one in both] == ["127.0.0.1:20085", "127.0.0.1:20086"]
    assert {(one.election.hosts, one.election.path) for one in both} == {(HOSTS, "/mesos")}
    assert {(one.state.hosts, one.state.path) for one in both} == {(HOSTS, "/marathon")}
    assert {(one.failover_timeout_s, one.zk_session_timeout_s) for one in both} == {(7200, 20)}
    assert {one.zk_auth_file for one in both} == {tmp_path / "secrets" / "zookeeper-mesos"}
    own = tmp_path / "secrets" / "principal-marathon"
    assert {one.http_credentials_file for one in both} == {own}
    assert {one.credential_file for one in both} == {own}
    assert {one.mesos_user for one in both} == {"web"}
    assert {one.features for one in both} == {frozenset({"task_killing"})}


@pytest.mark.parametrize("asked", ["vips", "vips,task_killing", "task_killing,vips"])
def test_features_that_are_asked_of_marathon_add_to_ours(
    run: Run, placing: Placing, asked: str
) -> None:
    args = MarathonServiceArgs(PROGRAM, HOSTS, flags={"enable_features": asked})

    recorder = run(lambda: MarathonService(args, placing))

    given = MarathonSettings.model_validate_json(recorder.config_of("frameworks-marathon-0"))
    assert given.enable_features == "task_killing,vips"
    command = real.real_command(
        real.Instance(
            "zk://h:1/mesos", "zk://h:1/marathon", "h", "127.0.0.1", 1, "/run", flags=args.flags
        )
    )
    assert command[command.index("--enable_features") + 1] == "task_killing,vips"


def test_marathon_stands_still_without_an_ensemble(run: Run, placing: Placing) -> None:
    recorder = run(lambda: MarathonService(MarathonServiceArgs(PROGRAM, None), placing))

    assert recorder.named("frameworks-marathon-0", "local:Process").inputs["running"] is False


def test_marathon_has_an_instance_and_lies_where_it_runs() -> None:
    with pytest.raises(ArgumentsError, match="at least one instance"):
        MarathonServiceArgs(PROGRAM, HOSTS, instances=0)
    with pytest.raises(ArgumentsError, match="'zk'"):
        MarathonServiceArgs(PROGRAM, HOSTS, flags={"zk": "zk://elsewhere:2181/marathon"})
    with pytest.raises(ArgumentsError, match="did you mean 'failover_timeout'"):
        MarathonServiceArgs(PROGRAM, HOSTS, flags={"failover_timeout_s": 7200})
