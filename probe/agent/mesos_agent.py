"""What a Mesos agent says of the containers that it runs, over its `/containers`.

Needed where no collector of this probe asks the masters. Of a command's container the task is
known, because the executor that Mesos makes for it has the task's id; of a container with an
executor of a framework's own, only the framework is.
https://mesos.apache.org/documentation/latest/endpoints/slave/containers/
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from probe.agent.errors import AnswerError, RefusedError
from probe.agent.http import Connection, parse_place
from probe.agent.publisher import read_token
from probe.agent.text import clean

_TIMEOUT_S = 5.0
_COMMAND = "Command Executor (Task: "


class _Container(msgspec.Struct):
    container_id: str
    framework_id: str = ""
    executor_id: str = ""
    executor_name: str = ""


_CONTAINERS = msgspec.json.Decoder(list[_Container])


@dataclass(frozen=True)
class Told:
    """What an agent says of a container. `task` is the id of the task's node."""

    framework: str | None
    executor: str
    task: str | None


class MesosAgent:
    """The agent of this node. `url` is `http://host:port`."""

    def __init__(self, url: str, credential_file: Path | None) -> None:
        self.place = parse_place(url)
        self._credential_file = credential_file
        self._connection = Connection(self.place, timeout_s=_TIMEOUT_S)

    async def containers(self) -> Mapping[str, Told]:
        """All of its containers, by their ids.

        Raises:
            UnreachableError: it does not answer.
            AnswerError: it does not answer as an agent does.
            RefusedError: it wants another credential.
            SettingsError: the credential cannot be read.
        """
        headers: dict[str, str] = {}
        if self._credential_file is not None:
            plain = read_token(self._credential_file).encode()
            headers["Authorization"] = f"Basic {base64.b64encode(plain).decode()}"
        answer = await self._connection.request("GET", "/containers", headers=headers)
        if not answer.is_success:
            msg = (
                f"expected the containers of the agent at {self.place}, saw status "
                f"{answer.status}: name a credential that may see them"
            )
            raise RefusedError(msg, status=answer.status)
        return read_containers(answer.body)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()


def read_containers(body: bytes) -> dict[str, Told]:
    """Containers of an answer.

    Raises:
        AnswerError: it is none.
    """
    try:
        found = _CONTAINERS.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        msg = f"expected the containers of a Mesos agent, saw {str(error)[:200]}"
        raise AnswerError(msg) from None
    return {clean(one.container_id): _told(one) for one in found}


def _told(one: _Container) -> Told:
    framework, executor = clean(one.framework_id), clean(one.executor_id)
    is_command = one.executor_name.startswith(_COMMAND) and framework
    return Told(framework or None, executor, f"{framework};{executor}" if is_command else None)
