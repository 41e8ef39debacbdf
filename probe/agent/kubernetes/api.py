"""Calls of the Kubernetes API that a probe makes: pages of a list, a watch, and a lease.

Answers are read into only those fields that are kept (probe.agent.kubernetes.model), so an object
of several kilobytes is never more than a few fields. Lists share one connection, and with it the
memory of one page; each watch has its own, and so has what must not wait for a list: a lease.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from probe.agent.errors import AnswerError, RefusedError
from probe.agent.http import Connection
from probe.agent.kubernetes.access import Access
from probe.agent.text import TEXT_CHARS_MAX, clean

PAGE_OBJECTS = 500
_TIMEOUT_S = 30.0
# One object, as the server keeps it at most, and what its JSON adds.
_EVENT_BYTES_MAX = 8 * 1024 * 1024
GONE = 410
CONFLICT = 409
T = TypeVar("T")


class ListMeta(msgspec.Struct, rename="camel"):
    """Of a list: the version that it shows, and where it goes on."""

    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class Page(msgspec.Struct, Generic[T]):
    """Part of a list."""

    metadata: ListMeta
    items: list[T] | None = None


class Event(msgspec.Struct):
    """Something that happened to an object."""

    type: str
    object: msgspec.Raw


class Told(msgspec.Struct):
    """What the server says of a request that it refuses."""

    message: str = ""
    reason: str = ""
    code: int = 0


class ApiVersion(msgspec.Struct, rename="camel"):
    """Of the server."""

    git_version: str = ""


_EVENT = msgspec.json.Decoder(Event)


class Api:
    """One API server, as one user."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._ask = self._connection()
        self._list = self._connection()

    async def version(self) -> str:
        """Version of the server.

        Raises (all of them):
            UnreachableError: it does not answer.
            AnswerError: it does not answer as an API server does.
            RefusedError: it refuses; `status` says how.
            SettingsError: a token or certificate cannot be used.
        """
        return (await self.call("GET", "/version", ApiVersion)).git_version

    async def pages(self, path: str, kind: type[T], selector: str) -> AsyncGenerator[Page[T]]:
        """All objects of a kind, page by page; all pages show the same version."""
        words = {"limit": str(PAGE_OBJECTS)}
        if selector:
            words["fieldSelector"] = selector
        while True:
            target = f"{path}?{urlencode(words)}"
            page: Page[T] = await self._call(self._list, "GET", target, Page[kind])
            yield page
            if not page.metadata.continue_:
                return
            words["continue"] = page.metadata.continue_

    async def call(
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        body: Mapping[str, Any] | None = None,
        content: str = "application/json",
    ) -> T:
        """Ask for something, and read the answer."""
        return await self._call(self._ask, method, path, kind, body=body, content=content)

    async def _call(  # noqa: PLR0913 - by keyword, what makes a request
        self,
        connection: Connection,
        method: str,
        path: str,
        kind: type[T],
        *,
        body: Mapping[str, Any] | None = None,
        content: str = "",
    ) -> T:
        headers = dict(self.access.headers())
        data = b""
        if body is not None:
            headers["Content-Type"] = content
            data = msgspec.json.encode(body)
        answer = await connection.request(method, path, headers=headers, body=data)
        if not answer.is_success:
            what = f"{method} {path.partition('?')[0]}"
            raise _refused(what, answer.status, answer.body)
        return _read(answer.body, kind, path)

    def watch(self, path: str, words: Mapping[str, str], silence_s_max: float) -> Watch:
        """Follow a kind from a version on; one watch, which has to be closed."""
        return Watch(self.access, f"{path}?{urlencode(words, quote_via=quote)}", silence_s_max)

    async def close(self) -> None:
        """Close its connections."""
        await self._ask.close()
        await self._list.close()

    def _connection(self) -> Connection:
        access = self.access
        return Connection(access.place, timeout_s=_TIMEOUT_S, context=access.trust.context)


class Watch:
    """What happens to the objects of a kind, as it comes, on a connection of its own."""

    def __init__(self, access: Access, path: str, silence_s_max: float) -> None:
        self._access = access
        self._path = path
        self._silence_s_max = silence_s_max
        self._connection = Connection(
            access.place, timeout_s=_TIMEOUT_S, context=access.trust.context
        )

    async def events(self) -> AsyncGenerator[Event | None]:
        """Events; None first, when the server has taken the watch. Ends with an error.

        Raises:
            UnreachableError: the server ended it, as it does now and then, or it broke.
            AnswerError: an event that cannot be read.
            RefusedError: the server takes no such watch, or has given up the version (410).
        """
        stream = self._connection.stream(
            self._path, headers=self._access.headers(), silence_s_max=self._silence_s_max
        )
        kept = bytearray()
        try:
            async for piece in stream:
                if not piece:
                    yield None
                    continue
                kept += piece
                if b"\n" not in piece:
                    if len(kept) > _EVENT_BYTES_MAX:
                        msg = f"expected events of at most {_EVENT_BYTES_MAX} bytes, saw a longer"
                        raise AnswerError(msg)
                    continue
                *lines, rest = bytes(kept).split(b"\n")
                kept = bytearray(rest)
                for line in lines:
                    if line.strip():
                        yield self._event(line)
        finally:
            await stream.aclose()

    def _event(self, line: bytes) -> Event:
        try:
            event = _EVENT.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            msg = f"expected an event of {self._path}, saw {str(error)[:200]}"
            raise AnswerError(msg) from None
        if event.type == "ERROR":
            told = _read(bytes(event.object), Told, self._path)
            what = f"watch {self._path.partition('?')[0]}"
            raise _refused(what, told.code, bytes(event.object))
        return event

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()


def _refused(what: str, status: int, body: bytes) -> RefusedError:
    try:
        told = msgspec.json.decode(body, type=Told)
        shown = told.message or told.reason
    except (msgspec.MsgspecError, UnicodeDecodeError):
        shown = body[:200].decode("utf-8", "replace")
    msg = f"expected the API server to {what}, saw status {status}: {shown}"
    return RefusedError(clean(msg, TEXT_CHARS_MAX), status=status)


def _read(body: bytes, kind: Any, path: str) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        msg = f"expected an answer of an API server to {path.partition('?')[0]}"
        msg = f"{msg}, saw {str(error)[:200]}"
        raise AnswerError(msg) from None
