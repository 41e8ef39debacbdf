"""Start a Mesos agent, the real `mesos-agent` when it is on PATH, else the stand-in; or clean up.

`--config FILE` starts it. `cleanup --work-dir DIR` ends the tasks that a work folder tells of, each
by process id and start time, after its agent is gone for good: stopping an agent never ends tasks.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from stacks.local import private_files
from stacks.local.pod import in_pod
from stacks.local.process import become, end, launch, make_folder, read_secret
from stacks.local.settings import AgentSettings

# Set by host targets where one file serves the agents of many nodes.
_NODE_NAME = "NODE_NAME"
CREDENTIAL = "credential.json"
_GRACE_S = 5.0
_POLL_S = 0.02


def real_command(binary: str, settings: AgentSettings) -> list[str]:
    """The real program with the same meaning."""
    from stacks.local.mesos.flags import with_flags

    resources = settings.resources
    begin, last = resources.ports
    scalars = f"cpus:{resources.cpus:g};mem:{resources.mem:g};disk:{resources.disk:g}"
    offered = f"{scalars};ports:[{begin}-{last}]"
    command = [
        binary,
        f"--master={settings.master}",
        f"--work_dir={settings.work_dir}",
        f"--runtime_dir={settings.runtime_dir or settings.work_dir / 'run'}",
        f"--ip={settings.ip}",
        *([f"--advertise_ip={settings.advertise_ip}"] if settings.advertise_ip else []),
        f"--port={settings.port}",
        f"--hostname={settings.public_hostname}",
        "--no-hostname_lookup",
        f"--resources={offered}",
        f"--executor_shutdown_grace_period={settings.executor_shutdown_grace_period_s:g}secs",
        "--reconfiguration_policy=additive",
        "--no-systemd_enable_support",
        *_isolation(settings),
        "--containerizers=mesos",
    ]
    if settings.attributes:
        pairs = ";".join(f"{name}:{value}" for name, value in settings.attributes.items())
        command.append(f"--attributes={pairs}")
    if settings.credential_file is not None:
        principal, _, secret = (read_secret(settings.credential_file) or "").partition(":")
        text = json.dumps({"principal": principal, "secret": secret})
        command.append(f"--credential={private_files.write(settings, CREDENTIAL, text)}")
    return with_flags(command, settings.flags)


def _isolation(settings: AgentSettings) -> list[str]:
    if settings.isolation == "cgroups":
        return ["--launcher=linux", "--isolation=cgroups/cpu,cgroups/mem", "--cgroups_enable_cfs"]
    return ["--launcher=posix", "--isolation=posix/cpu,posix/mem"]


def on_node(settings: AgentSettings, variables: Mapping[str, str]) -> AgentSettings:
    """The settings of an agent that shares its file with those of other nodes: the hostname is part
    of its identity, and must be its own."""
    node = variables.get(_NODE_NAME)
    return settings.model_copy(update={"hostname": node}) if node else settings


def clean_up(work_dir: Path, grace_s: float = _GRACE_S) -> list[int]:
    """End the tasks of a work folder and forget them; returns the process ids that were ended."""
    from stacks.local.mesos import executor
    from stacks.local.mesos.cgroups import Cgroups
    from stacks.local.mesos.checkpoint import Checkpoint

    checkpoint = Checkpoint(work_dir)
    records = checkpoint.records()
    found = [r.process or executor.find(Path(r.sandbox)) for r in records]
    alive = [process for process in found if process is not None and process.is_alive]
    for process in alive:
        executor.terminate(process)
    deadline = time.monotonic() + grace_s
    while any(process.is_alive for process in alive) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    for process in alive:
        executor.kill(process)
    cgroups = Cgroups()
    for record in records:
        checkpoint.remove(record)
        cgroups.remove(record.container_id)
    return [process.pid for process in alive]


async def _serve(settings: AgentSettings, stop: asyncio.Event) -> None:
    import structlog

    from stacks.local.mesos.agent import Agent

    log = structlog.get_logger()
    log.info("agent.starting", note="stand-in for mesos-agent, not Apache Mesos")
    agent = Agent(settings)
    await agent.start()
    log.info("agent.serving", address=f"{settings.ip}:{settings.port}", id=agent.id)
    await stop.wait()
    end("Stopped; tasks run on", status=0)


def _read(path: Path) -> AgentSettings:
    return in_pod(on_node(AgentSettings.read(path), os.environ), os.environ)


def _become_the_real_one(settings: AgentSettings) -> None:
    binary = shutil.which("mesos-agent") if settings.engine == "auto" else None
    if binary is not None:
        make_folder(settings.work_dir)
        private_files.remove_former(settings.work_dir, (CREDENTIAL,))
        become(real_command(binary, settings))


def _clean_up_command(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description="End the tasks that a work folder tells of.")
    parser.add_argument("--work-dir", required=True, type=Path, metavar="DIR")
    ended = clean_up(parser.parse_args(arguments).work_dir)
    sys.stdout.write(json.dumps({"ended": ended}) + "\n")


def main() -> None:
    """Start one agent from its configuration file, or clean up after one."""
    if sys.argv[1:2] == ["cleanup"]:
        _clean_up_command(sys.argv[2:])
        return
    launch(__doc__, _read, _serve, before=_become_the_real_one)


if __name__ == "__main__":
    main()
