"""An instance of an app, as apps behind a load balancer should be: asked to end, it goes on
answering as a lame duck, then takes no more connections, finishes what it has begun, and ends.

`python3 -I instance.py PORT LEAST_S QUIET_S`: the lame duck lasts for LEAST_S, and longer until
nobody has asked for QUIET_S. Checks of its health ask for nothing. Its last word is for how long
nobody had asked; one that is killed has none.
"""

import asyncio
import os
import signal
import sys

WORKS_S = 0.002
LOOK_S = 0.1
FINISHES_S = 3.0
HEALTH = "/health"


async def main(port: int, least_s: float, quiet_s: float) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    busy: set[asyncio.Task[None]] = set()
    asked = 0
    body = f"{os.getpid()}".encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        task = asyncio.current_task()
        assert task is not None
        busy.add(task)
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            if request.split()[1] != HEALTH.encode():
                asked += 1
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
    told_at, quiet = loop.time(), 0.0
    while loop.time() < told_at + least_s or quiet < quiet_s:
        before = asked
        await asyncio.sleep(LOOK_S)
        # By looks and not by the clock: a machine that stands still makes nobody quiet.
        quiet = quiet + LOOK_S if asked == before else 0.0
    sys.stdout.write(f"{quiet:.1f}")
    sys.stdout.flush()
    # What the kernel has taken already would be cut off: it is accepted first.
    for _ in range(3):
        await asyncio.sleep(0)
    server.close()
    if busy:
        await asyncio.wait(busy, timeout=FINISHES_S)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
