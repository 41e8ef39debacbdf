"""Agents that the next round of offers has to look at, and the wish for that round.

As in the hierarchical allocator, an event is followed by a round over the agents it concerns; only
the rounds of the allocation interval, and events that concern everybody, go over all of them. With
a thousand agents that is the difference between a master that launches and one that counts.
"""

from __future__ import annotations

import asyncio


class Candidates:
    """Collected between two rounds."""

    def __init__(self) -> None:
        self._agents: set[str] = set()
        self._everyone = False
        self.wake = asyncio.Event()

    def add(self, agent_id: str) -> None:
        """This agent may have more to offer."""
        self._agents.add(agent_id)
        self.wake.set()

    def add_all(self) -> None:
        """Someone may now want what nobody wanted."""
        self._everyone = True
        self.wake.set()

    def take(self) -> frozenset[str] | None:
        """What was collected, which is then forgotten; None: all agents."""
        found = None if self._everyone else frozenset(self._agents)
        self._agents.clear()
        self._everyone = False
        self.wake.clear()
        return found
