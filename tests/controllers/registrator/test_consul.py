"""Consul itself, and the one in memory that other tests have: both answer the client alike.

Beyond that, what only the real one shows: its answers by DNS, and how its servers come and go.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from clients.consul import (
    Check,
    ConsulClient,
    ConsulError,
    Node,
    RequestRefusedError,
    Service,
    Status,
)
from components.network.discovery import Discovery
from controllers.registrator.driver import Registrator
from controllers.registrator.settings import RegistratorSettings
from controllers.status import Status as Told
from stacks.checks.declared import Declared, Names
from stacks.checks.run import check
from stacks.topology import Standing
from tests.controllers.registrator.catalog import Catalog
from tests.controllers.registrator.consul_servers import (
    ZONE,
    Server,
    consul,
    servers,
    until_all_say,
)
from tests.controllers.registrator.source import Marathon, app, task
from tests.waiting import until

__all__ = ["consul"]

MARK = {"mesos-platform": "main"}
NODE = Node("main-10.0.0.1", "10.0.0.1", {"external-node": "true", **MARK})
_BOUND_S = 60.0


async def has_leader(client: ConsulClient) -> bool:
    with suppress(ConsulError):
        return bool(await client.nodes())
    return False


async def assert_contract(client: ConsulClient) -> None:
    """What the registrator counts on."""
    service = Service("web.1:0", "web", "10.0.0.1", 31_000, ("http",), {**MARK, "app": "/web"})
    for status in (Status.PASSING, Status.PASSING, Status.CRITICAL):
        await client.register(NODE, service, status, check="c:1", output="so")
        assert NODE in await client.nodes()
        assert await client.services(NODE.name) == (service,)
        assert await client.checks(MARK) == (Check(NODE.name, "c:1", status, service.id),)
    assert await client.checks({"mesos-platform": "other"}) == ()
    assert await client.services("no-such-node") == ()

    await client.deregister(NODE.name, service.id)
    await client.deregister(NODE.name, service.id)
    assert (await client.services(NODE.name), await client.checks(MARK)) == ((), ())
    assert NODE in await client.nodes()

    await client.register(NODE, service, Status.PASSING, check="c:1", output="so")
    await client.deregister(NODE.name)
    await client.deregister(NODE.name)
    assert NODE.name not in {one.name for one in await client.nodes()}
    assert await client.checks(MARK) == ()

    nameless = Node("", "10.0.0.1")
    with pytest.raises(RequestRefusedError, match="Must provide node"):
        await client.register(nameless, service, Status.PASSING, check="c:1", output="so")


async def test_the_one_in_memory_keeps_the_contract() -> None:
    transport = httpx.MockTransport(Catalog().handle)
    async with ConsulClient(("c:1",), transport=transport) as client:
        await assert_contract(client)


@pytest.mark.long
async def test_the_real_one_keeps_the_contract(consul: Path, tmp_path: Path) -> None:
    with servers(consul, tmp_path, 1) as (server,):
        async with ConsulClient((server.http,)) as client:
            await until(lambda: has_leader(client), "a leader", _BOUND_S)
            await assert_contract(client)


@asynccontextmanager
async def registering(
    marathon: Marathon, found: list[Server], **settings: Any
) -> AsyncGenerator[Registrator]:
    given = {"cluster": "main", "marathon": ["m:1"], "consul": [one.http for one in found]}
    made = RegistratorSettings.model_validate({**given, "resync_s": 1, "settle_s": 0, **settings})
    async with ConsulClient(made.consul, timeout_s=5) as client:
        one = Registrator(
            marathon, client, made, Told("no look yet"), clock=time.monotonic, wall=time.time
        )
        running = asyncio.create_task(one.run())
        try:
            yield one
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def assert_checked(found: list[Server]) -> None:
    """`migrate check` finds each server of the zone in each one's answer."""
    names = Names(tuple(one.dns for one in found), ZONE, Discovery.CONSUL)

    findings = await check(Declared(Standing(), (), (), names=names))

    (evidence,) = (one for one in findings.evidence if one.name == "names")
    assert evidence.ok, evidence.said


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_names_follow_an_app_while_servers_come_and_go(consul: Path, tmp_path: Path) -> None:
    marathon = Marathon()
    web, db = app(), app("/shop/db", checked=True)
    with servers(consul, tmp_path, 3) as found:
        async with registering(marathon, found, confirm_s=0) as one:
            marathon.change([web, db], [task(), task("/shop/db", healthy=False)])
            await until_all_say(found, "web", "10.0.0.1")
            # It is there, and not well.
            await until(lambda: one.counts.entries.get("critical") == 1, "a look", _BOUND_S)
            await until_all_say(found, "db-shop")
            marathon.change([web, db], [task(), task("/shop/db", healthy=True)])
            await until_all_say(found, "db-shop", "10.0.0.1")
            await assert_checked(found)

            # A new leader of Marathon has heard of no check yet.
            marathon.change([web, db], [task(number=2, host="10.0.0.2"), task("/shop/db")])
            await until_all_say(found, "web", "10.0.0.2")
            await until_all_say(found, "db-shop", "10.0.0.1")
            marathon.change([web], [task(number=2, host="10.0.0.2")])
            found[0].kill()
            marathon.change([web], [task(number=3, host="10.0.0.3")])
            await until_all_say(found[1:], "web", "10.0.0.3")

            # Without a quorum nothing can be written, and nothing is lost.
            found[1].kill()
            marathon.change([web], [task(number=4, host="10.0.0.4")])
            failed = one.counts.failures["consul"]
            await until(lambda: one.counts.failures["consul"] > failed, "a failure", _BOUND_S)
            for server in found[:2]:
                server.start()
            await until_all_say(found, "web", "10.0.0.4")

            # An idle catalog is read, and not written.
            await until(lambda: one.counts.entries.get("passing") == 1, "a look", _BOUND_S)
            written, looked_at = one.counts.registered, one.counts.looked_at
            await until(lambda: one.counts.looked_at >= looked_at + 2, "more looks", _BOUND_S)
            assert one.counts.registered == written

            marathon.change([], [])
            await until_all_say(found, "web")
            async with ConsulClient([found[0].http]) as client:
                left = {node.name for node in await client.nodes()}
            assert left == {"consul-0", "consul-1", "consul-2"}
