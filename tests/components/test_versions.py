"""A service of two apps: which one takes the other's place, also after an interruption."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.marathon import MarathonClient
from clients.marathon.model import App
from components.errors import AlreadyThereError, ForeignContentError
from components.marathon import versions
from components.marathon.deploying import ChangeApp, DeleteApp
from components.marathon.endpoint import MarathonEndpoint
from components.marathon.rollout import RolloutSpec, Strategy
from components.marathon.versions import (
    Call,
    RollOut,
    ServiceArgs,
    ServiceProvider,
    ServiceSpec,
    Versions,
    plan,
)
from tests.components.test_rollout import TwoApps
from tests.components.worlds import app_of, settle

MARATHON = MarathonEndpoint("prod", ["127.0.0.1:8080"])
ROLLING = RolloutSpec(Strategy.ROLLING, 2, soak_s=0)


def spec(cmd: str = "new", *, instances: int = 2) -> ServiceSpec:
    definition = {"id": "/svc", "cmd": cmd, "instances": instances}
    return ServiceSpec(definition, ROLLING, adopt=True)


def app(suffix: str, cmd: str, instances: int = 2) -> App:
    return app_of({"id": f"/svc{suffix}", "cmd": cmd, "instances": instances})


SHARES = st.lists(st.floats(0.01, 0.99), max_size=3, unique=True)
ROLLOUTS = st.builds(
    RolloutSpec,
    strategy=st.sampled_from(Strategy),
    instances=st.integers(1, 9),
    batch=st.integers(1, 9),
    shares=SHARES.map(lambda shares: (*sorted(shares), 1.0)),
    minimum_healthy=st.floats(0, 1),
    soak_s=st.floats(0, 1e6),
    ready_timeout_s=st.floats(0, 1e6),
    failures_max=st.none() | st.floats(0, 1),
)


@settings(deadline=None)
@given(ROLLOUTS, st.booleans(), st.floats(0, 1e6))
def test_what_is_declared_arrives_whole(
    rollout: RolloutSpec, adopt: bool, timeout_s: float
) -> None:
    definition = {"id": "/svc", "cmd": "new", "instances": rollout.instances}
    args = ServiceArgs(definition, rollout, adopt=adopt, timeout_s=timeout_s)
    carried = json.loads(json.dumps(args.properties))
    declared = ServiceSpec(definition, rollout, adopt=adopt, timeout_s=timeout_s)
    assert ServiceProvider().read_spec(carried) == declared


def test_a_bound_that_nobody_would_hold_it_to_is_refused_in_a_preview() -> None:
    def failures(rollout: RolloutSpec) -> list[str]:
        args = ServiceArgs({"id": "/svc", "cmd": "new"}, rollout)
        news = {"endpoint": MARATHON.properties, "spec": args.properties}
        return [one.reason for one in ServiceProvider().check({}, news).failures]

    (told,) = failures(replace(ROLLING, strategy=Strategy.CANARY, failures_max=0.001))
    assert "saw 0.001: nobody counts the requests" in told
    assert "with a Traffic that counts them" in told
    assert failures(ROLLING) == []


COMMANDS = st.none() | st.sampled_from(["old", "new"])


@settings(deadline=None)
@given(COMMANDS, COMMANDS, st.integers(1, 3), st.integers(1, 3))
def test_one_version_is_left_and_it_is_the_declared_one(
    a: str | None, b: str | None, count_a: int, count_b: int
) -> None:
    world = Versions((a and app("-a", a, count_a)) or None, (b and app("-b", b, count_b)) or None)
    new = spec()
    if a == b == "old":
        with pytest.raises(ForeignContentError, match="saw two others"):
            plan(new, new, world)
        return

    def act(there: Versions, call: Call) -> Versions:
        apps = {one.id: one for one in there.there}
        match call:
            case RollOut(old_id, new_id):
                apps.pop(old_id, None)
                apps[new_id] = app_of({**new.version(new_id)})
            case ChangeApp(app_id, fields):
                apps[app_id] = app_of({**apps[app_id].definition, **fields})
            case _:
                raise AssertionError(call)
        return Versions(apps.get("/svc-a"), apps.get("/svc-b"))

    after = settle(plan, act, new, new, world)
    (left,) = after.there
    assert new.covers(left)
    assert left.instances == 2
    assert plan(new, new, after) == ()


def test_apps_of_somebody_else_are_not_replaced_unasked() -> None:
    new = ServiceSpec(spec().definition, ROLLING)
    with pytest.raises(AlreadyThereError, match="/svc-a"):
        plan(None, new, Versions(app("-a", "theirs"), None))
    assert plan(None, new, Versions(app("-a", "new"), None)) == ()


def test_a_service_is_removed_with_both_versions() -> None:
    both = Versions(app("-a", "old"), app("-b", "new"))
    assert plan(spec(), None, both) == (DeleteApp("/svc-a"), DeleteApp("/svc-b"))


class Service(TwoApps):
    """A Marathon with the apps of the service, which remembers their commands."""

    def __init__(self) -> None:
        super().__init__(works=9)
        self.apps = {}
        self.cmds: dict[str, Any] = {}
        for name in ("svc-a", "svc-b"):
            for method in ("GET", "PUT", "DELETE"):
                self.answers[f"{method} /v2/apps/{name}"] = [self.answer]

    def answer(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.rpartition("/")[2]
        if request.method == "POST":
            body = self.asked[-1][1]
            self.cmds[str(body["id"])] = body["cmd"]
        answer = super().answer(request)
        if request.method == "GET" and answer.is_success:
            found = answer.json()["app"]
            return httpx.Response(200, json={"app": {**found, "cmd": self.cmds[f"/{name}"]}})
        return answer


def test_a_change_is_rolled_out_beside_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    marathon = Service()
    monkeypatch.setattr(versions, "_POLL_S", 0)

    def connect(endpoint: dict[str, Any]) -> MarathonClient:
        transport = httpx.MockTransport(marathon)
        return MarathonClient(endpoint["addresses"], transport=transport, timeout_s=0.5)

    monkeypatch.setattr(versions, "connect", connect)
    provider = ServiceProvider()

    def props(cmd: str) -> dict[str, Any]:
        args = ServiceArgs({"id": "/svc", "cmd": cmd, "instances": 2}, ROLLING)
        return {"endpoint": MARATHON.properties, "spec": args.properties}

    state = provider.create(props("old")).outs
    assert marathon.apps == {"svc-a": 2}
    assert state is not None
    assert not provider.diff("", state, props("old")).changes
    state = provider.update("", state, props("new")).outs
    assert marathon.apps == {"svc-b": 2}
    assert marathon.cmds["/svc-b"] == "new"
    assert state is not None
    assert state["observed"] == {"versions": 1, "fitting": 1, "instances": 2}
    assert marathon.writes == [
        "POST /v2/apps",
        "POST /v2/apps",
        "PUT /v2/apps/svc-a",
        "PUT /v2/apps/svc-b",
        "DELETE /v2/apps/svc-a",
    ]
