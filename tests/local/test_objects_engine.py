"""Run-time objects with the real engine and the stand-in master: the example as it stands."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from clients.mesos import OperatorClient
from clients.mesos.model import Quota
from tests.local.rig import Rig, free_port

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "objects"
BOUND_S = 150.0
DEV = Quota("dev", {"cpus": 2.0, "mem": 1024.0})


class Project:
    """The example in a folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "objects"
        shutil.copytree(EXAMPLE, self.folder)
        text = (self.folder / "Pulumi.yaml").read_text()
        # The language host and dynamic resources want the environment where Pulumi.yaml says.
        (self.folder / ".venv").symlink_to(sys.prefix)
        (self.folder / "Pulumi.yaml").write_text(text.replace("../../.venv", ".venv"))
        state = folder / "state"
        state.mkdir()
        self._environment = {
            **os.environ,
            "PULUMI_BACKEND_URL": f"file://{state}",
            "PULUMI_CONFIG_PASSPHRASE": "test",
        }

    async def pulumi(self, *words: str, refused: bool = False) -> str:
        """Run the engine; returns what it printed."""
        process = await asyncio.create_subprocess_exec(
            "pulumi",
            *words,
            "--non-interactive",
            cwd=self.folder,
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(BOUND_S):
                output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        text = output.decode()
        assert (process.returncode != 0) is refused, text
        return text

    async def use(self, master: str) -> None:
        """Point the stack at a master."""
        await self.pulumi("config", "set", "--path", "masters[0]", master)


@pytest.mark.engine
@pytest.mark.timeout(900)
async def test_objects_are_made_mended_moved_and_taken_back(rig: Rig, tmp_path: Path) -> None:
    assert shutil.which("pulumi"), "run `make tools`: no Pulumi engine"
    (master,) = await rig.masters(count=1, zk_session_timeout_s=30)
    project = Project(tmp_path)
    nobody = f"127.0.0.1:{free_port()}"
    await project.pulumi("stack", "init", "try")
    async with OperatorClient([master.address], timeout_s=30) as client:
        # Nobody is asked in a preview.
        await project.use(nobody)
        assert "+ 4 to create" in await project.pulumi("preview")
        assert await client.quota() == ()

        await project.use(master.address)
        await project.pulumi("up", "--yes", "--skip-preview")
        assert await client.quota() == (DEV,)
        assert await client.weights() == {"dev": 2.0}
        schedule = await client.maintenance_schedule()
        assert schedule.windows[0].start_ns == 1_893_456_000 * 10**9

        # What was changed by hand is seen by a refresh, and mended.
        await client.update_quota([Quota("dev", {"cpus": 9.0}), Quota("ops", {"cpus": 1.0})])
        told = await project.pulumi("up", "--yes", "--refresh", "--skip-preview")
        assert "~ 1 updated" in told
        assert await client.quota() == (DEV, Quota("ops", {"cpus": 1.0}))

        # A move of the endpoint is written down, and nobody is called.
        await project.use(nobody)
        assert "~ 3 updated" in await project.pulumi("up", "--yes", "--skip-preview")
        await project.use(master.address)
        await project.pulumi("up", "--yes", "--skip-preview")

        await project.pulumi("destroy", "--yes", "--skip-preview")
        assert await client.quota() == (Quota("ops", {"cpus": 1.0}),)
        assert await client.weights() == {"dev": 1.0}
        assert (await client.maintenance_schedule()).windows == ()
