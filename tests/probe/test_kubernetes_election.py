"""One probe watches a cluster: who holds the lease, for how long, and what becomes of its rows."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest

from probe.agent.collectors.kubernetes import KubernetesCollector
from probe.agent.http import Place
from probe.agent.kubernetes import access, election
from probe.agent.kubernetes.access import Access, Trust
from probe.agent.kubernetes.api import Api
from probe.agent.kubernetes.election import Candidate
from probe.agent.kubernetes.model import Namespace
from probe.agent.settings import Kubernetes
from probe.agent.site import Site
from tests.probe.api_server import NAMESPACES, ApiServer, serving
from tests.probe.sites import Clock, site
from tests.waiting import until


class World:
    """A server, and a probe that stands for its lease."""

    def __init__(self, server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = server
        self._monkeypatch = monkeypatch
        self.clock = Clock()
        self.site: Site = site(clock=self.clock)
        settings = Kubernetes(cluster="blue", lease="monitoring/probe", lease_s=1.0)
        self.collector = KubernetesCollector(self.site, settings, {})

    def rows(self) -> list[str]:
        return [id_ for id_, _ in self.site.ledger["kubernetes_namespace"]]

    def leave(self) -> None:
        """The server answers nobody, and nobody waits for it for long."""
        self._monkeypatch.setattr(election, "_STAND_S_MAX", 0.2)
        self.server.is_away = True

    def come_back(self) -> None:
        """The server answers again."""
        self._monkeypatch.undo()
        self.server.is_away = False

    def hold(self, holder: str) -> None:
        """Somebody writes the lease."""
        version = int((self.server.lease or VERSION)["metadata"]["resourceVersion"]) + 1
        spec = {"holderIdentity": holder, "leaseDurationSeconds": 1, "leaseTransitions": 0}
        self.server.lease = {"metadata": {"resourceVersion": str(version)}, "spec": spec}

    def holder(self) -> str:
        return "" if self.server.lease is None else self.server.lease["spec"]["holderIdentity"]


VERSION: dict[str, Any] = {"metadata": {"resourceVersion": "0"}}


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    async with serving() as server:
        server.put("a")
        found = Access(Place("127.0.0.1", server.port), Trust(b"", None))

        def find(*_: object) -> Access:
            return found

        monkeypatch.setattr(access, "find", find)
        world = World(server, monkeypatch)
        try:
            yield world
        finally:
            await world.collector.close()


@contextlib.asynccontextmanager
async def candidate(world: World) -> AsyncGenerator[tuple[Candidate, Api]]:
    api = Api(access.find(None, "", {}))
    try:
        yield (
            Candidate(
                api,
                namespace="monitoring",
                name="probe",
                me="me",
                duration_s=15.0,
                clock=world.clock,
                wall=world.clock,
            ),
            api,
        )
    finally:
        await api.close()


async def test_who_cannot_renew_a_lease_holds_it_no_longer(world: World) -> None:
    async with candidate(world) as (one, _):
        await one.stand()
        assert one.is_holder
        world.leave()
        world.clock.now += 14
        await one.stand()
        assert one.is_holder
        world.clock.now += 2

        assert not one.is_holder
        assert "within 0.2 s" in one.problem
        world.come_back()
        await one.stand()
        assert one.is_holder
        assert one.problem == ""


async def test_a_list_that_takes_long_does_not_hold_up_the_lease(world: World) -> None:
    async with candidate(world) as (one, api):
        world.server.is_slow = True
        pages = api.pages(NAMESPACES, Namespace, "")
        listing = asyncio.create_task(anext(pages))
        await until(lambda: world.server.tokens, "it is asked for a list")
        async with asyncio.timeout(5):
            await one.stand()

        assert one.is_holder
        listing.cancel()
        await asyncio.wait({listing})


async def test_who_takes_over_does_not_wait_for_lists_in_a_look(world: World) -> None:
    world.hold("other")
    await world.collector.start()
    await world.collector.collect()
    assert "other watches it" in world.collector.capability().mode

    world.server.is_slow = True
    world.clock.now += 2
    await until(lambda: world.collector.followers, "it has taken over")
    async with asyncio.timeout(5):
        await world.collector.collect()
    assert world.holder().startswith("node_")

    world.server.is_slow = False
    await until(world.rows, "it tells")


async def test_a_holder_whom_no_server_answers_stops_watching_and_then_telling(
    world: World,
) -> None:
    await world.collector.start()
    await world.collector.collect()
    assert world.rows()

    world.leave()
    world.clock.now += 2
    await until(lambda: not world.collector.followers, "it stops watching")
    assert "the lease" in str(world.collector.capability().misses)
    world.clock.now += 299
    asked = len(world.server.tokens)
    await until(lambda: len(world.server.tokens) > asked + 1, "it has tried again")
    assert world.rows(), "nothing may seem gone while a server is upgraded"

    world.clock.now += 2
    await until(lambda: not world.rows(), "it tells no more what it does not know")


async def test_a_holder_that_was_cut_off_leaves_the_telling_to_the_next(world: World) -> None:
    await world.collector.start()
    await world.collector.collect()
    world.leave()
    world.clock.now += 2
    await until(lambda: not world.collector.followers, "it stops watching")
    world.hold("other")
    world.come_back()
    mode = world.collector.capability
    await until(lambda: "other watches it" in mode().mode, "it sees the other")

    assert world.rows()
    # Renewed all the while, or it would be taken again.
    for _ in range(61):
        world.hold("other")
        world.clock.now += 1
        await asyncio.sleep(0)
    await until(lambda: not world.rows(), "the other one tells")
