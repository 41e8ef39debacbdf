"""Ports of tests are nobody else's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests import ports

CLIENTS = Path("/proc/sys/net/ipv4/ip_local_port_range")


def test_no_port_is_given_twice_and_none_is_one_of_clients() -> None:
    given = [ports.free_port() for _ in range(120)]

    assert len(set(given)) == len(given)
    assert max(given) < int(CLIENTS.read_text().split()[0])


def test_a_block_is_held_until_it_is_released() -> None:
    script = "from tests import ports; print(ports.free_block().base)"
    with ports.free_block() as block:
        other = subprocess.run(
            [sys.executable, "-c", script], check=True, capture_output=True, text=True
        )

        assert int(other.stdout) != block.base
