"""Judgements: what is as it is declared holds, and whatever is otherwise is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clients.mesos.model import Quota
from stacks.checks import judge
from stacks.checks.declared import EdgeGroup, Names
from stacks.checks.judge import Server
from tests.stacks.checks.cases import DECLARED, GROUP, MASTERS

SERVERS = [Server("z:1", "follower"), Server("z:2", "leader"), Server("z:3", "follower")]


def metrics() -> dict[str, dict[str, float]]:
    """Of three masters, the first of which leads."""
    return {
        m: {
            "master/elected": float(m == "m:1"),
            "registrar/log/recovered": 1.0,
            "registrar/log/ensemble_size": 3.0,
        }
        for m in MASTERS
    }


def test_an_ensemble_with_one_leader_and_all_servers_holds() -> None:
    assert judge.ensemble(GROUP, SERVERS).ok
    alone = replace(GROUP, zookeeper=("z:1",))
    assert judge.ensemble(alone, [Server("z:1", "standalone")]).ok


@pytest.mark.parametrize(
    ("mode", "expected"),
    [(None, "z:1 does not serve"), ("leader", "2 of them lead")],
)
def test_an_ensemble_that_is_otherwise_is_named(mode: str | None, expected: str) -> None:
    found = judge.ensemble(GROUP, [Server("z:1", mode), *SERVERS[1:]])

    assert not found.ok
    assert expected in found.said


def test_those_vote_who_are_declared_to_and_no_others() -> None:
    assert judge.voters(GROUP, {3, 2, 1}).ok

    found = judge.voters(GROUP, {1, 2, 4})

    assert not found.ok
    assert "server 3 has no vote" in found.said
    assert "server 4 votes, and is not declared to" in found.said
    assert found.numbers == {"declared": [1, 2, 3], "seen": [1, 2, 4]}


def test_masters_with_one_leader_and_a_whole_registry_hold() -> None:
    assert judge.masters(GROUP, metrics()).ok


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"master/elected": 1.0}, "2 lead, 1 should"),
        ({"registrar/log/recovered": 0.0}, "m:2: its replica of the registry does not serve"),
    ],
)
def test_masters_that_are_otherwise_are_named(changes: dict[str, float], expected: str) -> None:
    found = metrics()
    found["m:2"] |= changes

    evidence = judge.masters(GROUP, found)

    assert not evidence.ok
    assert expected in evidence.said


def test_a_foreign_replica_and_a_silent_master_are_named() -> None:
    grown = metrics()
    grown["m:3"]["registrar/log/ensemble_size"] = 4.0
    assert "m:3 sees 4 replicas, 3 are declared" in judge.masters(GROUP, grown).said
    assert "m:3 does not answer" in judge.masters(GROUP, {**metrics(), "m:3": {}}).said


def test_behind_a_projection_none_of_a_colour_s_masters_leads() -> None:
    behind = replace(GROUP, leads=False)
    none_leads = {m: {**found, "master/elected": 0.0} for m, found in metrics().items()}

    assert judge.masters(behind, none_leads).ok
    assert not judge.masters(behind, metrics()).ok


def test_flags_of_masters_follow_from_their_number() -> None:
    flags = {"quorum": "2", "authenticate_http_frameworks": "true", "log_auto_initialize": "true"}

    assert judge.master_flags(GROUP, dict.fromkeys(MASTERS, flags), bootstrapped=False).ok
    found = judge.master_flags(GROUP, dict.fromkeys(MASTERS, flags), bootstrapped=True)
    assert "log_auto_initialize is true, declared is false" in found.said
    grows = {master: {**flags, "quorum": "3"} for master in MASTERS}
    assert judge.master_flags(GROUP, grows, bootstrapped=False, quorum_of=5).ok
    assert not judge.master_flags(GROUP, grows, bootstrapped=False).ok
    missing = judge.master_flags(GROUP, {"m:1": flags}, bootstrapped=False)
    assert "m:2 does not tell its flags" in missing.said


def test_quota_is_what_tenants_declare_and_is_kept_to() -> None:
    held = [Quota("dev", {"cpus": 4.0}), Quota("gone")]
    wanted = replace(DECLARED, quota={"dev": {"cpus": 4.0}})

    assert judge.quota(wanted, held, {"dev": {"cpus": 4.0}}).ok
    assert judge.quota(DECLARED, held, {}).ok
    above = judge.quota(wanted, held, {"dev": {"cpus": 5.0}})
    assert "dev uses cpus 5 of 4" in above.said
    other = judge.quota(replace(wanted, quota={"dev": {"cpus": 8.0}}), held, {})
    assert "dev may have cpus 4, declared is cpus 8" in other.said
    unknown = judge.quota(replace(wanted, quota={}), held, {})
    assert "dev has a limit that nobody declares" in unknown.said


def test_a_stranger_must_be_refused_everywhere() -> None:
    assert judge.anonymous({"m:1": 401, "w:1": 403}).ok
    found = judge.anonymous({"m:1": 401, "m:2": 200, "m:3": None})
    assert "m:2 let a stranger in (200)" in found.said
    assert "m:3 does not answer" in found.said


def test_names_are_compared_with_what_should_be() -> None:
    name = Names(("d:1", "d:2"), "mesos").own
    assert name == "leader.mesos"
    assert judge.names(name, dict.fromkeys(("d:1", "d:2"), ("10.0.0.1",)), ("10.0.0.1",)).ok
    stale = judge.names(name, {"d:1": ("10.0.0.9",), "d:2": None}, ("10.0.0.1",))
    assert stale.said == "d:1 says that leader.mesos is 10.0.0.9; d:2 does not answer"
    # A server need not tell all addresses, but none that ended.
    both = ("10.0.0.1", "10.0.0.2")
    assert judge.names("web", {"d:1": both[:1], "d:2": both[1:]}, both).ok
    assert "is nothing" in judge.names("web", {"d:1": ()}, both).said
    assert not judge.names("web", {"d:1": both}, both[:1]).ok
<<<<<<< HEAD


def test_what_a_stack_declares_follows_from_configuration_and_outputs() -> None:
    config = parse(
        {"target": "local", "local": {"port_base": 20_000}, "cluster": {"agents": {"cpus": 2}}}, "s"
    )
    outputs = {
        "run_dir": "/somewhere",
        "blue_zookeeper": "z:1,z:2,z:3",
        "blue_masters": list(MASTERS),
        "blue_agents": ["a:1", "a:2"],
        "marathon": ["w:1"],
        "frameworks": {"sample": "http://f:1"},
        "edge": {"addresses": ["e:1"], "admin": ["e:2"], "group": "external"},
    }

    found = declared(config, Standing(), outputs)

    assert found.groups == (GROUP,)
    assert found.profiles[0].resources["cpus"] == 2
    assert found.quota is None
    assert found.frameworks == ("http://f:1",)
    assert found.edge == EdgeGroup(("e:2",), "external", frozenset({1, 2}))
    assert str(found.credential_file) == "/somewhere/secrets/mesos-operator"
    assert found.leading == GROUP


def test_on_kubernetes_agents_are_told_by_what_they_have_alike() -> None:
    on_nodes = NodeAgents(5051, (31000, 31499), 3)
    config = parse({"target": "local", "local": {"port_base": 20_000}}, "s")

    (group,) = declared(config, Standing(), {"blue_agents": on_nodes.as_output()}).groups

    assert group.agents == on_nodes


def test_consul_is_asked_for_its_servers_as_it_knows_no_leader_of_mesos() -> None:
    config = parse({"target": "local", "local": {"port_base": 20_000}}, "s")
    told = {"addresses": ["d:1"], "zone": "names"}

    before = declared(config, Standing(), {"discovery": told}).names
    found = declared(config, Standing(), {"discovery": {**told, "kind": "consul"}}).names

    assert before is not None
    assert before.own == "leader.names"
    assert found is not None
    assert (found.own, found.of("web")) == ("consul.service.names", "web.service.names")


def test_on_kubernetes_the_operator_s_credential_is_where_pods_find_it() -> None:
    found = declared(
        parse({"target": "local", "local": {"port_base": 20_000}}, "s"),
        Standing(),
        {"secrets_dir": "/run/secrets/mesos-platform"},
    )

    assert str(found.credential_file) == "/run/secrets/mesos-platform/mesos-operator"


def test_behind_the_projection_the_target_s_masters_are_asked() -> None:
    config = parse({"target": "local", "local": {"port_base": 20_000}}, "s")
    outputs = {"blue_masters": ["m:1"], "green_masters": ["g:1"]}

    found = declared(config, Standing(position=Position.parse("2/moved")), outputs)

    assert found.leading is not None
    assert found.leading.color is Color.GREEN
    assert {group.color: group.leads for group in found.groups} == {
        Color.BLUE: False,
        Color.GREEN: True,
    }


def test_agents_that_were_started_with_other_networks_are_named() -> None:
    def flags(*names: str) -> dict[str, str]:
        return {CONFIG_FLAG: f"/var/lib/mesos-platform/networks/by-name/{'+'.join(names)}"}

    wanted = frozenset({"web", "mesos"})
    right = {"a:1": flags("mesos", "web")}

    assert judge.networks(wanted, right).ok
    found = judge.networks(wanted, {**right, "a:2": flags("old", "web"), "a:3": {}, "a:4": None})
    assert not found.ok
    assert "a:2 knows no mesos: it was started before they were declared" in found.said
    assert "a:2 knows old, which nobody declares" in found.said
    assert "a:3 knows no mesos, web" in found.said
    assert "a:4 does not tell its flags" in found.said


HOLDS = {"a:1": True, "a:2": True}


def canary(*states: str, ok: bool | None = True, limited: bool = True) -> Canary:
    return Canary("canary-1", limited, ok, 7.0, states)


def test_agents_that_held_a_canary_to_its_share_hold() -> None:
    found = judge.limits(GROUP, HOLDS, {"a:1": canary(), "a:2": canary()})

    assert (found.ok, found.looked) == (True, True)
    assert found.numbers["a:1"] == {"task": "canary-1", "within": True, "at": 7.0}


def test_a_canary_that_was_not_within_its_limits_is_named() -> None:
    found = judge.limits(GROUP, HOLDS, {"a:1": canary(ok=False)})

    assert (found.ok, found.looked) == (False, True)
    assert "canary-1 was not within its limits on a:1" in found.said


@pytest.mark.parametrize(
    ("holds", "told", "why"),
    [
        (HOLDS, {}, "no canary has run there"),
        (HOLDS, {"a:2": canary(limited=False)}, "canary-1 did not look"),
        (HOLDS, {"a:2": canary(ok=None)}, "canary-1 has not ended"),
        (HOLDS, {"a:2": canary("TASK_RUNNING", ok=None)}, "canary-1 has not ended"),
        (
            HOLDS,
            {"a:2": canary("TASK_STARTING", "TASK_LOST", ok=None)},
            "canary-1 did not end by itself (TASK_LOST)",
        ),
        ({"a:1": True, "a:2": None}, {}, "it does not tell its flags"),
    ],
)
def test_where_no_canary_has_told_nobody_looked(
    holds: dict[str, bool | None], told: dict[str, Canary], why: str
) -> None:
    found = judge.limits(GROUP, holds, {"a:1": canary(), **told})

    # It is no agreement, and no difference.
    assert (found.ok, found.looked) == (True, False)
    assert f"a:2 was not looked at, {why}" in found.said
    assert found.as_dict()["looked"] is False


def test_a_framework_that_does_not_answer_is_named() -> None:
    found = judge.limits(GROUP, HOLDS, {"a:1": canary()}, ["http://f:1"])

    assert (found.ok, found.looked) == (True, False)
    assert "http://f:1 does not answer; a:2 was not looked at, no canary is known" in found.said


def test_an_agent_of_a_pool_that_holds_nobody_is_not_asked_for_a_canary() -> None:
    found = judge.limits(GROUP, {"a:1": True, "a:2": False}, {"a:1": canary()})

    assert (found.ok, found.looked) == (True, True)


def test_what_nobody_looked_at_has_a_mark_of_its_own() -> None:
    text = io.StringIO()
    seen = judge.limits(GROUP, HOLDS, {"a:1": canary(), "a:2": canary()})
    unseen = judge.limits(GROUP, HOLDS, {})

    render.findings(Console(file=text, width=400), Findings((seen, unseen)))

    marks = [line.split()[0] for line in text.getvalue().splitlines()]
    assert marks == ["ok", "--"]
    assert Findings((seen, unseen)).failed is None
=======
    edge = EdgeGroup(("e:1", "e:2"), "external", frozenset())
    assert judge.edge(edge, "abc", {"e:1": "abc", "e:2": "abc"}).ok
    assert "e:2 runs with old" in judge.edge(edge, "abc", {"e:1": "abc", "e:2": "old"}).said
>>>>>>> h-f2
