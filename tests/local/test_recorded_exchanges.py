"""The stand-in answers as the recorded real master: status, redirect, error text, shape of JSON.

One cluster as the recordings had it serves all tests: a master with two agents and a framework with
four tasks, plus an idle third agent that may be drained. Every test makes the state that its
recording was made in, and takes it back.
"""

from __future__ import annotations

import json
import re
from typing import Any, cast

import httpx
import pytest

from clients.mesos.recordio import Decoder
from tests.fixtures.mesos import FOLDER, Exchange, load, names
from tests.local.served import Cluster

START = {"nanoseconds": 1795460000000000000}
HOUR = {"nanoseconds": 3600000000000}
MACHINES = [{"hostname": "h9", "ip": "10.0.0.9"}, {"hostname": "H8"}]
SCHEDULE = {
    "windows": [{"machine_ids": MACHINES, "unavailability": {"start": START, "duration": HOUR}}]
}
SET_WEIGHTS = load("weights_set").call
SET_QUOTA = load("quota_set").call
CLEAR_QUOTA = load("quota_clear").call
SET_SCHEDULE = load("maint_set").call
START_DOWN = load("maint_start").call
STOP_DOWN = load("maint_stop").call
CLEAR_SCHEDULE = load("maint_clear").call
DEACTIVATE = load("deactivate").call
DRAIN = load("drain").call
# What must have been called before, for answers that depend on it.
BEFORE: dict[str, list[Any]] = {
    "weights_get": [SET_WEIGHTS],
    "get_weights": [SET_WEIGHTS],
    "roles_v1": [SET_WEIGHTS],
    "get_roles": [SET_WEIGHTS],
    "quota_get": [SET_QUOTA],
    "quota_get_after_clear": [SET_QUOTA, CLEAR_QUOTA],
    "get_quota": [SET_QUOTA, CLEAR_QUOTA],
    "quota_guar_gt_limit": [CLEAR_QUOTA],
    "maint_get": [SET_SCHEDULE],
    "maint_status": [SET_SCHEDULE],
    "maint_start": [SET_SCHEDULE],
    "maint_status2": [SET_SCHEDULE, START_DOWN],
    "maint_drop_down": [SET_SCHEDULE, START_DOWN],
    "maint_stop": [SET_SCHEDULE, START_DOWN],
    "maint_get2": [SET_SCHEDULE, START_DOWN, STOP_DOWN],
    "reactivate": [DEACTIVATE],
    "reactivate_after": [DRAIN],
    "drain_again": [DRAIN],
}
# Texts that name what a cluster has: numbers differ, words do not.
WITH_NUMBERS = {"quota_default_role_low", "quota_overcommit_guarantee"}
EXACT = {
    "health", "unknown_field", "version", "get_version", "weights_get", "get_weights", "quota_get",
    "maint_get", "maint_get2", "maint_status", "maint_status2", "get_maintenance_schedule",
    "get_maintenance_status", "get_executors", "get_operations",
}  # fmt: skip
ELSEWHERE = {"nonleader", "reactivate_while_draining", "get_metrics", "get_metrics_snapshot"}
# Not counted by the stand-in (docs say so).
UNCOUNTED = re.compile(
    r"master/operations/|/frameworks/probe/|offer_filters|quota/roles//|shares/dominant|"
    r"allocation_run_latency_ms|quota/roles/\*"
)


def answer_of(cluster: Cluster, exchange: Exchange) -> httpx.Response:
    for call in BEFORE.get(exchange.name, []):
        assert cluster.send(call).status_code == 200
    return cluster.get(exchange.path) if exchange.call is None else cluster.send(exchange.call)


def shape(value: Any) -> Any:
    """Keys and kinds of a JSON value; a list is what its first element is."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return [shape(items[0])] if items else []
    return type(value).__name__


def assert_same_shape(seen: Any, wanted: Any, where: str = "body") -> None:
    """Same keys in the same order and kinds; an empty list says nothing of its elements."""
    if isinstance(wanted, dict) and isinstance(seen, dict):
        fields, found = cast("dict[str, Any]", wanted), cast("dict[str, Any]", seen)
        assert list(found) == list(fields), where
        for key, item in fields.items():
            assert_same_shape(found[key], item, f"{where}.{key}")
    elif isinstance(wanted, list) and isinstance(seen, list):
        items, others = cast("list[Any]", wanted), cast("list[Any]", seen)
        if items and others:
            assert_same_shape(others[0], items[0], f"{where}[]")
    else:
        assert seen == wanted, where


@pytest.mark.parametrize("name", [n for n in names() if n not in ELSEWHERE])
def test_an_answer_is_as_recorded(cluster: Cluster, name: str) -> None:
    exchange = load(name)
    answer = answer_of(cluster, exchange)
    assert answer.status_code == exchange.status, answer.text
    assert answer.headers.get("location") == (
        None if exchange.location is None else f"//{cluster.leader.address}"
    )
    if not exchange.body.startswith(("{", "[")):
        seen, wanted = answer.text, exchange.body
        if name in WITH_NUMBERS:
            seen, wanted = (re.sub(r"[\d.]+", "N", text) for text in (seen, wanted))
        assert seen == wanted
        return
    # Whichever Mesos serves has a version of its own.
    if name in EXACT and not (cluster.is_real and "version" in name):
        assert answer.json() == exchange.json
    assert_same_shape(shape(answer.json()), shape(exchange.json))


def test_a_follower_redirects_a_call(cluster: Cluster) -> None:
    exchange = load("nonleader")
    answer = cluster.send(exchange.call, follower=True)
    assert answer.status_code == exchange.status
    assert answer.headers["location"] == f"//{cluster.leader.address}/master/api/v1"
    assert answer.text == exchange.body


def test_a_draining_agent_cannot_be_reactivated(cluster: Cluster) -> None:
    if cluster.is_real:
        pytest.skip("needs an agent that does not end its drain: a stand-in is put there by hand")
    exchange = load("reactivate_while_draining")
    cluster.set_draining()
    try:
        answer = cluster.send(exchange.call)
    finally:
        cluster.set_drained()
    assert (answer.status_code, answer.text) == (exchange.status, exchange.body)


def test_a_drained_agent_is_shown_as_recorded(cluster: Cluster) -> None:
    wanted = json.loads((FOLDER / "get_agents_drained.json").read_text())
    assert cluster.send(DRAIN).status_code == 200
    agents = cluster.send({"type": "GET_AGENTS"}).json()["get_agents"]["agents"]
    seen = next(a for a in agents if a["agent_info"]["id"]["value"] == cluster.idle.id)
    recorded = wanted["get_agents"]["agents"][1]
    recorded.pop("allocated_resources", None)
    assert_same_shape(shape(seen), shape(recorded))
    assert seen["drain_info"] == recorded["drain_info"]


@pytest.mark.parametrize("name", ["get_metrics", "get_metrics_snapshot"])
def test_metrics_have_the_recorded_names(cluster: Cluster, name: str) -> None:
    def by_name(body: Any) -> dict[str, float]:
        if "get_metrics" in body:
            return {m["name"]: m["value"] for m in body["get_metrics"]["metrics"]}
        return body

    cluster.send(SET_WEIGHTS)  # A store, so that its timer has a sample.
    exchange = load(name)
    seen = by_name(answer_of(cluster, exchange).json())
    missing = {n for n in by_name(exchange.json) if not UNCOUNTED.search(n)} - set(seen)
    assert missing == set()
    assert seen["registrar/log/recovered"] == seen["master/elected"] == 1.0
    assert seen["master/slaves_active"] == 3.0
    assert seen["master/tasks_running"] == 4.0


def test_the_event_stream_begins_as_recorded(cluster: Cluster) -> None:
    recorded = [json.loads(r) for r in Decoder().feed((FOLDER / "subscribe.recordio").read_bytes())]
    decoder = Decoder()
    seen: list[Any] = []
    with cluster.http.stream(
        "POST", f"http://{cluster.leader.address}/api/v1", json={"type": "SUBSCRIBE"}
    ) as response:
        for chunk in response.iter_raw():
            seen += [json.loads(record) for record in decoder.feed(chunk)]
            if len(seen) >= 2:
                break
    assert [event["type"] for event in seen] == ["SUBSCRIBED", "HEARTBEAT"]
    for one in seen[0]["subscribed"]["get_state"]["get_frameworks"]["frameworks"]:
        # The framework of the record gave none.
        assert one["framework_info"].pop("webui_url").startswith("http://")
    assert_same_shape(shape(seen[0]), shape(recorded[0]))
