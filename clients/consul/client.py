"""Requests to the servers of one Consul, whichever of them answers.

Each server hands requests on to the leader, so any will do. One that is away, restarts or knows no
leader (500 or 503 in its words) is passed over for the next, again and again until the time is
over. Every call here may be made twice: the catalog is told what is to be, and not what to change.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx

from clients.access import Tls, scheme
from clients.consul.errors import (
    ForbiddenError,
    ProtocolError,
    RequestRefusedError,
    UnreachableError,
)
from clients.consul.model import Check, Node, Service, Status
from clients.errors import AccessError, TryAgainError
from clients.http import http_client
from clients.rounds import Rounds

# One server that hangs must not use up the time of all.
_ATTEMPT_SHARE = 3.0
_FORBIDDEN, _TOO_MANY, _SERVER_ERROR = 403, 429, 500
_AWAY = frozenset({502, 503, 504})
_REASON_CHARS_MAX = 200
# Consul refuses with 500, too, and names what it refuses. These are phrases of its own, of raft, of
# calls between its servers and of the network, where it could not ask its leader, or that could not
# keep what it was told: another try may bring it about. A name has no space in it, so that none is
# taken for one of them.
_PASSING = re.compile(
    r"No cluster leader|No known Consul servers|No path to datacenter|rate limit"
    r"|Not ready to serve consistent reads|node is not the leader|leadership (?:lost|transfer)"
    r"|while committing log|timed out enqueuing|rpc error getting client|failed to get conn"
    r"|didn't get connection|(?:^|: |unexpected )EOF|i/o (?:timeout|deadline)"
    r"|(?:write|keepalive) timeout"
    r"|deadline exceeded|context canceled|already shutdown|(?:: |session )shutdown|is shut down"
    r"|connection (?:refused|reset|closed)|stream (?:closed|reset)|broken pipe"
    r"|closed network connection",
    re.IGNORECASE,
)
_T = TypeVar("_T")


class ConsulClient:
    """Consul by its `servers`, host:port. `timeout_s` bounds each call; `transport` replaces the
    network in tests.

    Raises:
        AccessError: a file of the token or of TLS cannot be used.
    """

    def __init__(
        self,
        servers: Sequence[str],
        token_file: Path | None = None,
        *,
        tls: Tls | None = None,
        timeout_s: float = 10.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        if not servers:
            msg = "expected at least one server of Consul as host:port, saw none"
            raise ValueError(msg)
        self._servers = tuple(servers)
        self._scheme = scheme(tls)
        self._timeout_s = timeout_s
        self._headers = {} if token_file is None else {"X-Consul-Token": _token(token_file)}
        self._client = http_client(None, tls, timeout_s=timeout_s, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close connections."""
        await self._client.aclose()

    async def nodes(self) -> tuple[Node, ...]:
        """Every node of the catalog.

        Raises:
            ConsulError: see clients.consul.errors.
        """
        found = await self._get("/v1/catalog/nodes")
        return tuple(_of_shape(_node, one) for one in found or ())

    async def services(self, node: str) -> tuple[Service, ...]:
        """Instances of services on a node; none where there is no such node.

        Raises:
            ConsulError: see clients.consul.errors.
        """
        found = await self._get(f"/v1/catalog/node-services/{quote(node, safe='')}")
        return _of_shape(_services, found)

    async def checks(self, node_meta: Mapping[str, str]) -> tuple[Check, ...]:
        """Checks, of whatever status, of nodes with that meta and of services there.

        Raises:
            ConsulError: see clients.consul.errors.
        """
        wanted = [("node-meta", f"{key}:{value}") for key, value in node_meta.items()]
        found = await self._get("/v1/health/state/any", wanted)
        return tuple(_of_shape(_check, one) for one in found or ())

    async def register(
        self, node: Node, service: Service, status: Status, *, check: str, output: str
    ) -> None:
        """Let the catalog have a node, a service there, and a check of that service.

        Raises:
            ConsulError: see clients.consul.errors.
        """
        body = {
            "Node": node.name,
            "Address": node.address,
            "NodeMeta": dict(node.meta),
            "Service": {
                "ID": service.id,
                "Service": service.name,
                "Address": service.address,
                "Port": service.port,
                "Tags": list(service.tags),
                "Meta": dict(service.meta),
            },
            "Check": {
                "Node": node.name,
                "CheckID": check,
                "Name": "Health of the task",
                "Status": str(status),
                "ServiceID": service.id,
                "Output": output,
            },
        }
        await self._put("/v1/catalog/register", body)

    async def deregister(self, node: str, service_id: str | None = None) -> None:
        """Take a service with its checks out of the catalog, or a node with all that it has.

        Raises:
            ConsulError: see clients.consul.errors.
        """
        body = {"Node": node} | ({} if service_id is None else {"ServiceID": service_id})
        await self._put("/v1/catalog/deregister", body)

    async def _get(self, path: str, params: Sequence[tuple[str, str]] = ()) -> Any:
        answer = await self._ask("GET", path, params, None)
        try:
            return answer.json()
        except ValueError:
            raise _foreign(path, answer.text) from None

    async def _put(self, path: str, body: Mapping[str, Any]) -> None:
        answer = await self._ask("PUT", path, (), body)
        if answer.text.strip() != "true":
            raise _foreign(path, answer.text)

    async def _ask(
        self,
        method: str,
        path: str,
        params: Sequence[tuple[str, str]],
        body: Mapping[str, Any] | None,
    ) -> httpx.Response:
        rounds = Rounds(self._servers, self._timeout_s)
        while True:
            try:
                return await self._attempt(rounds, method, path, params, body)
            except TryAgainError as failure:
                await rounds.again(failure, repeatable=True)

    async def _attempt(
        self,
        rounds: Rounds,
        method: str,
        path: str,
        params: Sequence[tuple[str, str]],
        body: Mapping[str, Any] | None,
    ) -> httpx.Response:
        server = rounds.member
        left_s = max(0.05, rounds.deadline - time.monotonic())
        share_s = min(left_s, self._timeout_s / _ATTEMPT_SHARE)
        try:
            async with asyncio.timeout(share_s):
                answer = await self._client.request(
                    method,
                    f"{self._scheme}://{server}{path}",
                    params=httpx.QueryParams(tuple(params)),
                    json=body,
                    headers=self._headers,
                )
        except (httpx.HTTPError, TimeoutError) as error:
            raise _try_again(server, str(error) or type(error).__name__) from None
        said = answer.text.strip()[:_REASON_CHARS_MAX]
        status = answer.status_code
        if status in {_TOO_MANY, *_AWAY} or (status == _SERVER_ERROR and _PASSING.search(said)):
            raise _try_again(server, f"{status}: {said}")
        if status == _FORBIDDEN:
            msg = (
                f"expected {method} {path} to be allowed, saw 403: {said}: give the token a policy "
                "that lets it write nodes and services"
            )
            raise ForbiddenError(msg)
        if not answer.is_success:
            msg = f"expected {method} {path} to be taken, saw {status}: {said}"
            raise RequestRefusedError(msg)
        return answer


def _try_again(server: str, seen: str) -> TryAgainError:
    msg = f"expected an answer of Consul at {server}, saw {seen}: see whether its servers run"
    return TryAgainError(UnreachableError(msg), sent=True)


def _token(path: Path) -> str:
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        seen = error.strerror if isinstance(error, OSError) else "bytes that are no text"
        msg = f"expected a token in {path}, saw {seen}: create it with mode 0600"
        raise AccessError(msg) from None
    if not token or not token.isascii() or not token.isprintable():
        msg = f"expected a token of one line in {path}, saw another form: write it anew"
        raise AccessError(msg)
    return token


def _foreign(what: str, text: str) -> ProtocolError:
    msg = f"expected an answer of Consul to {what}, saw {text[:_REASON_CHARS_MAX]!r}: is it Consul?"
    return ProtocolError(msg)


def _of_shape(parse: Callable[[Any], _T], body: Any) -> _T:
    try:
        return parse(body)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _foreign(parse.__name__.strip("_"), str(body)) from None


def _node(body: Any) -> Node:
    return Node(str(body["Node"]), str(body["Address"]), _texts(body.get("Meta")))


def _services(body: Any) -> tuple[Service, ...]:
    told: dict[str, Any] = body or {}
    return tuple(_service(one) for one in told.get("Services") or ())


def _service(body: Any) -> Service:
    return Service(
        id=str(body["ID"]),
        name=str(body["Service"]),
        address=str(body.get("Address") or ""),
        port=int(body.get("Port") or 0),
        tags=tuple(str(tag) for tag in body.get("Tags") or ()),
        meta=_texts(body.get("Meta")),
    )


def _check(body: Any) -> Check:
    return Check(
        str(body["Node"]), str(body["CheckID"]), str(body["Status"]), str(body["ServiceID"])
    )


def _texts(body: Any) -> dict[str, str]:
    texts: dict[Any, Any] = body or {}
    return {str(key): str(value) for key, value in texts.items()}
