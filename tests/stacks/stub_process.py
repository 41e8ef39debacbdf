"""A process that looks like any of a stack's: it listens where its configuration says and answers
readiness probes. So updates of a local stack can be tested without Java and within seconds."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import yaml

_PORT_KEYS = ("client_port", "quorum_port", "election_port", "port")


def ports_of(config: dict[str, Any]) -> list[int]:
    """Every port that a configuration names as its own."""
    ports = [int(config[key]) for key in _PORT_KEYS if key in config]
    if "listen" in config:
        ports.append(int(str(config["listen"]).rpartition(":")[2]))
    return ports


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    word = await reader.read(4)
    answer = b"Mode: follower\n" if word == b"srvr" else b"HTTP/1.0 200 OK\r\n\r\nok"
    writer.write(answer)
    await writer.drain()
    writer.close()


async def _serve(ports: list[int]) -> None:
    servers = [await asyncio.start_server(_answer, "127.0.0.1", port) for port in ports]
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(_serve(ports_of(yaml.safe_load(Path(sys.argv[-1]).read_text()))))
