"""The client of the Kubernetes API: whose fault a refusal is, and which object is meant."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import certifi
import httpx
import pytest

from clients.kubernetes import (
    Access,
    ForbiddenError,
    Identity,
    KubernetesClient,
    KubernetesError,
    RefusedError,
)

Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    token = tmp_path / "token"
    token.write_text("t0k3n\n")
    return Identity("https://api.invalid:6443", token, Path(certifi.where()))


def client(identity: Identity, answer: httpx.Response | Handler) -> KubernetesClient:
    def handler(request: httpx.Request) -> httpx.Response:
        return answer if isinstance(answer, httpx.Response) else answer(request)

    return KubernetesClient(identity, transport=httpx.MockTransport(handler))


def refusal(code: int, reason: str) -> httpx.Response:
    return httpx.Response(code, json={"kind": "Status", "reason": reason, "message": "it says why"})


@pytest.mark.parametrize(
    ("answer", "kind", "retryable"),
    [
        (refusal(403, "Forbidden"), ForbiddenError, False),
        (refusal(422, "Invalid"), RefusedError, False),
        (refusal(409, "Conflict"), RefusedError, False),
        (refusal(500, "InternalError"), RefusedError, True),
        (refusal(504, "Timeout"), RefusedError, True),
        (refusal(429, "TooManyRequests"), RefusedError, True),
        (httpx.Response(503, text="no healthy upstream"), RefusedError, True),
        (httpx.Response(404, text="404 page not found"), RefusedError, False),
    ],
)
async def test_a_refusal_says_whether_asking_again_may_help(
    identity: Identity, answer: httpx.Response, kind: type[KubernetesError], retryable: bool
) -> None:
    async with client(identity, answer) as kubernetes:
        with pytest.raises(RefusedError, match="expected the API server to PATCH /any") as refused:
            await kubernetes.patch("/any", {})
    assert type(refused.value) is kind
    assert refused.value.retryable is retryable


async def test_a_removal_by_uid_leaves_a_successor_of_that_name_alone(identity: Identity) -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return refusal(409, "Conflict")

    async with client(identity, answer) as kubernetes:
        await kubernetes.delete("/any", uid="u-1")
        # Without one, a conflict is nobody's success.
        with pytest.raises(RefusedError, match="Conflict"):
            await kubernetes.delete("/any")
    body: Any = json.loads(asked[0].content)
    assert (body["kind"], body["preconditions"]) == ("DeleteOptions", {"uid": "u-1"})
    assert asked[1].content == b""


@pytest.mark.parametrize("status", [{"allowed": True}, {"allowed": False}, {}])
async def test_what_the_caller_may_do_is_asked_of_the_server(
    identity: Identity, status: dict[str, bool]
) -> None:
    asked: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content))
        return httpx.Response(201, json={"status": status})

    wanted = Access("create", "", "pods/eviction", "mesos", "green-masters-0")
    async with client(identity, answer) as kubernetes:
        assert await kubernetes.may(wanted) is status.get("allowed", False)
    assert asked[0]["spec"]["resourceAttributes"] == {
        "namespace": "mesos",
        "verb": "create",
        "group": "",
        "resource": "pods",
        "subresource": "eviction",
        "name": "green-masters-0",
    }
