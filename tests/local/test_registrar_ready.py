"""What a pod's probe runs tells a master that has recovered its registry from one that has not."""

from __future__ import annotations

import asyncio

from stacks.local.registrar_ready import problem
from stacks.local.settings import MasterSettings
from tests.local.rig import Rig
from tests.ports import free_port
from tests.waiting import until


async def ask(settings: MasterSettings) -> str | None:
    return await asyncio.to_thread(problem, settings)


async def test_a_master_is_ready_when_its_registry_is_and_to_who_may_ask(rig: Rig) -> None:
    credential = rig.folder / "credential"
    credential.write_text("operator:a-secret")
    group = await rig.masters(count=3, credential_file=credential)
    settings = group[0].master.settings

    async def is_ready() -> bool:
        return await ask(settings) is None

    await until(is_ready, "a ready master")
    anonymous = await ask(settings.model_copy(update={"credential_file": None}))
    assert anonymous == f"expected metrics of the master on port {settings.port}, saw 401"


async def test_a_master_of_a_group_that_is_empty_altogether_is_not_ready(rig: Rig) -> None:
    running = await rig.master("blue", 0, quorum=2, log_auto_initialize=False)
    settings = running.master.settings

    assert await ask(settings) == "expected registrar/log/recovered to be 1, saw 0.0"

    silent = await ask(settings.model_copy(update={"port": free_port()}))
    assert silent is not None
    assert "saw ConnectionRefusedError" in silent
