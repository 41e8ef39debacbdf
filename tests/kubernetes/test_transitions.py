"""Every edge of a migration against a real API server: preview, contract, update; there and back.

Nothing runs on these nodes, so nobody asks a guard here; `tests/local` and the demo do.
"""

from __future__ import annotations

import pytest

from stacks.errors import ResourceFailedError
from stacks.migration import updates
from stacks.steps import Op
from stacks.topology import Color, Placement, Position, Standing
from tests.kubernetes import rights
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.stack import DIGEST, ClusterStack
from tests.kubernetes.test_midway import assert_refused, belongings
from tests.providers.kubernetes import APPLIES

SOURCE = {"traffic": Placement.SOURCE}
STOPPED = {"traffic": Placement.STOPPED}
TARGET = {"traffic": Placement.TARGET}
TIERS = ("zookeeper", "masters", "agents")
SHARED = {
    *("frameworks-sample", "frameworks-marathon", "frameworks-marathon-exporter"),
    *("frameworks-mesos-dns", "clients-traffic", "web-route"),
}
WAY = (
    ("1", SOURCE),
    ("2", SOURCE),
    ("2/prepared", SOURCE),
    ("2/moved", SOURCE),
    ("3", SOURCE),
    ("3", STOPPED),
    ("3", TARGET),
    ("4", TARGET),
    ("4/prepared", TARGET),
    ("5", TARGET),
    ("5/prepared", TARGET),
    ("6", TARGET),
)
BACK = (
    ("5", TARGET),
    ("4/prepared", TARGET),
    ("4", TARGET),
    ("3/prepared", TARGET),
    ("3", TARGET),
    ("3", STOPPED),
    ("3", SOURCE),
    ("2/moved", SOURCE),
    ("2/prepared", SOURCE),
    ("2", SOURCE),
    ("1/prepared", SOURCE),
    ("1", SOURCE),
    ("0/prepared", SOURCE),
    ("0", SOURCE),
)


def move(stack: ClusterStack, text: str, groups: dict[str, Placement]) -> updates.Updated:
    """Take one step as a migration does."""
    new = Standing(position=Position.parse(text), groups=groups)
    plan = stack.runner.project_dir / "plan.json"
    return updates.update(stack.runner, new, plan, lambda _: None)


def workloads(stack: ClusterStack) -> set[str]:
    """Names of all workloads that have pods, or keep their place for them."""
    kinds = ("StatefulSet ", "DaemonSet ", "Deployment ")
    return {name.partition(" ")[2] for name in stack.names() if name.startswith(kinds)}


def of(color: str, *tiers: str) -> set[str]:
    """A colour's workloads of these tiers, with those that look after some of them."""
    looked_after = {tier for tier in tiers if tier in {"masters", "agents"}}
    beside = {f"{tier}-caretaker" for tier in looked_after}
    beside |= {f"{tier}-exporter" for tier in {"masters"} & {*tiers}}
    return {f"{color}-{tier}" for tier in {*tiers, *beside}}


def begin(stack: ClusterStack) -> None:
    """Make the cluster that a migration leaves."""
    names = {"replicas": 1, "image": f"example.invalid/mesos-dns@{DIGEST}"}
    # What watches both colours is told the same at every position, and when they exchange roles.
    probe = {"apps": ["http://app.svc:4040"], "watch": ["zookeeper", "mesos", "marathon"]}
    web = {"replicas": 1, "image": f"example.invalid/haproxy@{DIGEST}"}
    services = {
        "discovery": names,
        "metrics": {"exporter": True},
        "probe": probe,
        "web_route": web,
    }
    stack.configure(kubernetes={"spread": "hosts"}, services=services)
    stack.runner.set_migration(Standing(position=Position(0), groups=SOURCE))
    stack.runner.up()
    assert workloads(stack) == of("blue", *TIERS) | SHARED


# Fourteen updates of the real engine, each waits for pods.
@pytest.mark.timeout(1200)
def test_the_whole_way_from_blue_to_green_whose_last_removal_is_refused_midway(
    stack: ClusterStack, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(stack)
    seen: dict[str, set[str]] = {}
    for text, groups in WAY:
        if text == "6":
            fail_to_remove_the_source(stack, plane, monkeypatch)
        updated = move(stack, text, groups)
        assert Op.REPLACE not in {step.op for step in updated.changes}
        seen[text] = workloads(stack)

    green = of("green", *TIERS)
    assert seen["1"] == of("blue", *TIERS) | of("green", "zookeeper") | SHARED | {"sync-engine"}
    assert seen["2"] == seen["1"] | of("green", "masters")
    assert seen["3"] == seen["2"] - of("blue", "masters")
    assert seen["4"] == seen["3"] | green
    assert seen["5"] == seen["4"] - of("blue", "agents")
    assert seen["6"] == green | SHARED
    # Volumes of what is gone are kept.
    claims = {name for name in stack.names() if name.startswith("PersistentVolumeClaim ")}
    assert {f"PersistentVolumeClaim state-blue-zookeeper-{i}" for i in range(3)} <= claims

    before = stack.versions()
    stack.runner.set_migration(Standing(Color.GREEN, Color.BLUE, Position(0), SOURCE))
    assert {step.name for step in stack.runner.preview().changes} == {"gate"}
    stack.runner.up()
    # The colours exchange their roles, and nothing that runs is touched.
    assert stack.versions() == before


def fail_to_remove_the_source(
    stack: ClusterStack, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may remove the engine, and not the ensemble, gets as far as that; what serves is as it
    was, and the ensemble has all that it had."""
    ensemble = belongings(stack)["blue-zookeeper"]
    served = serving(stack)
    keeper = rights.without_removal_of_stateful_sets(plane, stack, but="sync-engine")
    monkeypatch.setenv(APPLIES, str(keeper))

    with pytest.raises(ResourceFailedError) as failure:
        move(stack, "6", TARGET)

    monkeypatch.setenv(APPLIES, str(plane.admin))
    assert failure.value.resource == "blue-zookeeper"
    assert_refused(failure.value)
    assert "sync-engine" not in workloads(stack)
    assert belongings(stack)["blue-zookeeper"] == ensemble
    assert serving(stack) == served
    # The configuration points where the stack stands, and holds no permit that somebody may find.
    assert stack.runner.desired() == stack.runner.actual()
    assert stack.runner.get_config().migration.permit is None


def serving(stack: ClusterStack) -> dict[str, str]:
    """The target colour's objects and what both share, by what the server counts writes by."""
    leaving = ("blue-", "state-blue-", "sync-engine", "state-sync-engine")
    return {
        name: version
        for name, version in stack.versions().items()
        if not name.partition(" ")[2].startswith(leaving)
    }


@pytest.mark.timeout(1800)
def test_the_way_back_ends_where_it_began(stack: ClusterStack) -> None:
    begin(stack)
    kept = {pod["metadata"]["uid"] for pod in stack.pods("blue-zookeeper")}
    for text, groups in WAY[: WAY.index(("5/prepared", TARGET)) + 1]:
        move(stack, text, groups)
    for text, groups in BACK:
        move(stack, text, groups)

    assert workloads(stack) == of("blue", *TIERS) | SHARED
    # Those that hold the data have not been touched on all that way.
    assert {pod["metadata"]["uid"] for pod in stack.pods("blue-zookeeper")} == kept
