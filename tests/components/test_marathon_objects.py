"""Apps as Pulumi sees them: their life, who scales them, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from clients.marathon import MarathonClient
from components.errors import ObjectError
from components.marathon import app as app_module
from components.marathon.app import AppArgs, AppProvider
from tests.clients.scripted import Answer, Feed, Scripted
from tests.components.test_runtime_objects import APP, MARATHON, Props, made, props, traces

__all__ = ["traces"]


def test_an_app_with_an_impossible_constraint_is_refused_in_previews() -> None:
    impossible = AppArgs({"id": "/a", "cmd": "x", "constraints": [["hostname", "UNIQUE", "yes"]]})
    (failure,) = AppProvider().check({}, props(impossible, MARATHON)).failures or []
    assert "no offer could fulfil it" in failure.reason


class Deploying(Scripted):
    """A Marathon with one app, whose deployments end at once."""

    def __init__(self, **answers: Sequence[Answer]) -> None:
        self.app: dict[str, Any] | None = None
        super().__init__(
            **{
                "GET /v2/leader": [httpx.Response(200, json={"leader": "127.0.0.1:8080"})],
                "GET /v2/events": [self.events],
                "GET /v2/apps/a": [self.get],
                "POST /v2/apps": [self.change],
                "PUT /v2/apps/a": [self.change],
                "DELETE /v2/apps/a": [self.remove],
                **answers,
            }
        )

    def events(self, _: httpx.Request) -> httpx.Response:
        feed = Feed()
        feed.event("event_stream_attached", {})
        for number in range(9):
            feed.event("deployment_success", {"id": f"d{number}"})
        return httpx.Response(200, stream=feed)

    def get(self, _: httpx.Request) -> httpx.Response:
        return (
            httpx.Response(404) if self.app is None else httpx.Response(200, json={"app": self.app})
        )

    def change(self, request: httpx.Request) -> httpx.Response:
        self.app = {"mem": 128.0, **(self.app or {}), **json.loads(request.content)}
        return httpx.Response(200, json={"deploymentId": f"d{len(self.writes)}", "version": "v"})

    def remove(self, _: httpx.Request) -> httpx.Response:
        self.app = None
        return httpx.Response(200, json={"deploymentId": "d8", "version": "v"})


def use_marathon(monkeypatch: pytest.MonkeyPatch, scripted: Scripted) -> None:
    def connect(endpoint: Props) -> MarathonClient:
        transport = httpx.MockTransport(scripted)
        return MarathonClient(endpoint["addresses"], transport=transport, timeout_s=0.5)

    monkeypatch.setattr(app_module, "connect", connect)


def test_an_app_lives_its_life(monkeypatch: pytest.MonkeyPatch) -> None:
    marathon = Deploying()
    use_marathon(monkeypatch, marathon)
    provider = AppProvider()
    given = props(APP, MARATHON)
    assert provider.create(given).id == "prod//a"
    state = made(provider, given)
    assert marathon.writes == ["POST /v2/apps"]
    assert marathon.app is not None
    marathon.app["instances"] = 7
    seen = provider.read("prod//a", state).outs
    assert seen is not None
    assert seen["observed"] == {"different": {"instances": 7}}
    state = provider.update("", seen, given).outs
    assert marathon.asked[-2] == ("PUT /v2/apps/a", {"instances": 2})
    assert state is not None
    provider.delete("", state)
    assert marathon.app is None
    assert provider.read("prod//a", state).id == ""


def test_instances_are_left_to_who_scales_them(monkeypatch: pytest.MonkeyPatch) -> None:
    marathon = Deploying()
    use_marathon(monkeypatch, marathon)
    given = props(
        AppArgs({"id": "a", "cmd": "x", "instances": 2}, is_scaled_elsewhere=True), MARATHON
    )
    state = made(AppProvider(), given)
    assert marathon.app is not None
    marathon.app["instances"] = 7
    seen = AppProvider().read("", state).outs
    assert seen is not None
    assert not AppProvider().diff("", seen, given).changes


def test_a_locked_app_is_told_and_not_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    locked = httpx.Response(409, json={"message": "locked", "deployments": [{"id": "d0"}]})
    marathon = Deploying(**{"POST /v2/apps": [locked]})
    use_marathon(monkeypatch, marathon)
    with pytest.raises(ObjectError, match="deployment d0: wait until"):
        AppProvider().create(props(APP, MARATHON))
    assert marathon.writes == ["POST /v2/apps"]


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (
            {"GET /v2/apps/a": [httpx.Response(401, headers={"www-authenticate": "Basic r"})]},
            "credential file",
        ),
        ({"GET /v2/apps/a": [httpx.Response(200, text="<html>")]}, "is this Marathon"),
        ({"POST /v2/apps": [httpx.Response(200, text="<html>")]}, "is this Marathon"),
        (
            {"GET /v2/leader": [httpx.Response(200, json={"leader": "10.0.0.9:8080"})]},
            "another cluster's Marathon",
        ),
        (
            {
                "POST /v2/apps": [
                    httpx.Response(
                        422,
                        json={
                            "message": "Object is not valid",
                            "details": [{"path": "/constraints(0)", "errors": ["no such field"]}],
                        },
                    )
                ]
            },
            "/constraints",
        ),
        ({"POST /v2/apps": [httpx.Response(403, json={"message": "Max number of"})]}, "expected"),
    ],
)
def test_what_goes_wrong_is_told_and_nothing_is_written_twice(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, Sequence[Answer]], told: str
) -> None:
    marathon = Deploying(**answers)
    use_marathon(monkeypatch, marathon)
    with pytest.raises(ObjectError, match=told) as caught:
        AppProvider().create(props(APP, MARATHON))
    assert "expected" in str(caught.value)
    assert "saw" in str(caught.value)
    assert len(marathon.writes) <= 1
    assert len(marathon.asked) < 10, "no storm"


def test_events_that_are_cut_midway_leave_the_end_to_be_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    marathon = Deploying()

    def cut(_: httpx.Request) -> httpx.Response:
        feed = Feed()
        feed.event("event_stream_attached", {})
        feed.put(b'event: deployment_success\r\ndata: {"id": "d')
        feed.end()
        return httpx.Response(200, stream=feed)

    marathon.answers["GET /v2/events"] = [cut]
    marathon.answers["GET /v2/deployments"] = [httpx.Response(200, json=[])]
    monkeypatch.setattr("clients.marathon.deployment._LOOK_S", 0.05)
    use_marathon(monkeypatch, marathon)
    assert made(AppProvider(), props(APP, MARATHON))["observed"] == {"different": {}}
    assert marathon.writes == ["POST /v2/apps"]


@pytest.mark.parametrize("arrived", [True, False])
def test_a_creation_that_had_no_answer_is_looked_at_before_it_is_repeated(
    monkeypatch: pytest.MonkeyPatch, arrived: bool
) -> None:
    marathon = Deploying()

    def lose(request: httpx.Request) -> httpx.Response:
        if arrived:
            marathon.change(request)
        msg = "no answer"
        raise httpx.ReadTimeout(msg, request=request)

    marathon.answers["POST /v2/apps"] = [lose, marathon.change]
    use_marathon(monkeypatch, marathon)
    provider = AppProvider()
    state = made(provider, props(APP, MARATHON))
    assert state["observed"] == {"different": {}}
    assert marathon.writes == ["POST /v2/apps"] * (1 if arrived else 2)


def test_a_marathon_that_never_answers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    marathon = Deploying()

    def lose(request: httpx.Request) -> httpx.Response:
        msg = "no answer"
        raise httpx.ReadTimeout(msg, request=request)

    marathon.answers["POST /v2/apps"] = [lose]
    use_marathon(monkeypatch, marathon)
    with pytest.raises(ObjectError, match="it may have arrived, so look before"):
        AppProvider().create(props(APP, MARATHON))
