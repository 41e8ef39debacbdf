"""Real servers of Consul on loopback, told what the component tells them."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from clients.dns import resolve
from clients.errors import DnsError
from components.network.discovery import Discovery, DiscoveryArgs, consul_config
from components.workload import Program
from tests.leaving import leave_out
from tests.ports import free_port
from tests.waiting import until
from tools import cache
from tools.kubernetes_recipes import CONSUL

HOST = "127.0.0.1"
ZONE = "names"
_STOP_S = 20.0
_BOUND_S = 60.0


@pytest.fixture(scope="session")
def consul() -> Path:
    """The real one; left out where it was not built, which CI takes for a failure."""
    program = cache.root() / CONSUL.key() / "consul"
    if not program.exists():
        leave_out(f"expected {program}: run `make tools-kubernetes`")
    return program


@dataclass
class Server:
    """One server; `http` and `dns` are where it is asked."""

    program: Path
    folder: Path
    http: str
    dns: str
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.program, "agent", "-config-file", str(self.folder / "config.json")],
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> None:
        """As a node that is lost ends its processes."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(_STOP_S)
            self.process = None

    def says(self, service: str) -> tuple[str, ...] | None:
        """Addresses that it answers with; None where it does not answer."""
        try:
            return resolve(f"{service}.service.{ZONE}", self.dns, timeout_s=1)
        except DnsError:
            return None


@contextmanager
def servers(program: Path, folder: Path, count: int) -> Generator[list[Server]]:
    """A quorum of them, on its way up."""
    args = DiscoveryArgs(
        Program(("consul",)), kind=Discovery.CONSUL, zone=ZONE, replicas=count, ttl_s=1
    )
    ports = [[free_port() for _ in range(4)] for _ in range(count)]
    found: list[Server] = []
    for index, (http, dns, rpc, gossip) in enumerate(ports):
        own = folder / f"consul-{index}"
        own.mkdir()
        config = consul_config(
            node=f"consul-{index}",
            peers=[f"{HOST}:{each[3]}" for each in ports],
            listener=HOST,
            port=dns,
            http_port=http,
            rpc_port=rpc,
            gossip_port=gossip,
            data=str(own / "data"),
            args=args,
        )
        # Elections as fast as a machine of its own would have them.
        text = json.dumps({**config, "performance": {"raft_multiplier": 1}})
        (own / "config.json").write_text(text)
        found.append(Server(program, own, f"{HOST}:{http}", f"{HOST}:{dns}"))
    try:
        for one in found:
            one.start()
        yield found
    finally:
        for one in found:
            one.kill()


async def until_all_say(found: list[Server], service: str, *addresses: str) -> None:
    async def said() -> bool:
        answers = await asyncio.gather(*(asyncio.to_thread(one.says, service) for one in found))
        return all(answer == addresses for answer in answers)

    await until(said, f"{service} is {addresses}", _BOUND_S)
