"""Requests to the instances of one Marathon: find the leader, talk to it, give up in time.

Followers hand requests on to the leader. This client asks for the leader instead, refuses one that
is none of the declared instances, and talks to it, so that a request meant for one cluster never
changes another's. Only reads are repeated once they may have arrived: the same PUT twice is two
deployments, of which the second meets the lock of the first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx

from clients.access import Tls, scheme
from clients.errors import AccessError, TryAgainError
from clients.http import http_client
from clients.marathon import parse
from clients.marathon.errors import (
    AuthenticationError,
    ForeignLeaderError,
    InvalidError,
    LockedError,
    NoLeaderError,
    NotFoundError,
    ProtocolError,
    RequestRefusedError,
    TooManyDeploymentsError,
    UnreachableError,
)
from clients.rounds import Rounds

Params = Mapping[str, str] | Sequence[tuple[str, str]]
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _CONFLICT, _INVALID = 401, 403, 404, 409, 422
# What is said by a follower without a leader, and by one, or a balancer, that handed the request on
# and got no answer.
_NO_LEADER, _NO_ANSWER = 503, frozenset({502, 504})
_MAYBE = "it may have arrived, so look before repeating it"
# One instance that hangs must not use up the time of all.
_ATTEMPT_SHARE = 3.0
_ACCEPT = {"Accept": "application/json"}


class Transport:
    """HTTP with the instances of one Marathon.

    Raises:
        AuthenticationError: a file of the credential or of TLS cannot be used.
    """

    def __init__(  # noqa: PLR0913 - by keyword, handed through by the client
        self,
        instances: Sequence[str],
        *,
        credential_file: Path | None,
        timeout_s: float,
        any_leader: bool,
        tls: Tls | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        if not instances:
            msg = "expected at least one instance of Marathon as host:port, saw none"
            raise ValueError(msg)
        self.instances = tuple(instances)
        self.timeout_s = timeout_s
        self._any_leader = any_leader
        self._scheme = scheme(tls)
        self._leader: str | None = None
        try:
            self._client = http_client(
                credential_file, tls, timeout_s=timeout_s, transport=transport
            )
        except AccessError as error:
            raise AuthenticationError(str(error)) from None

    async def close(self) -> None:
        """Close connections."""
        await self._client.aclose()

    async def request(
        self, method: str, path: str, *, params: Params | None = None, body: Any = None
    ) -> Any:
        """Make a request of the leader; returns the answer's JSON, None without one.

        Raises:
            MarathonError: see clients.marathon.errors.
        """
        what = f"{method} {path}"
        rounds = Rounds(self.instances, self.timeout_s)
        deadline = rounds.deadline
        while True:
            instance = rounds.member
            try:
                leader = self._leader or await self._find_leader(instance, deadline)
                answer = await self._send(leader, method, path, deadline, params=params, body=body)
                check(what, answer, leader)
                self._leader = leader
                return read_json(what, answer)
            except TryAgainError as failure:
                self._leader = None
                await rounds.again(failure, repeatable=method == "GET" or not failure.sent)

    async def _find_leader(self, instance: str, deadline: float) -> str:
        if self._any_leader:
            return instance
        try:
            answer = await self._send(instance, "GET", "/v2/leader", deadline)
            if answer.status_code == _NOT_FOUND:
                msg = f"expected a leader at {instance}, saw none: wait for the election"
                raise TryAgainError(NoLeaderError(msg), sent=False)
            check("GET /v2/leader", answer, instance)
        except TryAgainError as failure:
            # Whatever became of this question, the request itself is still here.
            raise TryAgainError(failure.error, sent=False) from None
        leader = parse.leader(read_json("GET /v2/leader", answer))
        if leader not in self.instances:
            raise ForeignLeaderError(leader=leader, declared=self.instances)
        return leader

    async def _send(  # noqa: PLR0913 - by keyword, what a request is made of
        self,
        address: str,
        method: str,
        path: str,
        deadline: float,
        *,
        params: Params | None = None,
        body: Any = None,
    ) -> httpx.Response:
        left_s = max(0.05, deadline - time.monotonic())
        share_s = min(left_s, self.timeout_s / _ATTEMPT_SHARE)
        # What changes something is not asked of another instance: it has all the time there is.
        read_s = share_s if method == "GET" else left_s
        try:
            async with asyncio.timeout(left_s):
                return await self._client.request(
                    method,
                    f"{self._scheme}://{address}{path}",
                    params=httpx.QueryParams(
                        tuple(params) if isinstance(params, Sequence) else params
                    ),
                    json=body,
                    headers=_ACCEPT,
                    timeout=httpx.Timeout(share_s, read=read_s),
                )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise self._unreachable(address, error, sent=False) from None
        except (httpx.HTTPError, TimeoutError) as error:
            # A question changes nothing, whether it has arrived or not.
            raise self._unreachable(address, error, sent=method != "GET") from None

    def _unreachable(self, address: str, error: Exception, *, sent: bool) -> TryAgainError:
        maybe = f"; {_MAYBE}" if sent else ""
        told = UnreachableError(
            f"expected an answer of Marathon at {address} in {self.timeout_s:g} s, saw "
            f"{type(error).__name__}{maybe}: is any of {', '.join(self.instances)} up?"
        )
        return TryAgainError(told, sent=sent)

    async def leader(self) -> str:
        """Address of the leader, which is one of the declared instances."""
        await self.request("GET", "/v2/leader")
        return self._leader or self.instances[0]

    @asynccontextmanager
    async def stream(
        self, path: str, params: Sequence[tuple[str, str]]
    ) -> AsyncGenerator[httpx.Response]:
        """Open an event stream with the leader, once. Reading it is not bounded here, a refusal
        is."""
        leader = await self.leader()
        request = self._client.build_request(
            "GET",
            f"{self._scheme}://{leader}{path}",
            params=list(params),
            headers={"Accept": "text/event-stream"},
            timeout=httpx.Timeout(self.timeout_s, read=None),
        )
        try:
            async with asyncio.timeout(self.timeout_s):
                response = await self._client.send(request, stream=True)
        except (httpx.HTTPError, TimeoutError) as error:
            raise self._unreachable(leader, error, sent=False).error from None
        try:
            if not response.is_success:
                await self._read_refusal(response, leader)
                check(f"GET {path}", response, leader)
            yield response
        except TryAgainError as failure:
            raise failure.error from None
        finally:
            await response.aclose()

    async def _read_refusal(self, response: httpx.Response, leader: str) -> None:
        """A leader that is ending cuts its words off, or leaves them without an end."""
        try:
            async with asyncio.timeout(self.timeout_s):
                await response.aread()
        except (httpx.HTTPError, TimeoutError) as error:
            raise self._unreachable(leader, error, sent=False) from None


def read_json(what: str, answer: httpx.Response) -> Any:
    """The answer's JSON.

    Raises:
        ProtocolError: it is none.
    """
    if not answer.content.strip():
        return None
    try:
        return answer.json()
    except ValueError:
        msg = f"expected JSON of {what}, saw {answer.text[:120]!r}: is this Marathon?"
        raise ProtocolError(msg) from None


def check(what: str, answer: httpx.Response, address: str) -> None:
    """Turn statuses into errors.

    Raises:
        MarathonError: unless the request was taken.
    """
    status = answer.status_code
    if answer.is_success:
        return
    text, body = _told(answer)
    if status == _NO_LEADER:
        error = NoLeaderError(f"expected a leader behind {address}, saw {status}: {text}")
        raise TryAgainError(error, sent=False)
    if status in _NO_ANSWER:
        msg = (
            f"expected the leader behind {address} to answer {what}, saw {status}: {text}; {_MAYBE}"
        )
        raise TryAgainError(UnreachableError(msg), sent=True)
    if answer.text.lstrip().startswith("<") and status not in {_UNAUTHORIZED, _FORBIDDEN}:
        msg = f"expected Marathon at {address}, saw an HTML page with status {status}"
        raise ProtocolError(msg)
    if status == _FORBIDDEN and "deployments" in text:
        msg = f"expected {what} to start a deployment, saw {text}: wait until others have ended"
        raise TooManyDeploymentsError(msg)
    if status in {_UNAUTHORIZED, _FORBIDDEN}:
        said = answer.headers.get("www-authenticate") or text[:200]
        msg = (
            f"expected {address} to let this user do {what}, saw {status} ({said}): give the "
            "credential file of a user with that right"
        )
        raise AuthenticationError(msg)
    locks = cast("list[dict[str, Any]]", body.get("deployments") or [])
    # The same status says that an app of that id is there already.
    if status == _CONFLICT and (locks or "locked" in text):
        raise LockedError(what, [str(one.get("id")) for one in locks])
    if status == _INVALID:
        raise InvalidError(what, text, _details(body))
    refused = NotFoundError if status == _NOT_FOUND else RequestRefusedError
    raise refused(what, status, text)


def _told(answer: httpx.Response) -> tuple[str, dict[str, Any]]:
    """The words of a refusal, and the JSON that they stood in."""
    try:
        body = answer.json()
    except ValueError:
        return answer.text.strip()[:400] or "no text", {}
    if not isinstance(body, dict):
        return str(body)[:400], {}
    found = cast("dict[str, Any]", body)
    return str(found.get("message") or found)[:400], found


def _details(body: dict[str, Any]) -> list[tuple[str, str]]:
    details: list[tuple[str, str]] = []
    for one in cast("list[Any]", body.get("details") or []):
        if isinstance(one, dict):
            detail = cast("dict[str, Any]", one)
            wrong = "; ".join(str(error) for error in detail.get("errors") or ())
            details.append((str(detail.get("path", "")), wrong))
    return details
