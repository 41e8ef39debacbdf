"""Ports for tests, below the range that the kernel hands to clients, and held by a lock.

A port that is asked of the kernel and closed again may be a client's before its server starts. So
ports come from blocks, chosen as a demo chooses its own: a process of tests holds a block until it
ends, and gives out each of its ports once. Suites that run at the same time hold others.
"""

from __future__ import annotations

from collections.abc import Iterator

from components.targets import ports
from stacks.demo import port_block
from stacks.demo.port_block import Block

# Above the blocks of demos, below those that agents offer to tasks.
FIRST = 24_000
_BLOCKS = 70


def free_block() -> Block:
    """A block of ports that nobody else takes until it is released."""
    for base in range(FIRST, FIRST + _BLOCKS * port_block.SIZE, port_block.SIZE):
        found = port_block.take(base)
        if isinstance(found, Block):
            return found
    msg = f"no free block of ports between {FIRST} and {FIRST + _BLOCKS * port_block.SIZE}"
    raise RuntimeError(msg)


def free_port() -> int:
    """A port that nobody listens on now, and that no other test is given."""
    return next(_free_ports)


def _endless() -> Iterator[int]:
    held: list[Block] = []  # Until the process ends: servers of a whole session use them.
    while True:
        held.append(free_block())
        base = held[-1].base
        yield from (p for p in range(base, base + port_block.SIZE) if ports.is_free(p))


_free_ports = _endless()
