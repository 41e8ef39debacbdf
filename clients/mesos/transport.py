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
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

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

Json = dict[str, Any]
_OK, _REDIRECT, _UNAUTHORIZED, _FORBIDDEN = 200, 307, 401, 403
_NOT_FOUND, _UNAVAILABLE = 404, 503
_PAUSE_S = 0.1
# A redirect may point at a master that has just been deposed; longer chains are a loop.
_REDIRECTS_MAX = 5
# One master that hangs must not use up the time of all.
_ATTEMPT_SHARE = 3.0


class _TryAgainError(Exception):
    """This attempt told nothing that lasts."""

    def __init__(self, error: MesosError, *, sent: bool) -> None:
        self.error = error
        self.sent = sent
        super().__init__(str(error))


def read_credential(path: Path | None) -> httpx.BasicAuth | None:
    """Read `principal:secret` from a file.

    Raises:
        AuthenticationError: the file cannot be read, or holds another form.
    """
    if path is None:
        return None
    try:
        principal, colon, secret = path.read_text().strip().partition(":")
    except OSError as error:
        msg = f"expected a credential in {path}, saw {error.strerror}: create it with mode 0600"
        raise AuthenticationError(msg) from None
    if not principal or not colon or not secret:
        msg = f"expected principal:secret in {path}, saw another form: write it anew"
        raise AuthenticationError(msg)
    return httpx.BasicAuth(principal, secret)


class Transport:
    """HTTP with the masters of one cluster."""

    def __init__(
        self,
        masters: Sequence[str],
        *,
        credential_file: Path | None,
        timeout_s: float,
        follow_projection: bool,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        if not masters:
            msg = "expected at least one master as host:port, saw none"
            raise ValueError(msg)
        self.masters = tuple(masters)
        self._timeout_s = timeout_s
        self._follow_projection = follow_projection
        self._leader: str | None = None
        self._client = httpx.AsyncClient(
            auth=read_credential(credential_file),
            timeout=timeout_s,
            follow_redirects=False,
            transport=transport,
        )

    async def close(self) -> None:
        """Close connections."""
        await self._client.aclose()

    async def call(self, call: Json, *, idempotent: bool = True) -> bytes:
        """Post a call of the operator API to the leader; returns the body of its answer.

        Raises:
            MesosError: see clients.mesos.errors.
        """
        deadline = time.monotonic() + self._timeout_s
        attempt = 0
        while True:
            address = self._next(attempt)
            try:
                return await self._post(address, call, deadline)
            except _TryAgainError as failure:
                self._leader = None
                attempt += 1
                if time.monotonic() >= deadline or (failure.sent and not idempotent):
                    raise failure.error from None
            if attempt % len(self.masters) == 0:
                await asyncio.sleep(min(_PAUSE_S, max(0.0, deadline - time.monotonic())))

    def _next(self, attempt: int) -> str:
        return self._leader or self.masters[attempt % len(self.masters)]

    async def _post(self, address: str, call: Json, deadline: float) -> bytes:
        kind = str(call["type"])
        for _ in range(_REDIRECTS_MAX):
            bound_s = max(0.05, min(deadline - time.monotonic(), self._timeout_s / _ATTEMPT_SHARE))
            try:
                answer = await self._client.post(
                    f"http://{address}/api/v1",
                    json=call,
                    headers={"Accept": "application/json"},
                    timeout=bound_s,
                )
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
                raise self._unreachable(address, error, sent=False) from None
            except httpx.HTTPError as error:
                raise self._unreachable(address, error, sent=True) from None
            if answer.status_code == _REDIRECT:
                address = self._leader_of(answer)
                continue
            check(kind, answer, address)
            self._leader = address
            return answer.content
        error = NoLeaderError(
            f"expected a leader among {', '.join(self.masters)}, saw {_REDIRECTS_MAX} redirects "
            "in a row: wait for the election"
        )
        raise _TryAgainError(error, sent=False)

    def _unreachable(self, address: str, error: Exception, *, sent: bool) -> _TryAgainError:
        told = UnreachableError(
            f"expected an answer of master {address} in {self._timeout_s:g} s, saw "
            f"{type(error).__name__}: is any of {', '.join(self.masters)} up?"
        )
        return _TryAgainError(told, sent=sent)

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
            answer = await self._client.get(f"http://{master}{path}")
        except httpx.HTTPError as error:
            msg = f"expected an answer of master {master}, saw {type(error).__name__}: is it up?"
            raise UnreachableError(msg) from None
        if answer.status_code in {_UNAUTHORIZED, _FORBIDDEN}:
            _refuse_credential(path, answer, master)
        return answer

    async def redirect(self) -> str:
        """Address of the leader that the masters follow.

        Raises:
            NoLeaderError: masters answer, and know of none.
            UnreachableError: no master answers.
        """
        deadline = time.monotonic() + self._timeout_s
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
            if time.monotonic() >= deadline:
                raise error
            await asyncio.sleep(_PAUSE_S)

    @asynccontextmanager
    async def stream(self, call: Json, *, silence_s: float) -> AsyncGenerator[httpx.Response]:
        """Open an event stream with the leader; reading fails after `silence_s` without a byte."""
        leader = await self.redirect()
        timeout = httpx.Timeout(self._timeout_s, read=silence_s)
        async with self._client.stream(
            "POST",
            f"http://{leader}/api/v1",
            json=call,
            headers={"Accept": "application/json"},
            timeout=timeout,
        ) as response:
            if response.status_code != _OK:
                await response.aread()
                try:
                    check(str(call["type"]), response, leader)
                except _TryAgainError as failure:
                    raise failure.error from None
                msg = f"expected an event stream of {leader}, saw status {response.status_code}"
                raise NoLeaderError(msg)
            yield response


def check(kind: str, answer: httpx.Response, address: str) -> None:
    """Turn statuses into errors.

    Raises:
        MesosError: unless the call was accepted.
    """
    status = answer.status_code
    if answer.is_success:
        return
    if status in {_UNAUTHORIZED, _FORBIDDEN}:
        _refuse_credential(kind, answer, address)
    text = answer.text.strip()
    if text.startswith("<"):
        msg = f"expected Mesos at {address}, saw an HTML page with status {status}"
        raise ProtocolError(msg)
    if status == _UNAVAILABLE:
        error = NoLeaderError(f"expected a leader at {address}, saw 503: {text or 'no text'}")
        raise _TryAgainError(error, sent=False)
    if status == _NOT_FOUND:
        raise NotFoundError(kind, status, text)
    raise CallRefusedError(kind, status, text)


def _refuse_credential(what: str, answer: httpx.Response, address: str) -> None:
    realm = answer.headers.get("www-authenticate", "no realm")
    msg = (
        f"expected {address} to let this principal do {what}, saw {answer.status_code} ({realm}): "
        "give the credential file of a principal with that right"
    )
    raise AuthenticationError(msg)
