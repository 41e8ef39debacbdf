"""An instance of an app, as apps behind a load balancer should be: told to end, it takes no more
connections and finishes what it has begun. `python3 -I instance.py PORT`.
"""

import asyncio
import os
import signal
import sys

WORKS_S = 0.002
FINISHES_S = 3.0


async def main(port: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    busy: set[asyncio.Task[None]] = set()
    body = f"{os.getpid()}".encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        busy.add(task)
        try:
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(WORKS_S)
            writer.write(head.encode() + body)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # A check of the connection alone.
        finally:
            writer.close()
            busy.discard(task)

    server = await asyncio.start_server(answer, "127.0.0.1", port, backlog=1024)
    await stop.wait()
    # What the kernel has taken already would be cut off: it is accepted first.
    for _ in range(3):
        await asyncio.sleep(0)
    server.close()
    if busy:
        await asyncio.wait(busy, timeout=FINISHES_S)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
