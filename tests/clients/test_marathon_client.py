"""Marathon's leader, its refusals and its event stream; nothing is requested twice."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.marathon import (
    AuthenticationError,
    ForeignLeaderError,
    InvalidError,
    LockedError,
    MarathonClient,
    NoLeaderError,
    ProtocolError,
    RequestRefusedError,
    StreamEndedError,
    TooManyDeploymentsError,
    UnreachableError,
)
from clients.marathon.events import (
    Attached,
    DeploymentFailed,
    DeploymentStep,
    DeploymentSucceeded,
    HealthChanged,
    Other,
    SseDecoder,
    TaskChanged,
)
from clients.marathon.model import Started
from tests.clients.scripted import Answer, Feed, Scripted, take_all

INSTANCES = ["127.0.0.1:8081", "127.0.0.1:8082", "127.0.0.1:8083"]
LEADER = INSTANCES[1]
_BOUND_S = 30.0
APPS = httpx.Response(200, json={"apps": []})
STARTED = {"deploymentId": "d1", "version": "v1"}


def leads(leader: str = LEADER) -> httpx.Response:
    return httpx.Response(200, json={"leader": leader})


class Marathon(Scripted):
    """Instances of which one leads."""

    def __init__(self, **answers: Sequence[Answer]) -> None:
        super().__init__(**{"GET /v2/leader": [leads()], **answers})

    def client(self, **options: Any) -> MarathonClient:
        given: dict[str, Any] = {"timeout_s": 1.0, **options}
        return MarathonClient(INSTANCES, transport=httpx.MockTransport(self), **given)


async def test_requests_go_to_the_leader_that_instances_name() -> None:
    marathon = Marathon(**{"GET /v2/apps": [httpx.Response(200, json={"apps": []})]})
    async with marathon.client() as client:
        assert await client.apps() == ()
        assert await client.apps() == ()
    asked = [f"{r.url.host}:{r.url.port}{r.url.path}" for r in marathon.requests]
    assert asked == [f"{INSTANCES[0]}/v2/leader", f"{LEADER}/v2/apps", f"{LEADER}/v2/apps"]


async def test_a_leader_of_another_cluster_gets_no_request() -> None:
    marathon = Marathon(**{"GET /v2/leader": [leads("10.0.0.9:8080")]})
    async with marathon.client() as client:
        with pytest.raises(ForeignLeaderError) as caught:
            await client.scale_app("/a", 2)
    assert caught.value.leader == "10.0.0.9:8080"
    assert marathon.writes == []


async def test_behind_a_balancer_the_leader_is_not_asked_for() -> None:
    marathon = Marathon(**{"GET /v2/apps": [httpx.Response(200, json={"apps": []})]})
    async with marathon.client(any_leader=True) as client:
        await client.apps()
    assert marathon.kinds == ["GET /v2/apps"]


async def test_an_election_is_waited_out_without_a_storm() -> None:
    none = httpx.Response(404, json={"message": "There is no leader"})
    marathon = Marathon(**{"GET /v2/leader": [none]})
    async with marathon.client(timeout_s=0.7) as client:
        with pytest.raises(NoLeaderError):
            await client.apps()
    # Rounds of three after 0, 0.1, 0.3 and 0.7 s, and the last one.
    assert len(marathon.asked) <= 15


async def test_a_dead_leader_is_asked_for_again() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.port == 8082:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, json=STARTED)

    marathon = Marathon(
        **{
            "GET /v2/leader": [leads(INSTANCES[1]), leads(INSTANCES[2])],
            "PUT /v2/apps/a": [handle],
        }
    )
    async with marathon.client() as client:
        assert await client.scale_app("/a", 2) == Started("d1", "v1")


async def test_a_write_that_may_have_arrived_is_not_repeated() -> None:
    def hang(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("no answer")

    marathon = Marathon(**{"PUT /v2/apps/a": [hang]})
    async with marathon.client() as client:
        with pytest.raises(UnreachableError, match="may have arrived"):
            await client.scale_app("/a", 2)
    assert marathon.writes == ["PUT /v2/apps/a"]


@pytest.mark.parametrize("status", [502, 504])
async def test_a_write_that_a_proxy_got_no_answer_to_is_not_repeated(status: int) -> None:
    path = "POST /v2/apps/a/restart"
    lost = [httpx.Response(status, text="no answer"), httpx.Response(200, json=STARTED)]
    marathon = Marathon(**{path: lost, "GET /v2/apps": [*lost[:1], APPS]})
    async with marathon.client() as client:
        with pytest.raises(UnreachableError, match=f"saw {status}.*may have arrived"):
            await client.restart_app("/a")
        assert marathon.writes == [path]
        # A question is.
        assert await client.apps() == ()


async def test_a_write_is_repeated_that_an_instance_without_a_leader_refused() -> None:
    path = "PUT /v2/apps/a"
    answers = [httpx.Response(503, text="no leader"), httpx.Response(200, json=STARTED)]
    marathon = Marathon(**{path: answers})
    async with marathon.client() as client:
        assert await client.scale_app("/a", 2) == Started("d1", "v1")
    assert marathon.writes == [path, path]


@pytest.mark.parametrize("trouble", ["hangs", "504"])
async def test_a_write_waits_for_no_instance_that_cannot_say_who_leads(trouble: str) -> None:
    def lost(_: httpx.Request) -> httpx.Response:
        if trouble == "504":
            return httpx.Response(504)
        raise httpx.ReadTimeout("no answer")

    path = "PUT /v2/apps/a"
    marathon = Marathon(
        **{"GET /v2/leader": [lost, leads()], path: [httpx.Response(200, json=STARTED)]}
    )
    async with marathon.client() as client:
        assert await client.scale_app("/a", 2) == Started("d1", "v1")
    assert [f"{one.url.host}:{one.url.port}" for one in marathon.requests] == [
        INSTANCES[0], INSTANCES[1], LEADER,
    ]  # fmt: skip
    assert marathon.writes == [path]


REFUSALS: list[tuple[httpx.Response, type[Exception], str]] = [
    (
        httpx.Response(409, json={"message": "An app with id [/a] already exists."}),
        RequestRefusedError,
        "already exists",
    ),
    (
        httpx.Response(409, json={"message": "App is locked", "deployments": [{"id": "d7"}]}),
        LockedError,
        "locked by deployment d7",
    ),
    (
        httpx.Response(
            422,
            json={
                "message": "Object is not valid",
                "details": [{"path": "/constraints(0)", "errors": ["Invalid operator"]}],
            },
        ),
        InvalidError,
        "/constraints",
    ),
    (
        httpx.Response(403, json={"message": "Max number of running deployments reached"}),
        TooManyDeploymentsError,
        "wait",
    ),
    (
        httpx.Response(403, text="Not Authorized to perform this action!"),
        AuthenticationError,
        "403",
    ),
    (
        httpx.Response(
            401, text="<html>", headers={"www-authenticate": 'Basic realm="Mesosphere"'}
        ),
        AuthenticationError,
        "Mesosphere",
    ),
    (httpx.Response(400, json={"message": "Invalid JSON"}), RequestRefusedError, "Invalid JSON"),
    (httpx.Response(500, text="<html>oops</html>"), ProtocolError, "HTML page"),
    (httpx.Response(200, text="<html>hello</html>"), ProtocolError, "is this Marathon"),
]


@pytest.mark.parametrize(("answer", "error", "told"), REFUSALS)
async def test_a_refusal_is_typed_and_final(
    answer: httpx.Response, error: type[Exception], told: str
) -> None:
    marathon = Marathon(**{"POST /v2/apps": [answer]})
    async with marathon.client() as client:
        with pytest.raises(error, match=told):
            await client.create_app({"id": "/a", "cmd": "true"})
    assert marathon.writes == ["POST /v2/apps"]


async def test_a_credential_comes_from_a_file_and_stays_out_of_errors(tmp_path: Path) -> None:
    secret = tmp_path / "credential"
    secret.write_text("marathon:s3cret-word")
    marathon = Marathon(**{"GET /v2/apps": [httpx.Response(401)]})
    async with marathon.client(credential_file=secret) as client:
        with pytest.raises(AuthenticationError) as caught:
            await client.apps()
    assert "s3cret" not in str(caught.value)
    assert marathon.requests[-1].headers["authorization"].startswith("Basic ")
    with pytest.raises(AuthenticationError, match="0600"):
        MarathonClient(INSTANCES, tmp_path / "missing")


WRITES: list[tuple[str, Callable[[MarathonClient], Awaitable[Any]], Any]] = [
    ("POST /v2/apps", lambda c: c.create_app({"id": "/a"}), {"id": "/a"}),
    ("PUT /v2/apps/g/a", lambda c: c.scale_app("/g/a", 2), {"instances": 2}),
    ("POST /v2/apps/a/restart", lambda c: c.restart_app("/a"), None),
    ("DELETE /v2/apps/a", lambda c: c.delete_app("/a"), None),
    ("PUT /v2/groups/g", lambda c: c.put_group("/g", {"id": "/g"}), {"id": "/g"}),
    ("DELETE /v2/groups/g", lambda c: c.delete_group("/g"), None),
    ("DELETE /v2/deployments/d", lambda c: c.roll_back("d"), None),
    ("POST /v2/tasks/delete", lambda c: c.kill_tasks(["t"], scale=True), {"ids": ["t"]}),
]


@pytest.mark.parametrize(("key", "call", "body"), WRITES, ids=[one[0] for one in WRITES])
async def test_writes_name_what_they_mean(
    key: str, call: Callable[[MarathonClient], Awaitable[Any]], body: Any
) -> None:
    marathon = Marathon(**{key: [httpx.Response(200, json=STARTED)]})
    async with marathon.client() as client:
        assert await call(client) == Started("d1", "v1")
    assert marathon.asked[-1] == (key, body)
    assert "force" not in marathon.requests[-1].url.params


async def test_creating_an_app_answers_with_the_app() -> None:
    app = {"id": "/a", "version": "v1", "deployments": [{"id": "d1"}]}
    marathon = Marathon(**{"POST /v2/apps": [httpx.Response(201, json=app)]})
    async with marathon.client() as client:
        assert await client.create_app({"id": "/a", "cmd": "true"}) == Started("d1", "v1")


async def test_what_is_not_there_is_none_and_not_an_error() -> None:
    absent = httpx.Response(404, json={"message": "App '/a' does not exist"})
    keys = ("GET /v2/apps/a", "DELETE /v2/apps/a", "GET /v2/groups/g", "DELETE /v2/groups/g")
    marathon = Marathon(**{key: [absent] for key in (*keys, "DELETE /v2/deployments/d")})
    async with marathon.client() as client:
        assert await client.app("/a") is None
        assert await client.delete_app("/a") is None
        assert await client.group("/g") is None
        assert await client.delete_group("/g") is None
        assert await client.roll_back("d") is None


async def test_events_are_read_and_their_end_is_an_error() -> None:
    feed = Feed()
    feed.event("event_stream_attached", {"remoteAddress": "x"})
    feed.event("deployment_info", {"plan": {"id": "d1"}, "currentStep": {}})
    task = {"appId": "/a", "taskId": "t", "slaveId": "S0", "taskStatus": "TASK_RUNNING"}
    feed.event("status_update_event", task)
    feed.event(
        "instance_health_changed_event", {"runSpecId": "/a", "instanceId": "i", "healthy": True}
    )
    feed.event("deployment_success", {"id": "d1", "plan": {"id": "d1"}})
    feed.event("deployment_failed", {"id": "d2"})
    feed.event("from_the_future", {"a": 1})
    feed.put(b"event: deployment_suc")
    feed.end()
    marathon = Marathon(**{"GET /v2/events": [httpx.Response(200, stream=feed)]})
    async with marathon.client() as client:
        found, end = await take_all(client.events(["deployment_success"]))
    assert found == [
        Attached(),
        DeploymentStep("d1", "deployment_info"),
        TaskChanged("/a", "t", "S0", "TASK_RUNNING", ""),
        HealthChanged("/a", "i", healthy=True),
        DeploymentSucceeded("d1"),
        DeploymentFailed("d2", "no reason"),
        Other("from_the_future", {"a": 1}),
    ]
    assert isinstance(end, StreamEndedError)
    assert "middle" in str(end)
    assert marathon.requests[-1].url.params["event_type"] == "deployment_success"


async def test_a_silent_stream_and_a_page_are_no_streams() -> None:
    marathon = Marathon(**{"GET /v2/events": [httpx.Response(200, stream=Feed())]})
    async with marathon.client() as client:
        _, end = await take_all(client.events(silence_s=0.01))
    assert isinstance(end, StreamEndedError)
    page = httpx.Response(200, html="<html></html>")
    marathon = Marathon(**{"GET /v2/events": [page]})
    async with marathon.client() as client:
        _, end = await take_all(client.events())
    assert isinstance(end, ProtocolError)


@pytest.mark.parametrize("end", ["cut", "silent"])
async def test_a_refused_stream_whose_words_do_not_come_to_an_end_is_an_error_in_time(
    end: str,
) -> None:
    feed = Feed()
    feed.put(b"shutting")
    if end == "cut":
        feed.cut()
    marathon = Marathon(**{"GET /v2/events": [httpx.Response(503, stream=feed)]})
    async with marathon.client(timeout_s=0.2) as client, asyncio.timeout(_BOUND_S):
        found, error = await take_all(client.events())
    assert found == []
    assert isinstance(error, UnreachableError)
    assert ("ReadError" if end == "cut" else "TimeoutError") in str(error)
    assert feed.is_closed


LINE_ENDS = st.sampled_from(["\n", "\r\n", "\r"])
TEXTS = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1)


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=5), LINE_ENDS, st.integers(1, 7))
def test_events_come_out_however_the_bytes_arrive(texts: list[str], end: str, size: int) -> None:
    stream = f": a comment{end}" + "".join(
        f"event: k{end}data: {text}{end}data: more{end}id: 1{end}{end}" for text in texts
    )
    data = (stream + "\n").encode()
    decoder = SseDecoder()
    found: list[tuple[str, str]] = []
    for start in range(0, len(data), size):
        found += decoder.feed(data[start : start + size])
    assert found == [("k", f"{text}\nmore") for text in texts]


class _Counted:
    """A pattern that counts the characters in which it is looked for."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern
        self.chars = 0

    def split(self, text: str) -> list[str]:
        self.chars += len(text)
        return self._pattern.split(text)


def test_a_long_line_is_searched_once_however_many_pieces_it_comes_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends = _Counted(re.compile("\r\n|\n|\r"))
    monkeypatch.setattr("clients.marathon.events._LINE_END", ends)
    data = b"event: k\r\ndata: " + b"x" * 500_000 + b"\r\n\r\n"
    decoder = SseDecoder()
    found: list[tuple[str, str]] = []

    for start in range(0, len(data), 1_000):
        found += decoder.feed(data[start : start + 1_000])

    assert found == [("k", "x" * 500_000)]
    assert ends.chars <= 1.1 * len(data)


@pytest.mark.parametrize("piece", [b"data: xxxxxxxxxx", b"data: xxxxxxxxxx\n"])
def test_an_event_that_does_not_end_is_refused(
    monkeypatch: pytest.MonkeyPatch, piece: bytes
) -> None:
    monkeypatch.setattr("clients.marathon.events.EVENT_CHARS_MAX", 1_000)
    with pytest.raises(ProtocolError, match="at most 1000 characters, saw one go on: '"):
        SseDecoder().feed(piece * 200)
