"""Who is offered what: fair shares, weights, limits, guarantees, filters; all on values."""

from __future__ import annotations

from typing import Any

from stacks.local.mesos import registry
from stacks.local.mesos.allocator import Allocator
from stacks.local.mesos.cluster import Agent, Cluster, Framework, Task
from stacks.local.mesos.streams import Stream
from stacks.local.mesos.values import Scalars


class Setting:
    """A cluster of equal agents without a network."""

    def __init__(self, agents: int, cpus: float = 1.0) -> None:
        self.cluster = Cluster("m")
        self.allocator = Allocator(self.cluster)
        self.document: dict[str, Any] = {}
        for number in range(agents):
            info = {"hostname": f"h{number}", "port": 1, "resources": _resources(cpus)}
            agent = Agent(f"S{number}", info, f"slave(1)@10.0.0.{number}:1", "1", 0.0)
            agent.stream = Stream()
            self.cluster.add_agent(agent)

    def framework(self, name: str, *roles: str) -> Framework:
        made = Framework(name, {"roles": list(roles)}, 0.0)
        made.stream = Stream()
        self.cluster.frameworks[name] = made
        return made

    def quota(self, role: str, limit: float | None = None, guarantee: float = 0.0) -> None:
        config: dict[str, Any] = {"role": role}
        if limit is not None:
            config["limits"] = {"cpus": {"value": limit}}
        if guarantee:
            config["guarantees"] = {"cpus": {"value": guarantee}}
        self.document = registry.set_quota([config])(self.document)

    def run(self) -> dict[str, float]:
        """One round; processors on offer by role."""
        self.allocator.run(self.document)
        found: dict[str, float] = {}
        for offer in self.cluster.offers.values():
            found[offer.role] = found.get(offer.role, 0.0) + offer.resources["cpus"]
        return found


def _resources(cpus: float) -> list[dict[str, Any]]:
    amounts: Scalars = {"cpus": cpus, "mem": 1024.0}
    scalars = [
        {"name": name, "type": "SCALAR", "scalar": {"value": value}}
        for name, value in amounts.items()
    ]
    ports = {"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 1, "end": 9}]}}
    return [*scalars, ports]


def test_roles_share_equally_and_by_weight() -> None:
    setting = Setting(agents=8)
    setting.framework("a", "dev")
    setting.framework("b", "ops")
    assert setting.run() == {"dev": 4.0, "ops": 4.0}
    weighted = Setting(agents=8)
    weighted.framework("a", "dev")
    weighted.framework("b", "ops")
    weighted.document = registry.set_weights({"dev": 3.0})(weighted.document)
    assert weighted.run() == {"dev": 6.0, "ops": 2.0}


def test_frameworks_of_a_role_share_what_the_role_has() -> None:
    setting = Setting(agents=8)
    for name in ("a", "b"):
        setting.framework(name, "dev")
    setting.framework("c", "ops")
    setting.run()
    count = {name: len(framework.offers) for name, framework in setting.cluster.frameworks.items()}
    assert count == {"a": 2, "b": 2, "c": 4}


def test_a_framework_of_many_roles_is_offered_for_each() -> None:
    setting = Setting(agents=4)
    setting.framework("a", "dev", "ops")
    assert setting.run() == {"dev": 2.0, "ops": 2.0}


def test_a_limit_cuts_what_a_role_is_offered() -> None:
    setting = Setting(agents=4)
    setting.framework("a", "dev")
    setting.quota("dev", limit=1.5)
    assert setting.run() == {"dev": 1.5}


def test_roles_below_one_share_what_it_has_within_its_quota() -> None:
    setting = Setting(agents=12)
    setting.framework("a", "dev/web")
    setting.framework("b", "dev/data")
    setting.framework("c", "ops")
    assert setting.run() == {"dev/web": 3.0, "dev/data": 3.0, "ops": 6.0}
    bound = Setting(agents=12)
    bound.framework("a", "dev/web")
    bound.framework("b", "dev/data")
    bound.framework("c", "ops")
    bound.quota("dev", limit=4)
    assert bound.run() == {"dev/web": 2.0, "dev/data": 2.0, "ops": 8.0}
    assert bound.cluster.held("dev")["cpus"] == 4.0
    promised = Setting(agents=4)
    promised.quota("dev", guarantee=3)
    promised.framework("a", "dev/web")
    promised.framework("b", "ops")
    assert promised.run() == {"dev/web": 3.0, "ops": 1.0}


def test_a_round_looks_only_at_the_agents_that_an_event_concerns() -> None:
    setting = Setting(agents=4)
    setting.framework("a", "dev")
    setting.allocator.run(setting.document, frozenset({"S2", "gone"}))
    assert [offer.agent_id for offer in setting.cluster.offers.values()] == ["S2"]
    assert setting.run() == {"dev": 4.0}


def test_a_guarantee_is_kept_free_while_its_role_is_away_and_met_first_when_it_comes() -> None:
    setting = Setting(agents=4)
    setting.quota("ops", guarantee=3)
    setting.framework("a", "dev")
    assert setting.run() == {"dev": 1.0}
    setting.framework("b", "ops")
    assert setting.run() == {"dev": 1.0, "ops": 3.0}


def test_suppressed_roles_and_declined_agents_are_left_out_until_revived() -> None:
    setting = Setting(agents=2)
    framework = setting.framework("a", "dev")
    framework.suppressed = {"dev"}
    assert setting.run() == {}
    framework.suppressed = set()
    assert setting.run() == {"dev": 2.0}
    for offer_id in list(framework.offers):
        offer = setting.cluster.remove_offer(offer_id)
        assert offer is not None
        setting.allocator.filters.refuse(offer, {"refuse_seconds": 1000})
    assert setting.run() == {}
    setting.allocator.filters.clear("a")
    assert setting.run() == {"dev": 2.0}


def test_what_a_task_takes_comes_back_with_its_end() -> None:
    setting = Setting(agents=1, cpus=2.0)
    framework = setting.framework("a", "dev")
    info = {"task_id": {"value": "t"}, "agent_id": {"value": "S0"}, "resources": _resources(1.5)}
    task = Task(info, "a", "S0", "dev")
    setting.cluster.add_task(task)
    agent = setting.cluster.agents["S0"]
    assert (agent.available["cpus"], agent.used_ports) == (0.5, ((1, 9),))
    assert setting.cluster.consumed("dev")["cpus"] == 1.5
    ended = {"state": "TASK_FINISHED", "task_id": {"value": "t"}}
    setting.cluster.note(task, ended, "TASK_FINISHED")
    setting.cluster.note(task, ended, "TASK_FINISHED")
    setting.cluster.remove_task(task)
    assert (agent.available["cpus"], agent.free_ports) == (2.0, ((1, 9),))
    assert framework.used["cpus"] == 0.0


def test_an_offer_tells_of_maintenance() -> None:
    setting = Setting(agents=1)
    framework = setting.framework("a", "dev")
    window = {
        "machine_ids": [{"hostname": "H0", "ip": "10.0.0.0"}],
        "unavailability": {"start": {"nanoseconds": 1}},
    }
    setting.document = registry.set_schedule({"windows": [window]})(setting.document)
    setting.run()
    stream = framework.stream
    assert stream is not None
    assert b'"unavailability":{"start":{"nanoseconds":1}}' in stream.waiting()
