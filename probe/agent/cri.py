"""A container runtime by the Container Runtime Interface (runtime.v1): what a collector asks of it.

Numbers of fields are those of `k8s.io/cri-api/pkg/apis/runtime/v1/api.proto`. Events are the
runtime's own (GetContainerEvents) where it has them, else containerd's, which every version of it
has.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field

import msgspec

from probe.agent import protobuf as pb
from probe.agent.errors import AnswerError, RefusedError
from probe.agent.grpc import NOT_FOUND, UNIMPLEMENTED, Channel
from probe.agent.protobuf import Message

_TIMEOUT_S = 5.0
_RUNTIME = "runtime.v1.RuntimeService"
_CONTAINERD_EVENTS = "containerd.services.events.v1.Events/Subscribe"
_CONTAINERD_FILTER = "namespace==k8s.io"
_STATES = {0: "created", 1: "running", 2: "exited"}
_NODE_NETWORK = 2
_NS_PER_MS = 1_000_000


class Process(msgspec.Struct):
    """What a container runs."""

    args: list[str] | None = None


class Spec(msgspec.Struct):
    """Of the Open Container Initiative."""

    process: Process = msgspec.field(default_factory=Process)


class Info(msgspec.Struct, rename="camel"):
    """What containerd and CRI-O tell besides, when asked to be verbose."""

    pid: int = 0
    runtime_spec: Spec | None = None


@dataclass(frozen=True)
class Container:
    """A container, or a pod's sandbox (`is_sandbox`), as it was listed."""

    id: str
    name: str
    state: str
    pod: str
    """Uid of its pod."""
    sandbox: str = ""
    image: str = ""
    image_name: str = ""
    attempt: int = 0
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    created_ms: int = 0
    is_sandbox: bool = False


@dataclass(frozen=True)
class Status:
    """What only asking for the one tells."""

    pid: int | None
    command: list[str]
    started_ms: int | None = None
    exit_code: int | None = None
    addresses: tuple[str, ...] = ()
    host_network: bool | None = None


@dataclass(frozen=True)
class Image:
    """An image."""

    id: str
    tags: list[str]
    size_bytes: int


class Runtime:
    """One runtime, by its socket."""

    def __init__(self, path: str) -> None:
        self._ask = Channel(path, timeout_s=_TIMEOUT_S)
        self._events = Channel(path, timeout_s=_TIMEOUT_S)

    async def version(self) -> tuple[str, str]:
        """Name and version of the runtime.

        Raises (all of them):
            UnreachableError: it does not answer.
            AnswerError: it does not answer as a runtime does.
            RefusedError: it refuses; `status` is gRPC's.
        """
        found = await self._call("Version")
        return pb.text(found, 2), pb.text(found, 3)

    async def containers(self) -> list[Container]:
        """All containers, of those that have ended too, and all sandboxes."""
        listed = pb.messages(await self._call("ListContainers"), 1)
        sandboxes = pb.messages(await self._call("ListPodSandbox"), 1)
        uids = {pb.text(one, 1): pb.text(pb.inner(one, 2), 2) for one in sandboxes}
        return [
            *(_sandbox(one) for one in sandboxes),
            *(_container(one, uids.get(pb.text(one, 2), "")) for one in listed),
        ]

    async def status(self, of: Container) -> Status | None:
        """What a container does; None when it is gone."""
        method = "PodSandboxStatus" if of.is_sandbox else "ContainerStatus"
        request = pb.write_text(1, of.id) + pb.write_integer(2, 1)
        try:
            found = await self._call(method, request)
        except RefusedError as error:
            if error.status == NOT_FOUND:
                return None
            raise
        info = _info(pb.pairs(found, 2).get("info", ""))
        told = pb.inner(found, 1)
        return _sandbox_status(told, info) if of.is_sandbox else _container_status(told, info)

    async def images(self) -> list[Image]:
        """All images with a name."""
        answer = await self._ask.call("runtime.v1.ImageService/ListImages")
        return [
            Image(pb.text(one, 1), pb.texts(one, 2), pb.integer(one, 4))
            for one in pb.messages(pb.read(answer), 1)
        ]

    async def events(self) -> AsyncGenerator[str]:
        """Ids of containers that something has happened to, as it does.

        Raises:
            RefusedError: the runtime has no events (UNIMPLEMENTED).
            UnreachableError: the stream ended or broke; what happened meanwhile is lost.
        """
        try:
            async for event in self._events.stream(f"{_RUNTIME}/GetContainerEvents"):
                yield pb.text(pb.read(event), 1)
        except RefusedError as error:
            if error.status != UNIMPLEMENTED:
                raise
            request = pb.write_text(1, _CONTAINERD_FILTER)
            async for event in self._events.stream(_CONTAINERD_EVENTS, request):
                id_ = _containerd_event(pb.read(event))
                if id_:
                    yield id_

    async def close(self) -> None:
        """Close connections."""
        await self._ask.close()
        await self._events.close()

    async def _call(self, method: str, request: bytes = b"") -> Message:
        return pb.read(await self._ask.call(f"{_RUNTIME}/{method}", request))


def _sandbox(found: Message) -> Container:
    metadata = pb.inner(found, 2)
    return Container(
        id=pb.text(found, 1),
        name=pb.text(metadata, 1),
        state="exited" if pb.integer(found, 3) else "running",
        pod=pb.text(metadata, 2),
        attempt=pb.integer(metadata, 4),
        created_ms=pb.integer(found, 4) // _NS_PER_MS,
        labels=pb.pairs(found, 5),
        is_sandbox=True,
    )


def _container(found: Message, pod: str) -> Container:
    metadata, image = pb.inner(found, 3), pb.inner(found, 4)
    return Container(
        id=pb.text(found, 1),
        name=pb.text(metadata, 1),
        # CONTAINER_UNKNOWN is what a broken one is told as.
        state=_STATES.get(pb.integer(found, 6), "dead"),
        pod=pod,
        sandbox=pb.text(found, 2),
        image=pb.text(found, 10) or pb.text(found, 5),
        image_name=pb.text(image, 18) or pb.text(image, 1),
        attempt=pb.integer(metadata, 2),
        created_ms=pb.integer(found, 7) // _NS_PER_MS,
        labels=pb.pairs(found, 8),
    )


def _container_status(told: Message, info: Info) -> Status:
    state = _STATES.get(pb.integer(told, 3), "dead")
    started = pb.integer(told, 5)
    return Status(
        pid=info.pid or None if state == "running" else None,
        command=_command(info),
        started_ms=started // _NS_PER_MS if started > 0 else None,
        exit_code=pb.integer(told, 7) if state == "exited" else None,
    )


def _sandbox_status(told: Message, info: Info) -> Status:
    network = pb.inner(told, 5)
    options = pb.inner(pb.inner(pb.inner(told, 6), 1), 2)
    addresses = [pb.text(network, 1), *(pb.text(one, 1) for one in pb.messages(network, 2))]
    return Status(
        pid=info.pid or None if not pb.integer(told, 3) else None,
        command=_command(info),
        addresses=tuple(one for one in addresses if one),
        host_network=pb.integer(options, 1) == _NODE_NETWORK,
    )


def _command(info: Info) -> list[str]:
    return (info.runtime_spec or Spec()).process.args or []


def _info(text: str) -> Info:
    if not text:
        return Info()
    try:
        return msgspec.json.decode(text, type=Info)
    except msgspec.MsgspecError as error:
        msg = f"expected a runtime's word about a container, saw {str(error)[:200]}"
        raise AnswerError(msg) from None


def _containerd_event(envelope: Message) -> str:
    """The container that an event of containerd is about, if it changes what is told of it."""
    topic = pb.text(envelope, 3)
    if not topic.startswith(("/tasks/", "/containers/")) or "/exec" in topic:
        return ""
    event = pb.read(pb.raw(pb.inner(envelope, 4), 2))
    id_ = pb.text(event, 1)
    # The end of a command that was run inside, of which a health check makes thousands.
    is_exec = topic == "/tasks/exit" and pb.text(event, 2) not in {"", id_}
    return "" if is_exec else id_
