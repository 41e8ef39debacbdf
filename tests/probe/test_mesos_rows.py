"""What is told of clusters whose frameworks, agents and apps call themselves whatever they like."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import pytest

from clients.marathon.model import App, Info
from clients.marathon.model import Task as AppTask
from clients.mesos.model import Agent, Agents, Framework, Frameworks, Role, State, Task, Tasks
from probe.agent.claims import Claims
from probe.agent.collectors.mesos_rows import ALL, Marathon, Masters, Rows
from probe.agent.redaction import REDACTED
from probe.agent.settings import Mesos
from probe.agent.site import Site
from probe.agent.text import NAME_CHARS_MAX
from probe.report import wire
from probe.report.mirror import Mirror
from tests.probe.sites import site

HOSTILE = "\x1b[2J\u202eabc\x00" + "x" * 1_000_000
MASTER, MARATHON = "127.0.0.1:5050", "127.0.0.1:8080"
AGENT = Agent(
    id="agent",
    hostname="node",
    port=5051,
    pid="slave(1)@127.0.0.1:5051",
    version="1.11.0",
    active=True,
    deactivated=False,
    registered_at=0.0,
    reregistered_at=None,
    attributes={"rack": "a"},
    resources={"cpus": 4.0},
    allocated={"cpus": 1.0},
    drain=None,
)
FRAMEWORK = Framework(
    id="framework",
    name="spark",
    roles=("analytics",),
    active=True,
    connected=True,
    recovered=False,
    checkpoint=True,
    failover_timeout_s=60.0,
    capabilities=frozenset(),
    webui_url="http://127.0.0.1:4040/",
)
TASK = Task(
    id="task",
    name="task",
    framework_id="framework",
    agent_id="agent",
    state="TASK_RUNNING",
    resources={"cpus": 1.0},
    executor_pid=None,
    reason=None,
    updated_at=None,
    role="analytics",
)


APP = App("/shop/web", {}, 1, "1", 0, 1, 1, 0, ())
APP_TASK = AppTask("task", "/shop/web", None, None, (), "TASK_RUNNING", "1", None, None, None)
INFO = Info("marathon", "1.10.26", "framework", None, elected=True, config={}, zookeeper={})


def tell(place: Site, state: State, seen: Marathon, role: Role) -> None:
    """What the collector tells after one look."""
    cluster = Mesos("blue", masters=(MASTER,), marathon=(MARATHON,))
    claims = Claims(place.ledger, ALL)
    rows = Rows(place, [cluster], claims)
    rows.tell_marathon([MARATHON], "blue", seen)
    rows.tell_masters(cluster, Masters(frozenset(), MASTER, None, state, (role,)))
    claims.forget_before()
    claims.settle()


def holds(agent: Agent, framework: Framework, task: Task) -> State:
    """What a leader knows."""
    return State(Agents((agent,), ()), Tasks((task,), (), ()), Frameworks((framework,), ()))


def texts(place: Site) -> Iterator[str]:
    """Every text that is told, ids too."""
    for table in place.ledger.tables.values():
        for id_, node in table:
            yield id_
            for value in node.values():
                if isinstance(value, list):
                    yield from map(str, value)
                elif isinstance(value, str):
                    yield value


def test_hostile_names_are_made_fit_and_still_lead_to_each_other() -> None:
    place = site()
    agent = replace(
        AGENT,
        id=HOSTILE,
        hostname=HOSTILE,
        version=HOSTILE,
        pid=f"slave(1)@{HOSTILE}",
        attributes={HOSTILE: HOSTILE},
        resources={HOSTILE: 1.0},
    )
    framework = replace(FRAMEWORK, id=HOSTILE, name=HOSTILE, roles=(HOSTILE,), webui_url=HOSTILE)
    task = replace(
        TASK,
        id=HOSTILE,
        name=HOSTILE,
        framework_id=HOSTILE,
        agent_id=HOSTILE,
        state=HOSTILE,
        role=HOSTILE,
        container_id=HOSTILE,
        resources={HOSTILE: 1.0},
    )
    seen = Marathon(
        MARATHON,
        replace(INFO, version=HOSTILE, framework_id=HOSTILE),
        (replace(APP, id=HOSTILE, version=HOSTILE),),
        (replace(APP_TASK, id=HOSTILE, app_id=HOSTILE),),
    )

    role = Role(HOSTILE, 1.0, (HOSTILE,), {HOSTILE: 1.0})
    tell(place, holds(agent, framework, task), seen, role)

    found = list(texts(place))
    assert all(len(one) <= 2 * NAME_CHARS_MAX + 2 for one in found)
    assert all(one.isprintable() for one in found)
    ledger, mirror = place.ledger, Mirror()
    mirror.apply(wire.decode(wire.encode(ledger.snapshot(0, 1))))
    (told,) = mirror.nodes("mesos_task").values()
    for column, topology in (
        ("agent", "mesos_agent"),
        ("framework", "mesos_framework"),
        ("app", "marathon_app"),
    ):
        assert told[column] in mirror.nodes(topology)


def test_secrets_in_attributes_and_addresses_stay_here() -> None:
    place = site()
    # Neither is cut before it is judged.
    long = f"{'x' * 220} http://admin:{'hunter22' * 5}@node:4040/ui"
    attributes = {"rack": "a", "api_token": "hunter22", "url": long, "n" * 300 + "_token": long}
    agent = replace(AGENT, attributes=attributes)
    framework = replace(FRAMEWORK, webui_url=long)

    seen = Marathon(MARATHON, INFO, (), ())
    tell(place, holds(agent, framework, TASK), seen, Role("web", 1.0, (), {}))

    assert not [one for one in texts(place) if "hunter22" in one]
    (told,) = (node for _, node in place.ledger["mesos_agent"])
    assert {f"api_token={REDACTED}", "rack=a"} <= set(cast("list[str]", told["attributes"]))
    (told,) = (node for _, node in place.ledger["mesos_framework"])
    assert str(told["web_url"]).endswith("@node:4040/ui")


def test_agents_of_any_node_are_of_the_colour_of_their_port() -> None:
    place = site()
    clusters = [Mesos("blue", agents=("*:5051",)), Mesos("green", agents=("*:5052",))]
    rows = Rows(place, clusters, Claims(place.ledger, ALL))
    others = replace(AGENT, id="other", port=5052, pid="slave(1)@10.0.0.9:5052")
    state = State(Agents((AGENT, others), ()), Tasks((), (), ()), Frameworks((), ()))
    rows.tell_masters(clusters[1], Masters(frozenset(), MASTER, None, state))

    told = {id_: row["cluster"] for id_, row in place.ledger["mesos_agent"]}
    assert told == {"agent": "blue", "other": "green"}


@pytest.mark.parametrize(
    ("address", "is_known"),
    [
        ("zoo-0.zoo.mesos.svc:2181", True),
        ("zoo-0.zoo.mesos.svc.cluster.local:2181", True),
        # Of another namespace, of another service, of no service, and no name of a pod.
        ("zoo-0.zoo.other.svc:2181", False),
        ("zoo-0.other.mesos.svc:2181", False),
        ("zoo-1.zoo.mesos.svc:2181", False),
        ("zoo.mesos.svc:2181", False),
        ("10.1.0.7:2181", False),
        ("", False),
    ],
)
def test_a_server_is_the_pod_that_its_address_names(address: str, is_known: bool) -> None:
    place = site()
    for uid, namespace, name in (("u0", "mesos", "zoo-0"), ("u1", "mesos", "zoo-1")):
        services = ["rig;mesos/zoo"] if uid == "u0" else []
        place.ledger["kubernetes_pod"].put(
            uid, namespace=f"rig;{namespace}", name=name, services=services
        )
    cluster = Mesos("blue", zookeeper=(address,))
    rows = Rows(place, [cluster], Claims(place.ledger, ALL))
    rows.pods.learn()
    rows.tell_ensemble(cluster, {address: {"state": "leader"}})

    assert place.ledger["zookeeper_server"].get(address, "pod") == ("u0" if is_known else None)
