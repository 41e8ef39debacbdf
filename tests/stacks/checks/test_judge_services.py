"""What is said of what stands beside a cluster; no cluster is asked."""

from __future__ import annotations

import pytest

from stacks.checks import judge_services as judge
from stacks.checks.declared import EdgeGroup
from sync_engine.client import EngineStatus

UP = 'mesos_up{color="blue",kind="master",target="m%d:5050"} %s\n'


def test_roles_weigh_what_is_declared_and_one_that_nobody_set_weighs_one() -> None:
    assert judge.weights({"dev": 2.0, "web": 1.0}, {"dev": 2.0}).ok
    assert (
        judge.weights(None, {"dev": 2.0}).said == "1 roles with a weight; the stack declares none"
    )

    found = judge.weights({"dev": 2.0}, {"other": 3.0, "left": 1.0})

    assert found.said == "dev weighs 1, declared is 2; other weighs 3, which nobody declares"


@pytest.mark.parametrize(
    ("leaders", "problem"),
    [
        ({"a:1": "a:1", "b:1": "a:1"}, None),
        ({"a:1": "a:1", "b:1": None}, "b:1 names no leader"),
        ({"a:1": "a:1", "b:1": "b:1"}, "instances do not agree: a:1, b:1"),
        ({"a:1": "z:1"}, "z:1 leads and is not declared"),
    ],
)
def test_instances_of_marathon_have_one_leader_who_is_one_of_them(
    leaders: dict[str, str | None], problem: str | None
) -> None:
    found = judge.marathon(leaders)

    assert found.ok is (problem is None)
    assert (problem or "2 instances, led by a:1") in found.said


def engine(**given: object) -> EngineStatus:
    most: dict[str, object] = {
        "epoch": 1,
        "started_at": 0.0,
        "directions": {},
        "projections": {},
        "conflicts": 0,
    }
    least: dict[str, object] = {
        "skipped": 0,
        "unreadable": [],
        "sessions": {},
        "subtrees": {},
        "reasons": [],
    }
    return EngineStatus.model_validate({**most, **least, "state": "live", **given})


def test_the_sync_engine_is_sound_and_nothing_waits() -> None:
    assert judge.engine(engine()).ok
    limits = {"state": "degraded", "reasons": ["b is scanned"], "limits": ["b is scanned"]}
    assert judge.engine(engine(**limits)).ok

    stalled = judge.engine(engine(state="stalled", reasons=["more deletes than its share"]))
    assert (stalled.ok, stalled.said) == (False, "it is stalled: more deletes than its share")
    held = judge.engine(engine(held=2))
    assert (held.ok, held.said) == (False, "2 conflicts wait for an operator")


def test_exporters_answer_and_hear_of_all_that_they_ask() -> None:
    assert judge.exporters({"http://e/metrics": UP % (1, "1") + UP % (2, "1.0")}).ok

    found = judge.exporters({"http://e/metrics": UP % (1, "1") + UP % (2, "0"), "http://f": None})

    assert found.said == "m2:5050 does not answer http://e/metrics; http://f does not answer"


def test_edges_are_compared_with_what_should_be() -> None:
    edge = EdgeGroup(("e:1", "e:2"), "external", frozenset())
    assert judge.edge(edge, "abc", {"e:1": "abc", "e:2": "abc"}).ok
    assert "e:2 runs with old" in judge.edge(edge, "abc", {"e:1": "abc", "e:2": "old"}).said


def test_an_edge_is_not_judged_by_instances_that_nobody_has_heard_of() -> None:
    edge = EdgeGroup(("e:1", "e:2"), "external", frozenset())
    apart = judge.edge(edge, "abc", {"e:1": "abc", "e:2": "old"}, unknown=3)
    assert (apart.ok, apart.looked) == (True, False)
    assert "3 instances" in apart.said
    assert judge.edge(edge, "abc", {"e:1": "abc", "e:2": "abc"}, unknown=3).looked
    silent = judge.edge(edge, "abc", {"e:1": "old", "e:2": None}, unknown=3)
    assert (silent.ok, silent.looked) == (False, True)
