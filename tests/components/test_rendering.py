"""What components render is what the processes accept: their own models read it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from components.base import Placing
from components.errors import ArgumentsError
from components.mesos.access import MARATHON, SAMPLE, Access, Framework, Principal, Tenant
from components.mesos.agents import AgentPool, MesosAgents, MesosAgentsArgs
from components.mesos.masters import GroupSize, MesosMasters, MesosMastersArgs, check_resize
from components.mesos.sample import (
    ClientGroup,
    ClientGroupArgs,
    SampleFramework,
    SampleFrameworkArgs,
)
from components.workload import Program
from components.zookeeper import EnsembleSize, Launch, ZooKeeperEnsemble, ZooKeeperEnsembleArgs
from components.zookeeper import check_resize as check_ensemble
from stacks.local.mesos.access import Access as LocalAccess
from stacks.local.settings import (
    AgentSettings,
    FrameworkSettings,
    MasterSettings,
    ZooKeeperSettings,
)
from stacks.local.traffic_settings import TrafficSettings
from tests.components.conftest import Run

OTHERS = (
    *("deactivate_agents", "drain_agents", "mark_agents_gone", "reactivate_agents"),
    *("register_agents", "start_maintenances", "stop_maintenances"),
    *("teardown_frameworks", "update_maintenance_schedules", "update_quotas", "update_weights"),
    *("get_endpoints", "get_quotas", "view_executors", "view_flags", "view_frameworks"),
    *("view_roles", "view_tasks"),
)
PROGRAM = Program(("python", "-m", "some.module"))
HOSTS = "127.0.0.1:20000,127.0.0.1:20001,127.0.0.1:20002"


def test_an_ensemble_is_what_zookeeper_servers_accept(run: Run, placing: Placing) -> None:
    args = ZooKeeperEnsembleArgs(color="blue", program=PROGRAM, initial_epoch=7)

    recorder = run(lambda: ZooKeeperEnsemble(args, placing))

    servers = [
        ZooKeeperSettings.model_validate_json(recorder.config_of(f"blue-zookeeper-{index}"))
        for index in range(3)
    ]
    assert [server.myid for server in servers] == [1, 2, 3]
    assert [server.client_port for server in servers] == [20_000, 20_001, 20_002]
    assert len({str(server.data_dir) for server in servers}) == 3
    assert all(server.servers == servers[0].servers for server in servers)
    assert servers[0].initial_epoch == 7


def test_green_uses_other_ports_than_blue(run: Run, placing: Placing) -> None:
    args = ZooKeeperEnsembleArgs(color="green", program=PROGRAM, replicas=1)

    recorder = run(lambda: ZooKeeperEnsemble(args, placing))

    server = ZooKeeperSettings.model_validate_json(recorder.config_of("green-zookeeper-0"))
    assert (server.client_port, server.quorum_port, server.election_port) == (20040, 20043, 20046)


def test_masters_are_what_masters_accept_and_derive_their_quorum(
    run: Run, placing: Placing
) -> None:
    args = MesosMastersArgs(color="blue", program=PROGRAM, zookeeper_hosts=HOSTS, replicas=3)

    recorder = run(lambda: MesosMasters(args, placing))

    master = MasterSettings.model_validate_json(recorder.config_of("blue-masters-1"))
    assert master.quorum == 2
    assert master.port == 20_011
    assert master.election.hosts == HOSTS


def test_masters_ask_who_agents_are_and_agents_of_both_colours_can_say(
    run: Run, placing: Placing, tmp_path: Path
) -> None:
    access = Access(asks_agents=True)

    def program() -> None:
        for color in ("blue", "green"):
            masters = MesosMastersArgs(color, PROGRAM, HOSTS, access=access)
            MesosMasters(masters, placing)
            agents = MesosAgentsArgs(color, PROGRAM, "zk://h:1/m", access=access)
            MesosAgents(agents, placing)

    recorder = run(program)

    # One for both: agents of the one colour follow masters of the other.
    secret = tmp_path / "secrets" / "principal-agent"
    for color in ("blue", "green"):
        config = recorder.config_of(f"{color}-masters-0")
        master = MasterSettings.model_validate_json(config)
        assert (master.authenticate_agents, master.authenticate_http_frameworks) == (True, True)
        assert (master.principal_files, master.acls) == ((secret,), access.acls())
        assert master.credential_file == tmp_path / "secrets" / "mesos-operator"
        agent = AgentSettings.model_validate_json(recorder.config_of(f"{color}-agents-0"))
        assert agent.credential_file == secret


def test_without_tenants_the_principal_of_agents_does_nothing_but_register() -> None:
    rules = LocalAccess({"operator": "x", "agent": "y"}, Access(asks_agents=True).acls())

    for action in ("update_quotas", "register_frameworks", "drain_agents", "view_tasks"):
        assert rules.allows(action, "operator")
        assert not rules.allows(action, "agent")
    assert rules.allows("register_agents", "agent")
    assert not rules.allows("register_agents", "operator")
    assert Access().acls() is None


@pytest.mark.parametrize("tenants", [(), (Tenant("dev", principals=(Principal("spark"),)),)])
def test_the_probe_sees_everything_on_the_map_and_does_nothing(tenants: tuple[Tenant, ...]) -> None:
    access = Access(tenants, frameworks=(Framework(SAMPLE),), is_probed=True)
    rules = LocalAccess(dict.fromkeys(["operator", "probe", "sample"], "x"), access.acls())

    assert "principal-probe" in access.master_secrets
    for action in ("view_frameworks", "view_tasks", "view_roles", "get_quotas", "get_endpoints"):
        assert rules.allows(action, "probe", "anybody's"), action
        assert not rules.allows(action, "sample", "anybody's"), action
    for action in (*OTHERS, "register_frameworks", "run_tasks", "register_agents", "view_flags"):
        is_seen = action.startswith(("view_", "get_")) and action != "view_flags"
        assert rules.allows(action, "probe") is is_seen, action
    assert rules.allows("run_tasks", "sample", "root")
    assert "principal-probe" not in Access(tenants).master_secrets


@pytest.mark.parametrize("tenants", [(), (Tenant("dev", principals=(Principal("spark"),)),)])
@pytest.mark.parametrize("is_probed", [True, False])
def test_mesos_dns_sees_what_names_are_made_of_and_does_nothing(
    tenants: tuple[Tenant, ...], is_probed: bool
) -> None:
    own = (Framework(SAMPLE),)
    access = Access(tenants, True, own, is_probed=is_probed, has_mesos_dns=True)
    rules = LocalAccess(dict.fromkeys(["operator", "mesos-dns", "agent"], "x"), access.acls())

    assert "principal-mesos-dns" in access.master_secrets
    for action in (*OTHERS, "register_frameworks", "run_tasks"):
        is_seen = action in {"view_frameworks", "view_tasks"}
        assert rules.allows(action, "mesos-dns", "anybody's") is is_seen, action
    assert rules.allows("view_frameworks", "operator", "anybody's")
    assert not rules.allows("view_frameworks", "agent", "anybody's")
    assert "principal-mesos-dns" not in Access(tenants, True, own).master_secrets
    with pytest.raises(ArgumentsError, match=r"none of the platform's own .*mesos-dns"):
        Principal("mesos-dns")


@pytest.mark.parametrize("tenants", [(), (Tenant("dev", principals=(Principal("spark"),)),)])
@pytest.mark.parametrize("asks_agents", [True, False])
def test_a_framework_of_our_own_subscribes_runs_tasks_and_does_nothing_else(
    tenants: tuple[Tenant, ...], asks_agents: bool
) -> None:
    own = (Framework(SAMPLE), Framework(MARATHON, ("root", "web"), "apps"))
    access = Access(tenants, asks_agents, own)
    acls = access.acls()
    assert acls is not None
    everybody = ["operator", "agent", "marathon", "sample", "spark"]
    known: dict[str, str] = dict.fromkeys(everybody, "x")
    rules = LocalAccess(known, acls)

    for name, users, role in (("sample", ["root"], "*"), ("marathon", ["root", "web"], "apps")):
        assert rules.allows("register_frameworks", name, role)
        assert not rules.allows("register_frameworks", name, "dev")
        allowed = [one for one in ("root", "web", "nobody") if rules.allows("run_tasks", name, one)]
        assert allowed == users
        for action in OTHERS:
            assert not rules.allows(action, name), action
    for action in ("drain_agents", "register_frameworks", "run_tasks", "view_tasks"):
        assert rules.allows(action, "operator"), action
    assert rules.allows("register_agents", "agent" if asks_agents or tenants else None)
    names = {"principal-sample", "principal-marathon"}
    names |= {"principal-agent"} if asks_agents or tenants else set()
    names |= {"principal-spark"} if tenants else set()
    assert set(access.master_secrets) == names


def test_agents_are_what_agents_accept_and_leave_their_tasks_alive(
    run: Run, placing: Placing
) -> None:
    args = MesosAgentsArgs(color="blue", program=PROGRAM, election_url=f"zk://{HOSTS}/mesos")

    recorder = run(lambda: MesosAgents(args, placing))

    agent = AgentSettings.model_validate_json(recorder.config_of("blue-agents-1"))
    assert agent.port == 20_016
    assert agent.attributes == {}
    assert recorder.named("blue-agents-1", "local:Process").inputs["leaves_children"] is True


@pytest.mark.parametrize("hosts", [HOSTS, None])
def test_the_framework_stands_still_without_an_ensemble(
    run: Run, placing: Placing, hosts: str | None
) -> None:
    args = SampleFrameworkArgs(program=PROGRAM, zookeeper_hosts=hosts)

    recorder = run(lambda: SampleFramework(args, placing))

    settings = FrameworkSettings.model_validate_json(recorder.config_of("frameworks-sample-0"))
    assert (settings.zk is None) is (hosts is None)
    process = recorder.named("frameworks-sample-0", "local:Process")
    assert process.inputs["running"] is (hosts is not None)


def test_no_two_agents_of_a_machine_give_the_same_port_to_tasks(run: Run, placing: Placing) -> None:
    def program() -> None:
        for color in ("blue", "green"):
            MesosAgents(
                MesosAgentsArgs(
                    color=color, program=PROGRAM, election_url="zk://h:1/m", pool=AgentPool(count=5)
                ),
                placing,
            )

    recorder = run(program)

    given: list[int] = []
    for color in ("blue", "green"):
        for index in range(5):
            config = recorder.config_of(f"{color}-agents-{index}")
            agent = AgentSettings.model_validate_json(config)
            first, last = agent.resources.ports
            given += [agent.port, *range(first, last + 1)]
    assert len(given) == len(set(given)) == 2 * 5 * 5
    assert {20_000 <= port < 20_080 for port in given} == {True}


def test_client_groups_are_told_apart_by_path_and_port(run: Run, placing: Placing) -> None:
    def program() -> None:
        for index, name in enumerate(("traffic", "locks")):
            args = ClientGroupArgs(name=name, index=index, program=PROGRAM, zookeeper_hosts=HOSTS)
            ClientGroup(args, placing)

    recorder = run(program)

    groups = [
        TrafficSettings.model_validate_json(recorder.config_of(f"clients-{name}-0"))
        for name in ("traffic", "locks")
    ]
    assert [group.path for group in groups] == ["/apps/traffic", "/apps/locks"]
    assert [group.listen for group in groups] == ["127.0.0.1:20091", "127.0.0.1:20092"]


@pytest.mark.parametrize("replicas", [0, 2, 4])
def test_even_sizes_are_refused(replicas: int) -> None:
    with pytest.raises(ArgumentsError, match=f"saw {replicas}"):
        ZooKeeperEnsembleArgs(color="blue", program=PROGRAM, replicas=replicas)
    with pytest.raises(ArgumentsError, match=f"saw {replicas}"):
        MesosMastersArgs(color="blue", program=PROGRAM, zookeeper_hosts=HOSTS, replicas=replicas)


def test_a_single_master_never_becomes_a_group_nor_a_group_a_single_one() -> None:
    check_resize(GroupSize(1, 1), GroupSize(1, 1))
    for old, new in ((1, 3), (3, 1)):
        with pytest.raises(ArgumentsError, match=f"group of {old} masters cannot become {new}"):
            check_resize(GroupSize(old, old // 2 + 1), GroupSize(new, new // 2 + 1))


@given(*(st.sampled_from([3, 5, 7]) for _ in range(2)), *(st.integers(1, 4) for _ in range(2)))
def test_a_group_is_resized_only_where_any_two_quorums_of_it_meet(
    old: int, new: int, old_quorum: int, new_quorum: int
) -> None:
    try:
        check_resize(GroupSize(old, old_quorum), GroupSize(new, new_quorum))
    except ArgumentsError:
        return
    # Some masters may have the old file still while others have the new one.
    assert old == new or old_quorum + new_quorum > max(old, new)


def test_how_a_group_grows_is_told_and_works() -> None:
    three, with_more, five = GroupSize(3, 2), GroupSize(3, 3), GroupSize(5, 3)
    with pytest.raises(ArgumentsError, match=r"set masters\.quorum_of to 5"):
        check_resize(three, five)
    for old, new in ((three, with_more), (with_more, five), (five, with_more), (with_more, three)):
        check_resize(old, new)
    with pytest.raises(ArgumentsError, match="expected quorum_of to be an odd number from 3"):
        MesosMastersArgs(color="blue", program=PROGRAM, zookeeper_hosts=HOSTS, quorum_of=1)


SIZES = st.builds(EnsembleSize, st.sampled_from([1, 3, 5, 7, 9]), st.sampled_from([None, 3, 5, 7]))


@given(SIZES, SIZES)
def test_servers_of_an_ensemble_come_and_go_without_a_vote(
    old: EnsembleSize, new: EnsembleSize
) -> None:
    assume(old.voting <= old.replicas and new.voting <= new.replicas)
    try:
        check_ensemble(old, new)
    except ArgumentsError:
        return
    if new.replicas != old.replicas:
        assert new.voting == old.voting <= min(old.replicas, new.replicas)
        # Whoever still has a vote in an ensemble that is late finds a majority.
        assert new.replicas > old.replicas // 2
    if new.voting != old.voting:
        # Somebody gives and takes the votes, from and to servers that run.
        assert new.voters is not None
        assert new.voting <= old.replicas
        assert 1 not in {old.voting, new.voting}


def test_how_an_ensemble_grows_and_shrinks_is_told_and_works() -> None:
    three, five = EnsembleSize(3), EnsembleSize(5)
    with pytest.raises(ArgumentsError, match=r"Set zookeeper\.voters to 3 together with"):
        check_ensemble(three, five)
    with pytest.raises(ArgumentsError, match=r"set zookeeper\.voters to 3; when"):
        check_ensemble(five, three)
    grows = (three, EnsembleSize(5, 3), EnsembleSize(5, 5), five)
    shrinks = (five, EnsembleSize(5, 3), EnsembleSize(3, 3), three)
    for way in (grows, shrinks):
        for old, new in itertools.pairwise(way):
            check_ensemble(old, new)
    with pytest.raises(ArgumentsError, match=r"set it to 5, so that somebody"):
        check_ensemble(EnsembleSize(5, 3), five)
    with pytest.raises(ArgumentsError, match="at most 2 at once"):
        check_ensemble(EnsembleSize(7, 3), EnsembleSize(3, 3))
    for old, new in ((EnsembleSize(1), three), (three, EnsembleSize(1))):
        with pytest.raises(ArgumentsError, match="a single server has no majority"):
            check_ensemble(old, new)


@pytest.mark.parametrize(
    ("replicas", "voters", "launch", "told"),
    [
        (5, 2, Launch.IMAGE, "odd number of voters from 3 to 5"),
        (5, 1, Launch.IMAGE, "odd number of voters from 3 to 5"),
        (3, 5, Launch.IMAGE, "odd number of voters from 3 to 3"),
        (5, 3, Launch.LAUNCHER, "on target kubernetes alone"),
    ],
)
def test_voters_that_cannot_be_are_refused(
    replicas: int, voters: int, launch: Launch, told: str
) -> None:
    with pytest.raises(ArgumentsError, match=told):
        ZooKeeperEnsembleArgs(
            color="blue", program=PROGRAM, replicas=replicas, voters=voters, launch=launch
        )


def test_one_machine_has_room_for_three_servers(run: Run, placing: Placing) -> None:
    args = ZooKeeperEnsembleArgs(color="blue", program=PROGRAM, replicas=5)

    with pytest.raises(ArgumentsError, match="room for 3"):
        run(lambda: ZooKeeperEnsemble(args, placing))


def test_no_rendered_file_holds_a_secret_only_paths(
    run: Run, placing: Placing, tmp_path: Path
) -> None:
    args = ZooKeeperEnsembleArgs(color="blue", program=PROGRAM)

    recorder = run(lambda: ZooKeeperEnsemble(args, placing))

    config = json.loads(recorder.config_of("blue-zookeeper-0"))
    assert config["super_digest_file"] == str(tmp_path / "secrets" / "zookeeper-super")
