"""`migrate check` on an edge that runs: it holds while the proxy has what apps ask for now, before
and after they move, and fails where the proxy was left behind.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from stacks.checks.declared import Declared, EdgeGroup
from stacks.checks.run import check
from stacks.migration.evidence import Evidence
from stacks.topology import Standing
from tests.controllers.edge.running import RunningEdge, edge_of
from tests.local.moving import APP, Stage, stage
from tests.local.rig import Rig
from tests.waiting import until

GROUP = "external"
SERVED: dict[str, Any] = {
    **APP,
    "instances": 1,
    "labels": {"HAPROXY_GROUP": GROUP, "HAPROXY_0_VHOST": "web.example"},
}
_BOUND_S = 60.0


def declared(here: Stage, edge: RunningEdge) -> Declared:
    admin_port = int(edge.admin.rpartition(":")[2])
    own = frozenset({edge.http_port, admin_port})
    marathon = here.marathon.marathon.settings.host_port
    return Declared(
        Standing(), (), (), marathon=(marathon,), edge=EdgeGroup((edge.admin,), GROUP, own)
    )


async def looked_at(here: Stage, edge: RunningEdge) -> Evidence:
    findings = await check(declared(here, edge), timeout_s=10.0)
    return next(one for one in findings.evidence if one.name == "edge")


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_an_edge_holds_while_it_runs_with_what_apps_ask_for_now(
    rig: Rig, haproxy: str, run_dir: Path
) -> None:
    async with (
        stage(rig, SERVED) as here,
        edge_of(here, haproxy, run_dir, reload_interval_s=0.2) as edge,
    ):

        async def holds() -> Evidence | None:
            found = await looked_at(here, edge)
            return found if found.ok else None

        before = await until(holds, "the edge runs with what apps ask for", _BOUND_S)
        # The proxy goes on serving, and nobody tells it what changes.
        edge.process.send_signal(signal.SIGSTOP)
        try:
            await here.move()
            stale = await looked_at(here, edge)
        finally:
            edge.process.send_signal(signal.SIGCONT)
        after = await until(holds, "the edge runs with what apps ask for after a move", _BOUND_S)

    old, new = before.numbers["wanted"], after.numbers["wanted"]
    assert before.said == f"1 replicas of {GROUP} run with {old}"
    assert not stale.ok
    assert stale.said == f"{edge.admin} runs with {old}; apps ask for {new}"
    assert old != new
