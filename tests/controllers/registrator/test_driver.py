"""The registrator against a Marathon and a Consul that fail: what it keeps, and what it mends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest

from clients.consul import (
    ConsulClient,
    ConsulError,
    ForbiddenError,
    RequestRefusedError,
    UnreachableError,
)
from clients.marathon import MarathonError
from controllers.registrator.driver import Registrator
from controllers.registrator.metrics import NAMES, render
from controllers.registrator.plan import MARK
from controllers.registrator.settings import RegistratorSettings
from controllers.status import Status
from tests.controllers.registrator.catalog import Catalog
from tests.controllers.registrator.source import Marathon, app, task
from tests.waiting import until

SERVERS = ("consul-0:8500", "consul-1:8500", "consul-2:8500")
_BOUND_S = 30.0


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Rig:
    """A registrator between the two."""

    def __init__(self, **settings: Any) -> None:
        self.marathon, self.catalog, self.clock = Marathon(), Catalog(), Clock()
        given = {"cluster": "main", "marathon": ["m:8080"], "consul": SERVERS, "timeout_s": 0.5}
        self.settings = RegistratorSettings.model_validate({**given, **settings})
        self.consul = ConsulClient(
            SERVERS,
            timeout_s=self.settings.timeout_s,
            transport=httpx.MockTransport(self.catalog.handle),
        )
        self.status = Status("not asked yet")
        self.registrator = self.another()

    def another(self) -> Registrator:
        """One more, which knows of nothing yet."""
        return Registrator(
            self.marathon,
            self.consul,
            self.settings,
            self.status,
            clock=self.clock,
            wall=self.clock,
        )

    @property
    def names(self) -> set[str]:
        """`service@node` of all that Consul has."""
        return {
            f"{service['Service']}@{node}"
            for node, services in self.catalog.services.items()
            for service in services.values()
        }


@asynccontextmanager
async def rig(**settings: Any) -> AsyncGenerator[Rig]:
    made = Rig(**settings)
    try:
        yield made
    finally:
        await made.consul.close()


async def test_consul_has_what_runs_and_a_second_look_writes_nothing() -> None:
    async with rig() as one:
        one.marathon.change([app(), app("/db")], [task(), task("/db", host="10.0.0.2")])
        assert await one.registrator.look()
        assert one.names == {"web@main-10.0.0.1", "db@main-10.0.0.2"}
        written = len(one.catalog.writes)

        assert await one.registrator.look()
        one.clock.now += one.settings.resync_s
        assert await one.registrator.look()

        assert len(one.catalog.writes) == written == 2
        (check,) = one.catalog.checks["main-10.0.0.1"].values()
        assert (check["Status"], check["ServiceID"]) == ("passing", "web.1:0")


async def test_an_app_that_moves_has_an_answer_all_the_time() -> None:
    async with rig() as one:
        one.marathon.change([app()], [task()])
        await one.registrator.look()
        one.catalog.writes.clear()

        one.marathon.change([app()], [task(number=2, host="10.0.0.2")])
        await one.registrator.look()

        assert [kind for kind, _ in one.catalog.writes] == ["register", "deregister"]
        # The last of a host takes its node away.
        assert set(one.catalog.nodes) == {"main-10.0.0.2"}


async def test_consul_keeps_what_it_has_while_marathon_is_away() -> None:
    async with rig(confirm_s=0) as one:
        one.marathon.change([app()], [task()])
        await one.registrator.look()

        one.marathon.is_away = True
        with pytest.raises(MarathonError):
            await one.registrator.look()

        assert one.names == {"web@main-10.0.0.1"}


async def test_a_marathon_that_has_lost_its_state_takes_nothing_away_until_it_lasts() -> None:
    async with rig(confirm_s=30) as one:
        one.marathon.change([app()], [task(), task(number=2)])
        await one.registrator.look()

        one.marathon.change([], [])
        assert not await one.registrator.look()
        one.clock.now += 29
        assert not await one.registrator.look()
        assert one.names == {"web@main-10.0.0.1"}
        assert one.registrator.counts.held_back == 2

        one.clock.now += 1
        assert await one.registrator.look()
        assert one.names == set()
        assert one.registrator.counts.held_back == 0


async def test_what_is_new_is_registered_while_a_loss_is_doubted() -> None:
    async with rig(loss_entries=1) as one:
        one.marathon.change([app()], [task(number=number) for number in range(8)])
        await one.registrator.look()

        one.marathon.change([app("/new")], [task("/new")])

        assert not await one.registrator.look()
        assert one.names == {"web@main-10.0.0.1", "new@main-10.0.0.1"}


async def test_a_new_process_doubts_too() -> None:
    async with rig() as one:
        one.marathon.change([app()], [task()])
        await one.registrator.look()

        one.marathon.change([], [])

        assert not await one.another().look()
        assert one.names == {"web@main-10.0.0.1"}


@pytest.mark.parametrize("trouble", ["away", "leaderless"])
async def test_a_server_that_restarts_is_passed_over(trouble: str) -> None:
    async with rig() as one:
        getattr(one.catalog, trouble).update(SERVERS[:2])
        one.marathon.change([app()], [task()])

        await one.registrator.look()

        assert one.names == {"web@main-10.0.0.1"}
        assert SERVERS[0] in one.catalog.asked


async def test_without_a_leader_the_look_is_taken_again_until_there_is_one() -> None:
    async with rig() as one:
        one.catalog.leaderless = {*SERVERS}
        one.marathon.change([app()], [task()])
        running = asyncio.create_task(one.registrator.run())
        try:
            await until(lambda: one.registrator.counts.failures["consul"], "a failure", _BOUND_S)
            assert "No cluster leader" in str(one.status.trouble)
            one.catalog.leaderless = set()
            await until(lambda: one.status.trouble is None, "a look", _BOUND_S)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
        assert one.names == {"web@main-10.0.0.1"}


async def test_changes_of_marathon_are_followed() -> None:
    async with rig(settle_s=0) as one:
        one.marathon.change([app()], [task()])
        running = asyncio.create_task(one.registrator.run())
        try:
            await until(lambda: one.names == {"web@main-10.0.0.1"}, "the first", _BOUND_S)
            one.marathon.change([app()], [task(number=2, host="10.0.0.2")])
            await until(lambda: one.names == {"web@main-10.0.0.2"}, "the move", _BOUND_S)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def test_what_somebody_has_changed_is_mended_with_the_next_reading() -> None:
    async with rig() as one:
        one.marathon.change([app()], [task()])
        await one.registrator.look()
        one.catalog.services["main-10.0.0.1"].clear()
        foreign = {"Node": "theirs", "Address": "10.9.9.9", "Meta": {"external-node": "true"}}
        one.catalog.nodes["theirs"] = foreign

        one.clock.now += one.settings.resync_s
        await one.registrator.look()

        assert one.names == {"web@main-10.0.0.1"}
        assert "theirs" in one.catalog.nodes


@pytest.mark.parametrize(
    ("refused", "forbidden", "error"),
    [
        ({"web.2:0"}, set[str](), RequestRefusedError),
        (set[str](), {"web.2:0"}, ForbiddenError),
    ],
)
async def test_one_that_is_refused_keeps_no_other_from_its_place(
    refused: set[str], forbidden: set[str], error: type[ConsulError]
) -> None:
    async with rig() as one:
        one.marathon.change([app()], [task()])
        await one.registrator.look()
        one.catalog.refused, one.catalog.forbidden = refused, forbidden
        one.marathon.change([app(), app("/db")], [task(number=2), task("/db")])

        with pytest.raises(error, match=r"Invalid service|Permission denied"):
            await one.registrator.look()

        assert one.names == {"db@main-10.0.0.1"}


async def test_no_more_is_asked_of_a_consul_that_does_not_answer() -> None:
    async with rig(calls_at_once=1) as one:
        await one.registrator.look()
        one.marathon.change([app()], [task(number=number) for number in range(50)])
        one.catalog.away = {*SERVERS}
        one.catalog.asked.clear()

        started = asyncio.get_running_loop().time()
        with pytest.raises(UnreachableError):
            await one.registrator.look()

        # One call's time, not fifty.
        assert asyncio.get_running_loop().time() - started < 10 * one.settings.timeout_s


async def test_nothing_is_taken_away_before_what_is_new_is_there() -> None:
    async with rig() as one:
        one.marathon.change([app()], [task()])
        await one.registrator.look()
        one.marathon.change([app()], [task(number=2, host="10.0.0.2")])
        one.catalog.lost = {"/v1/catalog/register"}

        with pytest.raises(UnreachableError):
            await one.registrator.look()

        assert one.names == {"web@main-10.0.0.1"}


async def test_an_agent_that_is_called_by_name_is_registered_by_its_address() -> None:
    async with rig() as one:
        hosts = ["localhost", "no-such-host.invalid"]
        one.marathon.change([app()], [task(number=n, host=h) for n, h in enumerate(hosts)])

        await one.registrator.look()

        assert one.catalog.nodes["main-localhost"]["Address"] == "127.0.0.1"
        assert one.names == {"web@main-localhost"}
        assert one.registrator.counts.problems == 1


async def test_an_address_that_cannot_be_looked_up_now_stays() -> None:
    async with rig() as one:
        name = "gone.invalid"
        one.marathon.change([app()], [task(host=name)])
        one.catalog.nodes[f"main-{name}"] = {
            "Node": f"main-{name}", "Address": "10.7.7.7", "Meta": {MARK: "main"},
        }  # fmt: skip

        await one.registrator.look()

        assert one.catalog.services[f"main-{name}"]["web.1:0"]["Address"] == "10.7.7.7"


async def test_metrics_tell_what_was_done() -> None:
    async with rig() as one:
        one.marathon.change([app(checked=True)], [task(healthy=True), task(number=2)])
        await one.registrator.look()

        text = render(one.registrator.counts)

        assert 'registrator_entries{status="passing"} 1' in text
        assert 'registrator_entries{status="critical"} 1' in text
        assert "registrator_registered_total 2" in text
        told = {line.split(" ")[2] for line in text.splitlines() if line.startswith("# TYPE")}
        assert told == set(NAMES)
