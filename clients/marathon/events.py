"""Server-sent events of Marathon: taken apart while they arrive, and read as values.

`SseDecoder` follows the event stream format of the HTML standard: lines end in LF, CR or CRLF, a
line that begins with a colon says nothing, a blank line ends an event. Kinds that this client does
not know are `Other`.
"""

from __future__ import annotations

import asyncio
import codecs
import json
import re
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

import httpx

from clients.marathon.errors import ProtocolError, StreamEndedError
from clients.marathon.parse import checked

Json = dict[str, Any]
# Marathon sends something every ten seconds, if only an empty line.
SILENCE_S = 60.0
# A deployment's plan holds both versions of all groups; thousands of apps are some megabytes.
EVENT_CHARS_MAX = 64 * 1024 * 1024
_LINE_END = re.compile(r"\r\n|\n|\r")


class SseDecoder:
    """Bytes go in as they arrive, `(kind, data)` come out.

    Raises (feed):
        ProtocolError: what came is no event stream.
    """

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        # A line that has not ended yet. Its pieces are joined once: a long one comes in thousands.
        self._pieces: list[str] = []
        self._chars = 0
        self._ends_in_cr = False
        self._kind = ""
        self._data: list[str] = []
        self._data_chars = 0

    def feed(self, data: bytes) -> list[tuple[str, str]]:
        """Add bytes; returns the events that are whole now."""
        try:
            text = self._decode(data)
        except UnicodeDecodeError:
            msg = f"expected events as text, saw {data[:60]!r}: is this Marathon?"
            raise ProtocolError(msg) from None
        if self._ends_in_cr and text:
            # It was held back: it may be half of a CRLF.
            text = f"\r{text}"
        elif not text:
            return []
        self._ends_in_cr = text.endswith("\r")
        *ends, rest = _LINE_END.split(text.removesuffix("\r") if self._ends_in_cr else text)
        events: list[tuple[str, str]] = []
        for end in ends:
            event = self._line("".join((*self._pieces, end)))
            self._pieces, self._chars = [], 0
            if event is not None:
                events.append(event)
        self._pieces.append(rest)
        self._chars += len(rest)
        if self._chars + self._data_chars > EVENT_CHARS_MAX:
            told = "".join((*self._data[:1], *self._pieces))[:60]
            most = f"{EVENT_CHARS_MAX} characters"
            msg = f"expected an event of at most {most}, saw one go on: {told!r}"
            raise ProtocolError(msg)
        return events

    @property
    def is_between_events(self) -> bool:
        """Whether nothing is missing; false at the end of a stream means that it was cut."""
        return not self._data and not any(piece.strip() for piece in self._pieces)

    def _line(self, line: str) -> tuple[str, str] | None:
        if not line:
            kind, data = self._kind or "message", "\n".join(self._data)
            self._kind, self._data, self._data_chars = "", [], 0
            return (kind, data) if data else None
        if line.startswith("<"):
            msg = f"expected an event stream, saw {line[:60]!r}: is this Marathon?"
            raise ProtocolError(msg)
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._kind = value
        elif name == "data":
            self._data.append(value)
            self._data_chars += len(value)
        return None


@dataclass(frozen=True)
class Attached:
    """The stream has begun: everything from here on is told."""


@dataclass(frozen=True)
class DeploymentSucceeded:
    """A deployment has ended well."""

    deployment_id: str


@dataclass(frozen=True)
class DeploymentFailed:
    """A deployment has ended otherwise; a cancelled one too."""

    deployment_id: str
    reason: str


@dataclass(frozen=True)
class DeploymentStep:
    """A deployment begins or has ended a step."""

    deployment_id: str
    kind: str


@dataclass(frozen=True)
class TaskChanged:
    """A task's state changed."""

    app_id: str
    task_id: str
    agent_id: str | None
    state: str
    message: str


@dataclass(frozen=True)
class HealthChanged:
    """An instance became healthy, or no longer is."""

    app_id: str
    instance_id: str
    healthy: bool


@dataclass(frozen=True)
class Other:
    """A kind that this client does not know, as it came."""

    kind: str
    body: Json


Event = (
    Attached
    | DeploymentSucceeded
    | DeploymentFailed
    | DeploymentStep
    | TaskChanged
    | HealthChanged
    | Other
)


def _plan_id(body: Json) -> str:
    plan: Json = body.get("plan") or {}
    return str(body.get("id") or plan["id"])


def _step(body: Json) -> DeploymentStep:
    return DeploymentStep(_plan_id(body), str(body["eventType"]))


def _task(body: Json) -> TaskChanged:
    agent_id = body.get("slaveId")
    return TaskChanged(
        app_id=str(body["appId"]),
        task_id=str(body["taskId"]),
        agent_id=None if agent_id is None else str(agent_id),
        state=str(body["taskStatus"]),
        message=str(body.get("message") or ""),
    )


_PARSERS: dict[str, Callable[[Json], Event]] = {
    "event_stream_attached": lambda _: Attached(),
    "deployment_success": lambda body: DeploymentSucceeded(_plan_id(body)),
    "deployment_failed": lambda body: DeploymentFailed(
        _plan_id(body), str(body.get("reason") or "no reason")
    ),
    "deployment_info": _step,
    "deployment_step_success": _step,
    "deployment_step_failure": _step,
    "status_update_event": _task,
    "instance_health_changed_event": lambda body: HealthChanged(
        str(body["runSpecId"]), str(body["instanceId"]), bool(body["healthy"])
    ),
}


@checked
def event(found: Any) -> Event:
    """`(kind, data)` as a value."""
    kind, data = found
    body: Json = json.loads(data)
    parser = _PARSERS.get(kind)
    return Other(kind, body) if parser is None else parser({"eventType": kind, **body})


async def read_events(response: httpx.Response, silence_s: float) -> AsyncGenerator[Event]:
    """Events of an answer; ends with an error.

    Raises:
        StreamEndedError: the stream ended, or was silent for too long.
        ProtocolError: what came is no event stream, or an event was cut.
    """
    content_type = response.headers.get("content-type", "")
    if "html" in content_type:
        msg = f"expected an event stream, saw {content_type}: is this Marathon?"
        raise ProtocolError(msg)
    decoder = SseDecoder()
    chunks = response.aiter_bytes()
    while True:
        try:
            async with asyncio.timeout(silence_s):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            break
        except (httpx.HTTPError, TimeoutError) as error:
            msg = f"expected events, saw {type(error).__name__}: subscribe again"
            raise StreamEndedError(msg) from None
        for found in decoder.feed(chunk):
            yield event(found)
    cut = "" if decoder.is_between_events else ", in the middle of an event"
    msg = f"expected events, saw the end of the stream{cut}: subscribe again"
    raise StreamEndedError(msg)
