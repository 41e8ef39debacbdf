"""The real engine is killed in the middle of an update of quota, weight and schedule.

A master takes a write and its answer does not come, until the engine is dead: the cluster has what
its state knows nothing of, and of the other two objects one may be written and one not.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from clients.mesos import OperatorClient
from clients.mesos.model import Machine, MaintenanceSchedule, Quota, Window
from stacks.local.mesos.operator_api import OperatorApi
from tests.local.engine import Project
from tests.local.rig import Rig
from tests.local.test_apps_engine import PATIENT
from tests.waiting import until

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]
# An engine on a busy machine needs its time until it calls anybody.
BOUND_S = 240.0
KINDS = ("UPDATE_QUOTA", "UPDATE_WEIGHTS", "UPDATE_MAINTENANCE_SCHEDULE")
OBJECTS = """
import pulumi
from clients.mesos.model import Machine, Window
from components.mesos.endpoint import MesosEndpoint
from components.mesos.quota import Quota, QuotaArgs
from components.mesos.schedule import MaintenanceSchedule, ScheduleArgs
from components.mesos.weight import Weight, WeightArgs

config = pulumi.Config()
number = config.require_int("number")
endpoint = MesosEndpoint("test", config.require_object("masters"))
Quota("quota", QuotaArgs("dev", limits={"cpus": number}), endpoint)
Weight("weight", WeightArgs("dev", number), endpoint)
MaintenanceSchedule("schedule", ScheduleArgs([Window((Machine("h1"),), number)]), endpoint)
"""


class Silence:
    """A master that takes writes and tells nobody, of one kind at a time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kind = ""
        self.taken = asyncio.Event()
        self.written = Counter[str]()
        self._gone = asyncio.Event()
        answer = OperatorApi.call

        async def call(
            api: OperatorApi, call: dict[str, Any], principal: str | None = None
        ) -> dict[str, Any] | None:
            kind = str(call.get("type"))
            found = await answer(api, call, principal)
            if kind in KINDS:
                self.written[kind] += 1
            if kind == self.kind:
                self.taken.set()
                await self._gone.wait()
            return found

        monkeypatch.setattr(OperatorApi, "call", call)

    def begin(self, kind: str) -> None:
        """Tell nothing of this kind of write, until `end`."""
        self.kind = kind
        self.taken.clear()
        self._gone.clear()
        self.written.clear()

    def end(self) -> None:
        """Answer again; nobody is there to hear what was held back."""
        self.kind = ""
        self._gone.set()


@pytest.mark.long
async def test_what_a_killed_update_left_is_mended_by_the_next_and_nothing_is_written_twice(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence = Silence(monkeypatch)
    (master,) = await rig.masters(count=1, **PATIENT)
    project = Project(tmp_path, program=OBJECTS)
    await project.start(masters=[master.address], number=2)
    async with OperatorClient([master.address], timeout_s=30) as client:
        # First its creation, of which the state knows nothing, then a change by each of the three.
        for number, kind in enumerate((KINDS[0], *KINDS), start=2):
            project.configure(number=number)
            silence.begin(kind)
            try:
                async with project.killed_midway("up", "--yes", "--skip-preview"):
                    await until(silence.taken.is_set, f"{kind} is taken", BOUND_S)
            finally:
                silence.end()
            assert silence.written[kind] == 1

            await project.up()

            assert await client.quota() == (Quota("dev", {"cpus": float(number)}),)
            assert await client.weights() == {"dev": float(number)}
            window = Window((Machine("h1"),), number)
            assert await client.maintenance_schedule() == MaintenanceSchedule((window,))
            assert silence.written == dict.fromkeys(KINDS, 1)
        await project.assert_unchanged()
        assert await project.refresh() == {}

        await project.destroy()
        assert await client.quota() == ()
        assert (await client.maintenance_schedule()).windows == ()
