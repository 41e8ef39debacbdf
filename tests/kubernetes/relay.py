"""Takes connections of one network namespace into another: `python -m tests.kubernetes.relay FILE
PORT`.

FILE is the number of an inherited socket that listens outside; PORT is where to go inside. A socket
belongs to the namespace that it was made in, whoever holds it, so no interface has to lead in.
"""

from __future__ import annotations

import asyncio
import socket
import sys

_BLOCK_BYTES = 1 << 16


async def serve(listening: socket.socket, port: int) -> None:
    """Relay until cancelled."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            to = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            # As if nobody listened: whoever waits for a server asks again.
            writer.close()
            return
        await asyncio.gather(_copy(reader, to[1]), _copy(to[0], writer))

    server = await asyncio.start_server(connected, sock=listening)
    await server.serve_forever()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while block := await reader.read(_BLOCK_BYTES):
            writer.write(block)
            await writer.drain()
    except ConnectionError:
        pass  # One end went away; the other is told by the close.
    finally:
        writer.close()


if __name__ == "__main__":
    asyncio.run(serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])))
