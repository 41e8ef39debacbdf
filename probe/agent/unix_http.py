"""HTTP/1.1 at a UNIX socket: one request a connection, answered from what is known, and closed.

What answers does so at once: whoever has to look first keeps what it saw last. Requests are bounded
in bytes and in time, so that somebody who connects and says nothing holds nothing up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import h11

from probe.agent.errors import OccupiedError

REQUEST_S_MAX = 5.0
_REQUEST_BYTES_MAX = 16 * 1024
# Whether somebody serves there the kernel says at once, but for one whose queue is full.
_CONNECT_S_MAX = 1.0


@dataclass(frozen=True)
class Request:
    """What is asked. `target` is path and query."""

    method: str
    target: str

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


@dataclass(frozen=True)
class Response:
    """What is answered."""

    status: int
    kind: str
    body: bytes


Answering = Callable[[Request], Response]


class SocketServer:
    """Answers at a socket, whose file has these permissions from its first moment."""

    def __init__(self, path: Path, answering: Answering, *, mode: int = 0o600) -> None:
        self._path = path
        self._answering = answering
        self._mode = mode
        self.listening = asyncio.Event()
        """Set once the socket is there."""

    async def run(self) -> None:
        """Serve until cancelled; the file goes with it, if it is still this one's.

        Raises:
            OccupiedError: another one serves there, or there is something else.
            OSError: the socket cannot be made.
        """
        self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _make_way(self._path)
        with _bound(self._path, self._mode) as listening:
            own = _identity(self._path)
            try:
                server = await asyncio.start_unix_server(self._serve, sock=listening)
                self.listening.set()
                async with server:
                    await server.serve_forever()
            finally:
                # Somebody may have removed it, and another one may serve there now.
                if own is not None and _identity(self._path) == own:
                    self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_S_MAX):
                writer.write(await self._answer(reader))
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, h11.ProtocolError):
            # Somebody who hung up, does not take the answer, or speaks no HTTP: nobody to tell.
            writer.transport.abort()
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        protocol = h11.Connection(h11.SERVER, max_incomplete_event_size=_REQUEST_BYTES_MAX)
        while (event := protocol.next_event()) is h11.NEED_DATA:
            protocol.receive_data(await reader.read(_REQUEST_BYTES_MAX))
        if not isinstance(event, h11.Request):
            return b""
        asked = Request(event.method.decode("ascii"), event.target.decode("ascii", "replace"))
        response = self._answering(asked)
        headers = [
            ("Content-Type", response.kind),
            ("Content-Length", str(len(response.body))),
            ("Connection", "close"),
        ]
        parts = (
            protocol.send(h11.Response(status_code=response.status, headers=headers)),
            protocol.send(h11.Data(data=b"" if asked.method == "HEAD" else response.body)),
            protocol.send(h11.EndOfMessage()),
        )
        return b"".join(part or b"" for part in parts)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _make_way(path: Path) -> None:
    """Remove the socket that one has left behind who did not end well.

    Raises:
        OccupiedError: another one serves there, or there is something else.
    """
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        msg = f"expected a socket or nothing at {path}, saw something else: name another path"
        raise OccupiedError(msg)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(_CONNECT_S_MAX)
        try:
            asking.connect(str(path))
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except (TimeoutError, BlockingIOError):
            pass  # It is there, and busy.
    msg = f"expected nobody at {path}, saw that another runs: end it, or name another path"
    raise OccupiedError(msg)


@contextlib.contextmanager
def _bound(path: Path, mode: int) -> Generator[socket.socket]:
    """A socket at a path; nobody finds it with wider permissions, not even for a moment."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~mode)
    try:
        listening.bind(str(path))
    except BaseException:
        listening.close()
        raise
    finally:
        os.umask(before)
    try:
        yield listening
    finally:
        listening.close()
