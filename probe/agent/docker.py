"""The Docker engine's API over its socket: what the container collector asks of it.

Answers are read into only those fields that are told on. Names are the engine's, so they are not in
the style of this project.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any
from urllib.parse import quote

import msgspec

from probe.agent.errors import AnswerError, RefusedError, UnreachableError
from probe.agent.http import Connection, parse_place

_TIMEOUT_S = 5.0
_EVENT_BYTES_MAX = 1024 * 1024
_NOT_FOUND = 404
_FILTERS = '{"type":["container","image","network"]}'


# What a report can carry.
_Int = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]


class Health(msgspec.Struct, rename="pascal"):
    """Of a container with a check."""

    status: str = ""


class ContainerState(msgspec.Struct, rename="pascal"):
    """What a container does."""

    status: str = ""
    pid: _Int = 0
    exit_code: _Int = 0
    started_at: str = ""
    health: Health | None = None


class ContainerConfig(msgspec.Struct, rename="pascal"):
    """What a container was asked to be."""

    hostname: str = ""
    image: str = ""
    labels: dict[str, str] | None = None
    env: list[str] | None = None


class HostConfig(msgspec.Struct, rename="pascal"):
    """How it uses its host."""

    network_mode: str = ""


class Endpoint(msgspec.Struct):
    """A network that it is attached to."""

    ip_address: str = msgspec.field(default="", name="IPAddress")
    ip_v6_address: str = msgspec.field(default="", name="GlobalIPv6Address")


class PortBinding(msgspec.Struct):
    """A port of the host."""

    host_ip: str = msgspec.field(default="", name="HostIp")
    host_port: str = msgspec.field(default="", name="HostPort")


class NetworkSettings(msgspec.Struct, rename="pascal"):
    """How it is reached."""

    networks: dict[str, Endpoint | None] | None = None
    ports: dict[str, list[PortBinding] | None] | None = None


class Container(msgspec.Struct, rename="pascal"):
    """A container, inspected."""

    id: str
    name: str = ""
    created: str = ""
    path: str = ""
    args: list[str] | None = None
    image: str = ""
    restart_count: _Int = 0
    state: ContainerState = msgspec.field(default_factory=ContainerState)
    config: ContainerConfig = msgspec.field(default_factory=ContainerConfig)
    host_config: HostConfig = msgspec.field(default_factory=HostConfig)
    network_settings: NetworkSettings = msgspec.field(default_factory=NetworkSettings)


class Listed(msgspec.Struct, rename="pascal"):
    """A container in the list."""

    id: str
    names: list[str] | None = None
    image: str = ""
    state: str = ""


class Image(msgspec.Struct, rename="pascal"):
    """An image in the list."""

    id: str
    repo_tags: list[str] | None = None
    size: _Int = 0


class Attributes(msgspec.Struct):
    """What else an event says."""

    container: str = ""
    name: str = ""
    image: str = ""
    exit_code: str = msgspec.field(default="", name="exitCode")


class Actor(msgspec.Struct):
    """Whom an event is about."""

    id: str = msgspec.field(default="", name="ID")
    attributes: Attributes = msgspec.field(default_factory=Attributes, name="Attributes")


class Event(msgspec.Struct):
    """Something that happened."""

    type: str = msgspec.field(default="", name="Type")
    action: str = msgspec.field(default="", name="Action")
    actor: Actor = msgspec.field(default_factory=Actor, name="Actor")

    @property
    def attributes(self) -> Attributes:
        """What else it says."""
        return self.actor.attributes

    @property
    def container(self) -> str:
        """The container that it is about; empty where it is about none."""
        if self.type == "network":
            return self.actor.attributes.container
        return self.actor.id if self.type == "container" else ""


class Version(msgspec.Struct, rename="pascal"):
    """Of the engine."""

    version: str = ""


_INSPECTED = msgspec.json.Decoder(Container)
_EVENT = msgspec.json.Decoder(Event)


class Engine:
    """One engine. `address` is as in DOCKER_HOST: `unix:///var/run/docker.sock`."""

    def __init__(self, address: str) -> None:
        place = parse_place(address.replace("tcp://", "http://", 1))
        self._ask = Connection(place, timeout_s=_TIMEOUT_S)
        self._events = Connection(place, timeout_s=_TIMEOUT_S)

    async def version(self) -> str:
        """Version of the engine.

        Raises (all of them):
            UnreachableError: it does not answer.
            AnswerError: it does not answer as an engine does.
            RefusedError: it refuses.
        """
        return _read(await self._ask.get("/version"), Version).version

    async def ping(self) -> None:
        """Ask for a sign of life, which the engine gives whatever its containers do; a refusal by
        whoever stands in front of it is one, too.

        Raises:
            UnreachableError: there is none.
        """
        await self._ask.request("GET", "/_ping")

    async def containers(self) -> list[Listed]:
        """All containers, those that have ended too."""
        return _read(await self._ask.get("/containers/json?all=1"), list[Listed])

    async def inspect(self, id_: str) -> Container | None:
        """A container; None when it is gone."""
        try:
            body = await self._ask.get(f"/containers/{quote(id_, safe='')}/json")
        except RefusedError as error:
            if error.status == _NOT_FOUND:
                return None
            raise
        try:
            return _INSPECTED.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            msg = f"expected a container of the engine, saw {str(error)[:200]}"
            raise AnswerError(msg) from None

    async def images(self) -> list[Image]:
        """All images with a name."""
        return _read(await self._ask.get("/images/json"), list[Image])

    async def events(self) -> AsyncGenerator[Event | None]:
        """Events of containers, images and networks as they come; None first, when the engine has
        begun to listen for us. Ends with an error.

        Raises:
            UnreachableError: the stream ended or broke; what happened meanwhile is lost.
        """
        kept = b""
        async for piece in self._events.stream(f"/events?filters={quote(_FILTERS)}"):
            if not piece:
                yield None
                continue
            *lines, kept = (kept + piece).split(b"\n")
            if len(kept) > _EVENT_BYTES_MAX:
                msg = f"expected events of at most {_EVENT_BYTES_MAX} bytes, saw a longer one"
                raise UnreachableError(msg)
            for line in lines:
                if line.strip():
                    yield _event(line)

    async def close(self) -> None:
        """Close connections."""
        await self._ask.close()
        await self._events.close()


def _event(line: bytes) -> Event:
    try:
        return _EVENT.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        msg = f"expected an event of the engine, saw {str(error)[:200]}"
        raise AnswerError(msg) from None


def _read(body: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        msg = f"expected an answer of a Docker engine, saw {str(error)[:200]}"
        raise AnswerError(msg) from None
