"""What is said of what stands beside a cluster; no cluster is asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stacks.checks import judge_services as judge
from stacks.checks.declared import EdgeGroup, WantedEngine
from stacks.migration.evidence import Evidence
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


WANTED = WantedEngine("http://engine", Path("token"), leaders=("g:1", "g:2"))


def test_the_sync_engine_is_sound_and_nothing_waits() -> None:
    assert judge.engine(engine(), WANTED).ok
    limits = {"state": "degraded", "reasons": ["b is scanned"], "limits": ["b is scanned"]}
    assert judge.engine(engine(**limits), WANTED).ok

    stalled = judge.engine(engine(state="stalled", reasons=["more deletes than its share"]), WANTED)
    assert (stalled.ok, stalled.said) == (False, "it is stalled: more deletes than its share")
    held = judge.engine(engine(held=2), WANTED)
    assert (held.ok, held.said) == (False, "2 conflicts wait for an operator")


def showing(**projection: object) -> EngineStatus:
    return engine(projections={"masters": projection})


def test_the_target_s_leader_is_shown_for_good_behind_a_fence_where_that_is_declared() -> None:
    wanted = replace(WANTED, projection=True, fence=True)
    kept = {"kind": "persistent", "fenced": True, "leader": "g:2"}

    assert judge.engine(showing(**kept), wanted).ok
    off = judge.engine(showing(kind="off"), wanted)
    assert not off.ok
    assert off.said == (
        "projection masters is off, declared is persistent; "
        "the election path of masters is open, declared is fenced; "
        "projection masters shows nobody, which is none of g:1, g:2"
    )
    for change, said in (
        ({"kind": "ephemeral"}, "is ephemeral, declared is persistent"),
        ({"fenced": False}, "is open, declared is fenced"),
        ({"leader": "b:1"}, "shows b:1, which is none of g:1, g:2"),
    ):
        assert said in judge.engine(showing(**{**kept, **change}), wanted).said
    assert "it knows of no projection" in judge.engine(engine(), wanted).said
    # Its transition has moved, and may be on either way.
    assert judge.engine(showing(**{**kept, "fenced": False}), replace(wanted, fence=None)).ok


def test_nobody_is_shown_before_masters_move_and_everybody_may_enter_the_election() -> None:
    wanted = replace(WANTED, projection=False, fence=False)

    assert judge.engine(showing(kind="off"), wanted).ok
    shown = judge.engine(showing(kind="persistent", fenced=True, leader="g:1"), wanted)
    assert shown.said == (
        "projection masters is persistent, declared is off; "
        "the election path of masters is fenced, declared is open"
    )


def test_exporters_answer_and_hear_of_all_that_they_ask() -> None:
    url, other = "http://e/metrics", "http://f/metrics"
    wanted = {url: ("m1:5050", "m2:5050"), other: ()}

    def told(text: str | None) -> Evidence:
        return judge.exporters({url: text}, wanted)

    assert told(UP % (1, "1") + UP % (2, "1.0")).ok
    assert told(UP % (1, "1") + UP % (2, "0")).said == f"m2:5050 does not answer {url}"
    assert told(None).said == f"{url} does not answer"
    assert told(UP % (1, "1")).said == f"{url} does not ask m2:5050"
    # Somebody else's metrics, or a page that any server has.
    nobody = f"{url} tells of nobody: see whether that is an exporter of Mesos"
    assert [told(text).said for text in ("", "up 1\n", "<html>It works!</html>")] == [nobody] * 3
    assert not judge.exporters({other: "up 1\n"}, wanted).ok


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
