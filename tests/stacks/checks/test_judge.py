"""Judgements: what is as it is declared holds, and whatever is otherwise is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clients.mesos.model import Quota
from stacks.checks import judge
from stacks.checks.declared import Names
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
