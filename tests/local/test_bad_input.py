"""What people get wrong, each through the client and through the resource, on a master that runs.

Each is told with what was expected, what was seen and what to do, is asked once, and changes
nothing. What scripted servers are needed for (pages, cut streams, locks) is tested beside clients
and components.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pulumi.dynamic import ResourceProvider

from clients.mesos import AuthenticationError, CallRefusedError, OperatorClient
from clients.mesos.model import Quota
from clients.mesos.scheduler_model import FrameworkInfo
from components.errors import AlreadyThereError, ObjectError, UnknownAgentError
from components.mesos.drain import DrainArgs, DrainProvider
from components.mesos.endpoint import MesosEndpoint
from components.mesos.quota import QuotaArgs, QuotaProvider
from components.mesos.weight import WeightArgs, WeightProvider
from stacks.local.mesos.simulated import make_agent
from stacks.local.simulated_settings import SimulatedAgentsSettings
from tests.local.alone import leading_alone
from tests.waiting import until

CAPACITY = {"cpus": 8.0}
Client = Callable[[OperatorClient], Awaitable[Any]]


@dataclass
class Place:
    """A master with one agent, and the right credential and a wrong one for it."""

    address: str
    right: Path
    wrong: Path

    def client(self, *, wrong: bool = False) -> OperatorClient:
        return OperatorClient([self.address], self.wrong if wrong else self.right, timeout_s=20)

    def given(self, args: Any, *, wrong: bool = False) -> dict[str, Any]:
        file = str(self.wrong if wrong else self.right)
        endpoint = MesosEndpoint("test", [self.address], file)
        return {"endpoint": endpoint.properties, "spec": args.properties}


@pytest_asyncio.fixture
async def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    # A provider's error shortens the traces of its process, which is this one here.
    monkeypatch.setattr(sys, "tracebacklimit", 1000, raising=False)
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("operator:the-secret-word")
    wrong.write_text("operator:another-word")
    settings = SimulatedAgentsSettings(listen="h:1", master="zk://h:1/m", agents=1)
    agent = make_agent(settings, 0, pytest.fail)
    async with (
        leading_alone(tmp_path, credential_file=right) as alone,
        alone.followed_by([agent]),
    ):
        await until(lambda: agent.registered_with, "the agent is registered", 60)
        yield Place(alone.address, right, wrong)


async def create(provider: Any, given: dict[str, Any]) -> Any:
    """As Pulumi does: providers are called from a thread without a loop."""
    return await asyncio.to_thread(provider.create, given)


def refused_in_preview(provider: ResourceProvider, given: dict[str, Any]) -> str:
    (failure,) = provider.check({}, given).failures or []
    return str(failure.reason)


async def test_wrong_credentials_are_told_without_the_secret(place: Place) -> None:
    async with place.client(wrong=True) as client:
        with pytest.raises(AuthenticationError, match="give the credential file") as caught:
            await client.update_quota([Quota("dev", {"cpus": 1})])
    given = place.given(QuotaArgs("dev", {"cpus": 1}), wrong=True)
    with pytest.raises(ObjectError, match="give the credential file") as through:
        await create(QuotaProvider(), given)
    for error in (caught.value, through.value):
        assert "saw 401" in str(error)
        assert "word" not in str(error)
    async with place.client() as client:
        assert await client.quota() == ()


async def test_a_missing_role_is_refused_before_anybody_is_asked(place: Place) -> None:
    for wrong in (lambda: Quota("", {"cpus": 1}), lambda: FrameworkInfo("f", "root", roles=())):
        with pytest.raises(ValueError, match="expected"):
            wrong()
    for provider, args in (
        (QuotaProvider(), QuotaArgs("", {"cpus": 1})),
        (WeightProvider(), WeightArgs("", 2)),
    ):
        assert "expected a role" in refused_in_preview(provider, place.given(args))


async def test_quota_over_capacity_is_told_in_the_masters_words(place: Place) -> None:
    too_much = {"cpus": 9000.0}
    async with place.client() as client:
        with pytest.raises(CallRefusedError, match="exceed cluster capacity") as caught:
            await client.update_quota([Quota("dev", too_much, too_much)])
        assert caught.value.status == 400
        with pytest.raises(ObjectError, match="exceed cluster capacity"):
            await create(QuotaProvider(), place.given(QuotaArgs("dev", too_much, too_much)))
        assert await client.quota() == ()


async def test_a_guarantee_over_its_limit_is_refused_before_anybody_is_asked(place: Place) -> None:
    with pytest.raises(ValueError, match="within its limit 1, saw 5"):
        Quota("dev", {"cpus": 1}, {"cpus": 5})
    given = place.given(QuotaArgs("dev", {"cpus": 1}, {"cpus": 5}))
    assert "within its limit 1, saw 5" in refused_in_preview(QuotaProvider(), given)


async def test_duplicate_roles_are_refused_and_the_first_stays(place: Place) -> None:
    first, second = QuotaArgs("dev", {"cpus": 1}), QuotaArgs("dev", {"cpus": 2})
    async with place.client() as client:
        with pytest.raises(ValueError, match="expected each role once, saw dev"):
            await client.update_quota([Quota("dev", {"cpus": 1}), Quota("dev", {"cpus": 2})])
        await create(QuotaProvider(), place.given(first))
        with pytest.raises(AlreadyThereError, match="role dev"):
            await create(QuotaProvider(), place.given(second))
        assert await client.quota() == (Quota("dev", {"cpus": 1.0}),)


async def test_a_weight_of_0_is_refused_before_anybody_is_asked(place: Place) -> None:
    async with place.client() as client:
        with pytest.raises(ValueError, match="above 0 for role dev, saw 0"):
            await client.update_weights({"dev": 0})
        assert "above 0" in refused_in_preview(WeightProvider(), place.given(WeightArgs("dev", 0)))
        assert await client.weights() == {}


async def test_a_drain_of_an_unknown_agent_is_told(place: Place) -> None:
    async with place.client() as client:
        with pytest.raises(CallRefusedError, match="Unknown agent"):
            await client.drain_agent("nope-S9")
        with pytest.raises(UnknownAgentError, match="take its id from the masters' GET_AGENTS"):
            await create(DrainProvider(), place.given(DrainArgs("nope-S9")))
        (agent,) = (await client.agents()).registered
        assert (agent.deactivated, agent.drain) == (False, None)
