"""Autoscaling: bounds hold whatever is measured, nothing flaps, and each decision says why."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clients.marathon import MarathonClient
from controllers.autoscaler import __main__ as command
from controllers.autoscaler.decide import Cause, Decision, Look, Past, Rule, decide
from controllers.autoscaler.driver import Autoscaler
from controllers.autoscaler.metrics import Prometheus
from controllers.autoscaler.settings import AppSettings, AutoscalerSettings
from controllers.errors import MetricError, SettingsError
from tests.clients.scripted import Scripted

law = settings(deadline=None, max_examples=200)
RULE = Rule(2, 10, target=100.0)


def look(value: float | None, *, instances: int = 4, now_s: float = 1000.0) -> Look:
    return Look(now_s, instances, value)


def follow(
    rule: Rule, values: list[float | None], instances: int, *, every_s: float = 15.0
) -> list[Decision]:
    """Decisions over time, each carried out."""
    past, decisions = Past(), list[Decision]()
    for number, value in enumerate(values):
        decision = decide(rule, past, Look(number * every_s, instances, value))
        past, instances = decision.past, decision.instances
        decisions.append(decision)
    return decisions


def make_rule(low: int, more: int, step: int) -> Rule:
    return Rule(low, low + more, target=100.0, step_max=step)


RULES = st.builds(make_rule, st.integers(0, 5), st.integers(0, 10), st.integers(1, 4))
VALUES: Any = st.none() | st.floats(allow_nan=True, allow_infinity=True)


@law
@example(make_rule(0, 6, 1), 6, [2.9961552247705263e307])
@given(RULES, st.integers(0, 30), st.lists(VALUES, max_size=40))
def test_bounds_and_steps_hold_whatever_is_measured(
    rule: Rule, instances: int, values: list[float | None]
) -> None:
    before = instances
    for decision in follow(rule, values, instances):
        assert rule.instances_min <= decision.instances <= rule.instances_max
        if decision.cause is not Cause.OUT_OF_BOUNDS:
            assert abs(decision.instances - before) <= rule.step_max
        assert decision.reason
        before = decision.instances


@law
@given(st.lists(st.floats(91, 109), max_size=30))
def test_nothing_changes_within_the_tolerance(values: list[float]) -> None:
    assert {d.instances for d in follow(RULE, list(values), 4)} <= {4}


@law
@given(st.lists(st.sampled_from([10.0, 100.0, 300.0]), min_size=1, max_size=60))
def test_changes_rest_between_each_other(values: list[float]) -> None:
    decisions = follow(RULE, list(values), 4, every_s=5)
    before, changes = 4, list[tuple[float, int]]()
    for number, decision in enumerate(decisions):
        if decision.instances != before:
            changes.append((number * 5.0, decision.instances - before))
        before = decision.instances
    for (first_s, _), (second_s, difference) in pairwise(changes):
        rest_s = RULE.cool_down_up_s if difference > 0 else RULE.cool_down_down_s
        assert second_s - first_s >= rest_s


def test_a_constant_load_comes_to_rest() -> None:
    total = 700.0
    past, instances = Past(), 2
    for number in range(200):
        decision = decide(RULE, past, Look(number * 15.0, instances, total / instances))
        past, instances = decision.past, decision.instances
    assert instances == 7
    assert decide(RULE, past, Look(4000, 7, 100.0)).cause is Cause.WITHIN_TOLERANCE


CASES: list[tuple[Look, Past, int, Cause, str]] = [
    (look(200.0), Past(), 8, Cause.SCALED_UP, "200 of 100"),
    (look(900.0), Past(), 10, Cause.SCALED_UP, "900 of 100"),
    (look(900.0, instances=10), Past(), 10, Cause.AT_BOUND, "900 of 100"),
    (look(200.0), Past(990.0), 4, Cause.COOLING_DOWN, "20 s to rest"),
    (look(50.0), Past(), 4, Cause.STABILISING, "within 300 s"),
    (look(None), Past(), 4, Cause.UNKNOWN, "nothing is changed"),
    (look(float("nan")), Past(), 4, Cause.UNKNOWN, "nothing is changed"),
    (look(100.0, instances=1), Past(), 2, Cause.OUT_OF_BOUNDS, "2 to 10"),
    (Look(1000.0, 4, 900.0, is_locked=True), Past(), 4, Cause.LOCKED, "deployment"),
]


@pytest.mark.parametrize(("seen", "past", "instances", "cause", "told"), CASES)
def test_each_decision_says_why(
    seen: Look, past: Past, instances: int, cause: Cause, told: str
) -> None:
    decision = decide(RULE, past, seen)
    assert (decision.instances, decision.cause) == (instances, cause)
    assert told in decision.reason


def test_a_dip_is_not_followed_and_a_lower_load_is() -> None:
    calm = [100.0] * 30
    dip = follow(RULE, [*calm, 10.0, 10.0, *calm], 4)
    assert {decision.instances for decision in dip} == {4}
    lower = follow(RULE, [*calm, *[50.0] * 30], 4)
    assert lower[-1].instances == 2


@pytest.mark.parametrize(
    ("stabilise_s", "every_s"), [(15, 15.05), (10, 15.05), (30, 31), (60, 600)]
)
def test_a_lower_load_is_followed_however_far_looks_are_apart(
    stabilise_s: float, every_s: float
) -> None:
    rule = Rule(1, 20, target=100.0, stabilise_s=stabilise_s, cool_down_down_s=0)

    decisions = follow(rule, [100.0, 100.0, 10.0, 10.0], 10, every_s=every_s)

    # One low look alone is a dip.
    assert [one.cause for one in decisions[2:]] == [Cause.STABILISING, Cause.SCALED_DOWN]


def test_a_lower_load_is_followed_at_once_where_none_has_to_last() -> None:
    rule = Rule(1, 20, target=100.0, stabilise_s=0, cool_down_down_s=0)

    assert follow(rule, [100.0, 10.0], 10)[-1].cause is Cause.SCALED_DOWN


def test_a_dip_before_a_time_in_which_nothing_was_known_is_no_lower_load() -> None:
    rule = Rule(1, 20, target=100.0, stabilise_s=300, cool_down_down_s=0)

    decisions = follow(rule, [100.0] * 30 + [10.0] + [None] * 60 + [10.0], 10)

    assert {decision.instances for decision in decisions} == {10}


def test_a_paused_rule_changes_nothing() -> None:
    rule = Rule(2, 10, target=100.0, is_paused=True)
    assert decide(rule, Past(), look(900.0)).cause is Cause.PAUSED


@pytest.mark.parametrize(
    "fields",
    [{"instances_min": 5, "instances_max": 2}, {"target": 0.0}, {"step_max": 0}, {"tolerance": 1}],
)
def test_rules_that_no_number_could_follow_are_refused(fields: dict[str, Any]) -> None:
    given_: dict[str, Any] = {"instances_min": 1, "instances_max": 3, "target": 1.0, **fields}
    with pytest.raises(ValueError, match="expected"):
        Rule(**given_)


# The driver

APP = AppSettings(app_id="/a", query="load", instances_min=1, instances_max=9, target=100)


class World(Scripted):
    """A Marathon with one app, and a Prometheus that knows one number."""

    def __init__(self, value: float | None) -> None:
        self.instances = 2
        self.value = value
        super().__init__(
            **{
                "GET /v2/leader": [httpx.Response(200, json={"leader": "127.0.0.1:8080"})],
                "GET /v2/apps/a": [self.app],
                "PUT /v2/apps/a": [self.scale],
                "GET /api/v1/query": [self.query],
            }
        )

    def app(self, _: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"app": {"id": "/a", "instances": self.instances}})

    def scale(self, request: httpx.Request) -> httpx.Response:
        self.instances = json.loads(request.content)["instances"]
        return httpx.Response(200, json={"deploymentId": "d", "version": "v"})

    def query(self, _: httpx.Request) -> httpx.Response:
        result: list[Any] = (
            [] if self.value is None else [{"metric": {}, "value": [0, str(self.value)]}]
        )
        data: dict[str, Any] = {"resultType": "vector", "result": result}
        return httpx.Response(200, json={"status": "success", "data": data})

    @property
    def client(self) -> MarathonClient:
        transport = httpx.MockTransport(self)
        return MarathonClient(["127.0.0.1:8080"], transport=transport, timeout_s=0.3)

    @property
    def metrics(self) -> Prometheus:
        return Prometheus("http://prometheus:9090", transport=httpx.MockTransport(self))


async def test_the_driver_scales_and_shows_why() -> None:
    world = World(200.0)
    async with world.client as client:
        autoscaler = Autoscaler(client, world.metrics, lambda: 0.0)
        await autoscaler.round((APP,))
        await autoscaler.round((APP,))
    assert world.instances == 4
    assert world.writes == ["PUT /v2/apps/a"]
    causes = [decision.cause for decision in autoscaler.decisions["/a"]]
    assert causes == [Cause.SCALED_UP, Cause.COOLING_DOWN]


async def test_what_is_not_known_or_refused_changes_nothing() -> None:
    world = World(None)
    async with world.client as client:
        autoscaler = Autoscaler(client, world.metrics, lambda: 0.0)
        await autoscaler.round((APP,))
        world.answers["GET /api/v1/query"] = [httpx.Response(500, text="<html>")]
        await autoscaler.round((APP,))
        assert world.writes == []
        world.value = 200.0
        world.answers["GET /api/v1/query"] = [world.query]
        world.answers["PUT /v2/apps/a"] = [httpx.Response(409, json={"message": "locked"})]
        await autoscaler.round((APP,))
        world.answers["PUT /v2/apps/a"] = [world.scale]
        await autoscaler.round((APP,))
    assert world.instances == 4, "a refused change is not rested from"
    await autoscaler.round(())
    assert autoscaler.decisions == {}


async def test_a_change_whose_answer_got_lost_is_rested_from() -> None:
    world, now_s = World(200.0), 0.0

    def lost(request: httpx.Request) -> httpx.Response:
        world.scale(request)
        raise httpx.ReadTimeout("no answer")

    world.answers["PUT /v2/apps/a"] = [lost]
    async with world.client as client:
        autoscaler = Autoscaler(client, world.metrics, lambda: now_s)
        await autoscaler.round((APP,))
        now_s = APP.cool_down_up_s / 2
        await autoscaler.round((APP,))
    assert world.writes == ["PUT /v2/apps/a"]
    first, second = autoscaler.decisions["/a"]
    assert first.failed is not None
    assert second.cause is Cause.COOLING_DOWN


@pytest.mark.parametrize("absent", [False, True])
async def test_what_was_wished_before_marathon_was_away_is_forgotten(absent: bool) -> None:
    app = APP.model_copy(update={"cool_down_down_s": 0.0})
    world, now_s = World(10.0), 0.0
    world.instances = 4
    gone = httpx.Response(404 if absent else 500, json={"message": "gone"})
    async with world.client as client:
        autoscaler = Autoscaler(client, world.metrics, lambda: now_s)
        await autoscaler.round((app,))
        world.answers["GET /v2/apps/a"] = [gone]
        now_s = 3_600.0
        await autoscaler.round((app,))
        world.answers["GET /v2/apps/a"] = [world.app]
        await autoscaler.round((app,))
    assert world.writes == []
    assert autoscaler.decisions["/a"][-1].cause is Cause.STABILISING


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"status": "error", "error": "parse error"}, "parse error"),
        ({"status": "success", "data": {"resultType": "vector", "result": [1, 2]}}, "2 series"),
        ({}, "status"),
    ],
)
async def test_a_query_that_gives_no_number_says_so(body: Any, told: str) -> None:
    world = World(None)
    world.answers["GET /api/v1/query"] = [httpx.Response(200, json=body)]
    with pytest.raises(MetricError, match=told):
        await world.metrics.read("load")


def settings_file(folder: Path, **fields: Any) -> Path:
    path = folder / "autoscaler.json"
    app = {"app_id": "/a", "query": "q", "instances_min": 1, "instances_max": 2, "target": 1}
    given_ = {"marathon": ["127.0.0.1:1"], "prometheus": "http://127.0.0.1:1", "apps": [app]}
    path.write_text(json.dumps({**given_, **fields}))
    return path


def test_settings_are_read_and_wrong_ones_told(tmp_path: Path) -> None:
    app = AutoscalerSettings.read(settings_file(tmp_path)).apps[0]
    assert app.rule == Rule(1, 2, target=1.0)
    twice = [app.model_dump(), app.model_dump()]
    cases: list[tuple[dict[str, Any], str]] = [
        ({"marathn": []}, "marathn"),
        ({"apps": []}, "apps"),
        ({"apps": twice}, "each app once"),
        ({"apps": [{**app.model_dump(), "target": 0}]}, "target above 0"),
    ]
    for fields, told in cases:
        with pytest.raises(SettingsError, match=told):
            AutoscalerSettings.read(settings_file(tmp_path, **fields))
    with pytest.raises(SettingsError, match="name another file"):
        AutoscalerSettings.read(tmp_path / "missing")


async def test_the_process_ends_when_it_is_told_to(tmp_path: Path) -> None:
    stop = asyncio.Event()
    stop.set()
    async with asyncio.timeout(5):
        await command.serve(settings_file(tmp_path, listen_port=None), stop)
