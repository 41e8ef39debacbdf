"""What must hold of a cluster whatever happened to it, as a list of what does not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stacks.demo.proofs import CANARY, LOST_STATES
from stacks.environment import local_folder
from stacks.local.process import read_secret
from stacks.local.writes.verify import verify
from stacks.topology import Placement
from tests import leaks
from tests.robustness.rig import Rig

_TRAFFIC = "clients-traffic-0"


@dataclass(frozen=True)
class Before:
    """What was there before anything happened."""

    framework_id: str
    pids: dict[str, int]
    marathon_id: str
    app_tasks: set[str]


def note(rig: Rig) -> Before:
    """Remember what must be kept."""
    marathon_id = str(rig.marathon("/v2/info")["frameworkId"])
    return Before(str(rig.framework()["framework_id"]), rig.pids(), marathon_id, rig.app_tasks())


def problems(rig: Rig, before: Before, *, same_tasks: bool) -> list[str]:
    """Everything that was lost; empty when nothing was.

    `same_tasks` also wants the very processes, for ways on which no agent was drained. The client
    group is stopped for the comparison and started again.
    """
    rig.await_healthy()
    state = rig.framework()
    told = [f"{u['task_id']} {u['state']} ({u['reason']})" for u in _lost(rig.updates)]
    if state["framework_id"] != before.framework_id:
        told.append(f"framework {before.framework_id} became {state['framework_id']}")
    if same_tasks and rig.pids() != before.pids:
        told.append(f"tasks {before.pids} became {rig.pids()}")
    told += _lost_of_marathon(rig, before, same_tasks=same_tasks)
    return [*told, *_leaks(rig), *_missing_writes(rig)]


def _lost(updates: Iterable[dict[str, object]]) -> Iterable[dict[str, object]]:
    return (
        update
        for update in updates
        if update["state"] in LOST_STATES and not str(update["task_id"]).startswith(CANARY)
    )


def _lost_of_marathon(rig: Rig, before: Before, *, same_tasks: bool) -> Iterable[str]:
    marathon_id = rig.marathon("/v2/info")["frameworkId"]
    if marathon_id != before.marathon_id:
        yield f"Marathon {before.marathon_id} became {marathon_id}"
    for app in rig.marathon("/v2/apps")["apps"]:
        failure = rig.marathon(f"/v2/apps{app['id']}")["app"].get("lastTaskFailure")
        if failure is not None:
            yield f"a task of {app['id']}: {failure['state']} ({failure['message']})"
    after = rig.app_tasks()
    if len(after) != len(before.app_tasks) or (same_tasks and after != before.app_tasks):
        yield f"app tasks {sorted(before.app_tasks)} became {sorted(after)}"


def _leaks(rig: Rig) -> list[str]:
    # Journal, backups and plans of the migration lie in the run folder too.
    found = leaks.find(rig.supervisor, local_folder(rig.project_dir) / "pulumi-state")
    return [f"a secret stands in {place}" for place in found]


def _missing_writes(rig: Rig) -> list[str]:
    standing = rig.standing
    here = {Placement.SOURCE: standing.source, Placement.TARGET: standing.target}
    color = here[standing.groups["traffic"]]
    secret = rig.supervisor.run_dir / "secrets" / "zookeeper-super"
    rig.supervisor.stop(_TRAFFIC)
    try:
        report = verify(rig.writes, rig.hosts(color), read_secret(secret), "/apps/traffic")
    finally:
        rig.supervisor.start(_TRAFFIC)
    if report.acknowledged == 0:
        return ["no write was acknowledged"]
    lists = report.as_dict()
    return [f"{kind}: {lists[kind][:5]}" for kind, count in report.counts.items() if count]
