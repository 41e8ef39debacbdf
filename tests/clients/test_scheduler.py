"""Being a framework: the subscription, its calls, and how both end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from clients.mesos import (
    AuthenticationError,
    CallRefusedError,
    ForeignLeaderError,
    FrameworkRemovedError,
    ProtocolError,
    SchedulerClient,
    SubscriptionLostError,
)
from clients.mesos.scheduler_model import (
    Alive,
    Failed,
    FrameworkInfo,
    Offer,
    Offers,
    Refused,
    Rescinded,
    TaskInfo,
    Unknown,
    Updated,
)
from tests.clients.scripted import Answer, Feed, Scripted, take_all

LEADER = "127.0.0.1:5050"
INFO = FrameworkInfo("test", "nobody", roles=("dev",))
LEADS: Answer = lambda _: httpx.Response(307, headers={"location": f"//{LEADER}"})  # noqa: E731 - one of a table
ACCEPTED: Answer = lambda _: httpx.Response(202)  # noqa: E731 - one of a table
OFFER = {
    "id": {"value": "o1"},
    "agent_id": {"value": "S0"},
    "framework_id": {"value": "f1"},
    "hostname": "h1",
    "allocation_info": {"role": "dev"},
    "attributes": [{"name": "rack", "type": "TEXT", "text": {"value": "2"}}],
    "resources": [
        {"name": "cpus", "type": "SCALAR", "scalar": {"value": 4.0}},
        {"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 31000, "end": 32000}]}},
    ],
}


class Master(Scripted):
    """A leader that accepts everything, and one stream of it."""

    def __init__(self, **answers: Sequence[Answer]) -> None:
        self.feed = Feed()
        told = {"framework_id": {"value": "f1"}, "heartbeat_interval_seconds": 15.0}
        self.feed.record({"type": "SUBSCRIBED", "subscribed": told})
        stream = httpx.Response(200, stream=self.feed, headers={"Mesos-Stream-Id": "stream-1"})
        calls = ("ACCEPT", "DECLINE", "KILL", "RECONCILE", "ACKNOWLEDGE", "SUPPRESS", "REVIVE")
        super().__init__(
            **{
                "GET /redirect": [LEADS],
                "SUBSCRIBE": [stream],
                **{call: [ACCEPTED] for call in (*calls, "TEARDOWN")},
                **answers,
            }
        )

    @property
    def client(self) -> SchedulerClient:
        return SchedulerClient([LEADER], transport=httpx.MockTransport(self), timeout_s=1)


async def test_a_framework_subscribes_with_what_it_is() -> None:
    master = Master()
    async with master.client as client, client.subscribe(INFO) as subscription:
        assert (subscription.framework_id, subscription.leader) == ("f1", LEADER)
    call = dict(master.asked)["SUBSCRIBE"]
    assert call["subscribe"]["framework_info"]["roles"] == ["dev"]
    assert call["subscribe"]["framework_info"]["failover_timeout"] == 604800.0
    assert "framework_id" not in call
    assert master.feed.is_closed


async def test_events_are_read_and_what_a_newer_master_tells_is_no_error() -> None:
    master = Master()
    status = {"task_id": {"value": "t"}, "state": "TASK_RUNNING", "uuid": "u==", "new_field": 1}
    master.feed.record({"type": "OFFERS", "offers": {"offers": [OFFER]}})
    master.feed.record({"type": "RESCIND", "rescind": {"offer_id": {"value": "o1"}}})
    master.feed.record({"type": "UPDATE", "update": {"status": status}})
    master.feed.record({"type": "FAILURE", "failure": {"agent_id": {"value": "S0"}}})
    master.feed.record({"type": "HEARTBEAT"})
    master.feed.record({"type": "FROM_THE_FUTURE"})
    master.feed.record({"type": "ERROR", "error": {"message": "Framework failed over"}})
    master.feed.end()
    async with master.client as client, client.subscribe(INFO) as subscription:
        found, end = await take_all(subscription.events())
    assert isinstance(end, SubscriptionLostError)
    offer = Offer("o1", "S0", "h1", "dev", {"cpus": 4.0}, ((31000, 32000),), {"rack": "2"})
    assert found[0] == Offers((offer,))
    assert found[1] == Rescinded("o1")
    assert isinstance(found[2], Updated)
    assert (found[2].status.task_id, found[2].status.uuid) == ("t", "u==")
    assert found[3:] == [
        Failed("S0", None, None),
        Alive(),
        Unknown("FROM_THE_FUTURE"),
        Refused("Framework failed over"),
    ]


async def test_calls_carry_the_stream_and_the_framework() -> None:
    master = Master()
    task = TaskInfo("t1", "sleeper", "S0", {"cpus": 0.1}, "sleep 1", ports=((31000, 31000),))
    async with master.client as client, client.subscribe(INFO) as subscription:
        await subscription.accept(["o1"], [task], refuse_s=5)
        await subscription.decline(["o2"])
        await subscription.kill("t1", "S0", grace_period_s=2.5)
        await subscription.reconcile({"t1": "S0", "t2": None})
        await subscription.acknowledge("t1", "S0", "u==")
        await subscription.suppress()
        await subscription.revive(["dev"])
        await subscription.teardown()
    calls = dict(master.asked)
    launched = calls["ACCEPT"]["accept"]["operations"][0]["launch"]["task_infos"][0]
    assert launched["command"] == {"shell": True, "value": "sleep 1"}
    assert launched["resources"][1]["ranges"] == {"range": [{"begin": 31000, "end": 31000}]}
    assert calls["ACCEPT"]["accept"]["filters"] == {"refuse_seconds": 5}
    assert calls["KILL"]["kill"]["kill_policy"]["grace_period"] == {"nanoseconds": 2_500_000_000}
    assert calls["RECONCILE"]["reconcile"]["tasks"][1] == {"task_id": {"value": "t2"}}
    assert "suppress" not in calls["SUPPRESS"]
    sent = [r for r in master.requests if r.method == "POST"][1:]
    assert {r.headers["mesos-stream-id"] for r in sent} == {"stream-1"}
    assert {json.loads(r.content)["framework_id"]["value"] for r in sent} == {"f1"}


@pytest.mark.parametrize(
    ("status", "text", "error"),
    [
        (400, "The stream ID included in this request didn't match", SubscriptionLostError),
        (403, "Framework is not subscribed", SubscriptionLostError),
        (503, "No leader elected", SubscriptionLostError),
        (307, "", SubscriptionLostError),
        (400, "Expecting 'offer_ids' to be present", CallRefusedError),
        (500, "<html>proxy</html>", ProtocolError),
        (200, "<html>sign in</html>", ProtocolError),
    ],
)
async def test_a_call_that_fails_is_made_once(
    status: int, text: str, error: type[Exception]
) -> None:
    headers = {"location": "//127.0.0.1:5051"} if status == 307 else {}
    master = Master(ACCEPT=[lambda _: httpx.Response(status, text=text, headers=headers)])
    async with master.client as client, client.subscribe(INFO) as subscription:
        with pytest.raises(error):
            await subscription.accept(["o1"], [])
    assert master.kinds.count("ACCEPT") == 1


async def test_a_call_without_an_answer_may_have_arrived_and_is_not_repeated() -> None:
    def hang(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("no answer")

    master = Master(ACCEPT=[hang])
    async with master.client as client, client.subscribe(INFO) as subscription:
        with pytest.raises(SubscriptionLostError, match="may have arrived"):
            await subscription.accept(["o1"], [])
    assert master.kinds.count("ACCEPT") == 1


async def test_heartbeats_that_stay_away_end_the_subscription() -> None:
    master = Master()
    master.feed = Feed()
    told = {"framework_id": {"value": "f1"}, "heartbeat_interval_seconds": 0.01}
    master.feed.record({"type": "SUBSCRIBED", "subscribed": told})
    master.answers["SUBSCRIBE"] = [httpx.Response(200, stream=master.feed)]
    async with master.client as client, client.subscribe(INFO) as subscription:
        with pytest.raises(SubscriptionLostError, match="TimeoutError"):
            await anext(subscription.events())


async def test_a_record_that_was_cut_is_told_from_an_end() -> None:
    master = Master()
    master.feed.put(b'40\n{"type": "HEART')
    master.feed.end()
    async with master.client as client, client.subscribe(INFO) as subscription:
        with pytest.raises(ProtocolError, match="cut"):
            await anext(subscription.events())


async def test_a_removed_framework_and_a_refused_principal_are_told_apart() -> None:
    for text, error in [
        ("Framework has been removed", FrameworkRemovedError),
        ("Not authorized to use role 'dev'", AuthenticationError),
    ]:
        master = Master(SUBSCRIBE=[httpx.Response(403, text=text)])
        async with master.client as client:
            with pytest.raises(error):
                async with client.subscribe(FrameworkInfo("test", "nobody", id="f1")):
                    pass


async def test_another_clusters_leader_gets_no_subscription() -> None:
    elsewhere = httpx.Response(307, headers={"location": "//127.0.0.1:6060"})
    master = Master(**{"GET /redirect": [elsewhere]})
    async with master.client as client:
        with pytest.raises(ForeignLeaderError):
            async with client.subscribe(INFO):
                pass
    assert "SUBSCRIBE" not in master.kinds


def test_what_no_master_takes_is_refused_here(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="role"):
        FrameworkInfo("test", "nobody", roles=())
    with pytest.raises(ValueError, match="command"):
        TaskInfo("t", "t", "S0", {"cpus": 1})
    with pytest.raises(ValueError, match="task id"):
        TaskInfo("a/b", "t", "S0", {"cpus": 1}, "true")
    with pytest.raises(AuthenticationError, match="0600"):
        SchedulerClient([LEADER], tmp_path / "missing")
