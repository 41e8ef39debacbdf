"""Stand-ins say that they are no real programs: in their first log line and on their page."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from tests.local.rig import Rig, free_port
from tests.waiting import until

BOUND_S = 60.0


async def test_every_stand_in_says_so_first_and_on_its_page(rig: Rig, tmp_path: Path) -> None:
    zk = rig.zk("blue")
    listen = {name: f"127.0.0.1:{free_port()}" for name in ("marathon", "simulated_agents")}
    ports = {name: free_port() for name in ("mesos_master", "mesos_agent")}
    settings: dict[str, dict[str, Any]] = {
        "mesos_master": {"zk": zk},
        "mesos_agent": {"master": zk},
        "marathon": {"master": zk, "zk": rig.zk("marathon")},
        "simulated_agents": {"master": zk, "agents": 1},
    }
    with contextlib.ExitStack() as stack:
        for name, given in settings.items():
            if name in ports:
                given |= {"port": ports[name], "work_dir": str(tmp_path / name)}
                given["engine"] = "stand-in"
            else:
                given["listen"] = listen[name]
            config = tmp_path / f"{name}.json"
            config.write_text(json.dumps(given))
            command = [sys.executable, "-m", f"stacks.local.{name}", "--config", str(config)]
            log = stack.enter_context((tmp_path / f"{name}.log").open("wb"))
            process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: ASYNC220 - starting is quick
            stack.callback(process.wait)
            stack.callback(process.kill)
        for name in settings:
            address = listen.get(name) or f"127.0.0.1:{ports[name]}"

            async def page(address: str = address) -> str | None:
                try:
                    answer = await rig.http.get(f"http://{address}/")
                except httpx.TransportError:
                    return None
                return answer.text if answer.is_success else None

            text = await until(page, f"the page of {name}", BOUND_S)
            assert "Stand-in" in text, name
            assert "This is not" in text, name
            first = (tmp_path / f"{name}.log").read_text().splitlines()[0]
            assert "stand-in" in first, first
