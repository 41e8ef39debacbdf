"""Requests to a group of masters: find the leader, follow redirects, give up in time.

A follower answers 307 with a scheme-relative address, a group between two leaders 503, a dead
master not at all. All three are tried again until the deadline, with the next master; a request
that may have reached a leader is repeated only when repeating it changes nothing. The leader must
be one of the declared masters: behind a leader projection a cluster's masters redirect to another
cluster's, and a call meant for the one must not change the other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import httpx

from clients.access import Tls, scheme
from clients.errors import AccessError, TryAgainError
from clients.http import http_client
from clients.mesos.errors import (
    AuthenticationError,
    CallRefusedError,
    ForeignLeaderError,
    MesosError,
    NoLeaderError,
    NotFoundError,
    ProtocolError,
    UnreachableError,
)
from clients.mesos.lane import Lane, OneByOne, Poster
from clients.rounds import Rounds

Json = dict[str, Any]
OPERATOR_PATH = "/api/v1"
SCHEDULER_PATH = "/api/v1/scheduler"
_REDIRECT, _UNAUTHORIZED, _FORBIDDEN = 307, 401, 403
_NOT_FOUND, _UNAVAILABLE = 404, 503
# A redirect may point at a master that has just been deposed; longer chains are a loop.
_REDIRECTS_MAX = 5
# One master that hangs must not use up the time of all.
_ATTEMPT_SHARE = 3.0
_ACCEPT = {"Accept": "application/json"}


class Sink(Protocol):
    """Takes an answer while it arrives."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""

    def close(self) -> None:
        """That was all."""


_S = TypeVar("_S", bound=Sink)


class Whole:
    """Takes an answer as it is."""

    def __init__(self) -> None:
        self._content = bytearray()

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._content += data

    def close(self) -> None:
        """That was all."""

    @property
    def content(self) -> bytes:
        """All of it."""
        return bytes(self._content)


class Transport:
    """HTTP with the masters of one cluster.

    Raises:
        AuthenticationError: a file of the credential or of TLS cannot be used.
    """

    def __init__(  # noqa: PLR0913 - by keyword, what two clients hand through
        self,
        masters: Sequence[str],
        *,
        credential_file: Path | None,
        timeout_s: float,
        follow_projection: bool,
        tls: Tls | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        if not masters:
            msg = "expected at least one master as host:port, saw none"
            raise ValueError(msg)
        self.masters = tuple(masters)
        self.timeout_s = timeout_s
        self._follow_projection = follow_projection
        self._scheme = scheme(tls)
        self._tls = tls
        self._is_replaced = transport is not None
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

    def _url(self, address: str, path: str) -> str:
        return f"{self._scheme}://{address}{path}"

    async def call(self, call: Json, *, idempotent: bool = True) -> bytes:
        """Post a call of the operator API to the leader; returns the body of its answer.

        Raises:
            MesosError: see clients.mesos.errors.
        """
        sink = await self.call_into(call, Whole, idempotent=idempotent)
        return sink.content

    async def call_into(
        self, call: Json, begin: Callable[[], _S], *, idempotent: bool = True
    ) -> _S:
        """Post a call of the operator API to the leader; its answer goes into a sink, a new one an
        attempt, so that nothing is held but what the sink holds.

        Raises:
            MesosError: see clients.mesos.errors.
        """
        rounds = Rounds(self.masters, self.timeout_s)
        while True:
            address = self._leader or rounds.member
            try:
                return await self._post(address, call, rounds.deadline, begin)
            except TryAgainError as failure:
                self._leader = None
                await rounds.again(failure, repeatable=idempotent or not failure.sent)

    async def _post(self, address: str, call: Json, deadline: float, begin: Callable[[], _S]) -> _S:
        kind = str(call["type"])
        for _ in range(_REDIRECTS_MAX):
            left_s = max(0.05, deadline - time.monotonic())
            bound_s = min(left_s, self.timeout_s / _ATTEMPT_SHARE)
            request = self._client.build_request(
                "POST",
                self._url(address, OPERATOR_PATH),
                json=call,
                headers=_ACCEPT,
                timeout=bound_s,
            )
            try:
                async with asyncio.timeout(left_s):
                    answer = await self._client.send(request, stream=True)
                    try:
                        if answer.is_success:
                            sink = await _pour(answer, begin())
                            self._leader = address
                            return sink
                        await answer.aread()
                    finally:
                        await answer.aclose()
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
                raise self._unreachable(address, error, sent=False) from None
            except (httpx.HTTPError, TimeoutError) as error:
                raise self._unreachable(address, error, sent=True) from None
            if answer.status_code == _REDIRECT:
                address = self._leader_of(answer)
                continue
            check(kind, answer, address)
        raise TryAgainError(self._no_end_of_redirects(), sent=False)

    def _no_end_of_redirects(self) -> NoLeaderError:
        return NoLeaderError(
            f"expected a leader among {', '.join(self.masters)}, saw {_REDIRECTS_MAX} redirects "
            "in a row: wait for the election"
        )

    def _unreachable(self, address: str, error: Exception, *, sent: bool) -> TryAgainError:
        told = UnreachableError(
            f"expected an answer of master {address} in {self.timeout_s:g} s, saw "
            f"{type(error).__name__}: is any of {', '.join(self.masters)} up?"
        )
        return TryAgainError(told, sent=sent)

    def _leader_of(self, answer: httpx.Response) -> str:
        location = str(answer.headers.get("location", ""))
        leader = urlsplit(location).netloc
        if not leader:
            msg = f"expected Location //host:port of the leader, saw {location!r}"
            raise ProtocolError(msg)
        self.check_leader(leader)
        return leader

    def check_leader(self, leader: str) -> None:
        """Refuse a leader of another cluster.

        Raises:
            ForeignLeaderError: unless projections are to be followed.
        """
        if leader not in self.masters and not self._follow_projection:
            raise ForeignLeaderError(leader=leader, declared=self.masters)

    async def get(self, path: str, master: str) -> httpx.Response:
        """Get a path of one named master; redirects are returned, not followed.

        Raises:
            UnreachableError: it does not answer.
            AuthenticationError: it wants another credential.
        """
        try:
            async with asyncio.timeout(self.timeout_s):
                answer = await self._client.get(self._url(master, path))
        except (httpx.HTTPError, TimeoutError) as error:
            msg = f"expected an answer of master {master}, saw {type(error).__name__}: is it up?"
            raise UnreachableError(msg) from None
        if answer.status_code in {_UNAUTHORIZED, _FORBIDDEN}:
            refuse_credential(path, answer, master)
        return answer

    async def redirect(self) -> str:
        """Address of the leader that the masters follow.

        Raises:
            NoLeaderError: masters answer, and know of none.
            UnreachableError: no master answers.
        """
        rounds = Rounds(self.masters, self.timeout_s)
        error: MesosError
        while True:
            error = UnreachableError(
                f"expected an answer of one of {', '.join(self.masters)}, saw none: are they up?"
            )
            for master in self.masters:
                try:
                    answer = await self.get("/redirect", master)
                except UnreachableError:
                    continue
                if answer.status_code == _REDIRECT:
                    return self._leader_of(answer)
                error = NoLeaderError(
                    f"expected a leader of {', '.join(self.masters)}, saw none: wait for one"
                )
            if rounds.is_over:
                raise error
            await rounds.pause()

    @asynccontextmanager
    async def stream(self, path: str, call: Json) -> AsyncGenerator[tuple[str, httpx.Response]]:
        """Open an event stream with the leader; gives its address and the answer, already checked.
        Reading it is not bounded here: who reads knows how long silence may last.
        """
        leader = await self.redirect()
        for _ in range(_REDIRECTS_MAX):
            request = self._client.build_request(
                "POST",
                self._url(leader, path),
                json=call,
                headers=_ACCEPT,
                timeout=httpx.Timeout(self.timeout_s, read=None),
            )
            try:
                async with asyncio.timeout(self.timeout_s):
                    response = await self._client.send(request, stream=True)
            except (httpx.HTTPError, TimeoutError) as error:
                raise self._unreachable(leader, error, sent=True).error from None
            try:
                if response.is_success:
                    yield leader, response
                    return
                async with asyncio.timeout(self.timeout_s):
                    await response.aread()
                if response.status_code != _REDIRECT:
                    check(str(call["type"]), response, leader)
                leader = self._leader_of(response)
            except TryAgainError as failure:
                raise failure.error from None
            finally:
                await response.aclose()
        raise self._no_end_of_redirects()

    def poster(self, address: str, path: str, headers: dict[str, str]) -> Poster:
        """For many calls to one path of one master, each made once."""
        request = self._client.build_request(
            "POST",
            self._url(address, path),
            headers={**_ACCEPT, "Content-Type": "application/json", **headers},
        )
        if self._is_replaced:
            return OneByOne(self._client, request)
        if self._client.auth is not None:
            request = next(self._client.auth.sync_auth_flow(request))
        context = None if self._tls is None else self._tls.context()
        return Lane(request, tls=context, timeout_s=self.timeout_s)


async def _pour(answer: httpx.Response, sink: _S) -> _S:
    async for chunk in answer.aiter_bytes():
        sink.feed(chunk)
    sink.close()
    return sink


def check(kind: str, answer: httpx.Response, address: str) -> None:
    """Turn statuses into errors.

    Raises:
        MesosError: unless the call was accepted.
    """
    status = answer.status_code
    if answer.is_success:
        return
    if status in {_UNAUTHORIZED, _FORBIDDEN}:
        refuse_credential(kind, answer, address)
    text = answer.text.strip()
    if text.startswith("<"):
        msg = f"expected Mesos at {address}, saw an HTML page with status {status}"
        raise ProtocolError(msg)
    if status == _UNAVAILABLE:
        error = NoLeaderError(f"expected a leader at {address}, saw 503: {text or 'no text'}")
        raise TryAgainError(error, sent=False)
    if status == _NOT_FOUND:
        raise NotFoundError(kind, status, text)
    raise CallRefusedError(kind, status, text)


def refuse_credential(what: str, answer: httpx.Response, address: str) -> None:
    """Say who was refused what, without the credential.

    Raises:
        AuthenticationError: always.
    """
    said = answer.headers.get("www-authenticate") or answer.text.strip()[:200] or "no reason"
    msg = (
        f"expected {address} to let this principal do {what}, saw {answer.status_code} ({said}): "
        "give the credential file of a principal with that right"
    )
    raise AuthenticationError(msg)
