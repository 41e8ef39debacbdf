"""Start a Mesos master: the real `mesos-master` when it is on PATH, else the stand-in.

The same settings serve both, so that nothing else in the house knows which one runs.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path

from components import whole_file
from stacks.local import private_files
from stacks.local.pod import in_pod
from stacks.local.process import become, end, launch, make_folder, read_secret
from stacks.local.settings import MasterSettings

ADDRESS, CREDENTIALS = "zk", "credentials.json"


def real_command(binary: str, settings: MasterSettings) -> list[str]:
    """The real program with the same meaning; credentials go into files of the private folder."""
    from stacks.local.mesos.flags import duration, with_flags

    zk = settings.zk
    if settings.zk_auth_file is not None:
        # Never in an argument: the real program reads an address from a file.
        identity = read_secret(settings.zk_auth_file)
        address = zk.replace("zk://", f"zk://{identity}@", 1)
        zk = f"file://{private_files.write(settings, ADDRESS, address)}"
    command = [
        binary,
        f"--zk={zk}",
        f"--quorum={settings.quorum}",
        f"--work_dir={settings.work_dir}",
        f"--ip={settings.ip}",
        *([f"--advertise_ip={settings.advertise_ip}"] if settings.advertise_ip else []),
        f"--port={settings.port}",
        f"--hostname={settings.public_hostname}",
        "--no-hostname_lookup",
        f"--log_auto_initialize={'true' if settings.log_auto_initialize else 'false'}",
        f"--zk_session_timeout={duration(settings.zk_session_timeout_s)}",
        f"--agent_ping_timeout={duration(settings.agent_ping_timeout_s)}",
        f"--max_agent_ping_timeouts={settings.max_agent_ping_timeouts}",
        f"--allocation_interval={settings.allocation_interval_ms}ms",
        f"--agent_reregister_timeout={duration(settings.agent_reregister_timeout_s)}",
    ]
    if settings.authenticate_agents:
        command.append("--authenticate_agents")
    if settings.cluster is not None:
        command.append(f"--cluster={settings.cluster}")
    command += _access(settings)
    return with_flags(command, settings.flags)


def _access(settings: MasterSettings) -> list[str]:
    """Who may do what. What is a document here is a file to the real program."""
    command: list[str] = []
    if settings.acls_file is not None:
        command.append(f"--acls={settings.acls_file.absolute()}")
    if settings.acls is not None:
        acls = settings.work_dir / "acls.json"
        whole_file.write(acls, json.dumps(settings.acls))
        command.append(f"--acls={acls}")
    credentials = settings.credentials_file
    files = [settings.credential_file, *settings.principal_files]
    if credentials is None and any(files):
        known = [(read_secret(file) or "").partition(":") for file in files if file is not None]
        pairs = [{"principal": name, "secret": secret} for name, _, secret in known]
        text = json.dumps({"credentials": pairs})
        credentials = private_files.write(settings, CREDENTIALS, text)
    if settings.authenticate_http_frameworks:
        command += [
            "--authenticate_http_frameworks",
            "--http_framework_authenticators=basic",
            # Those of libmesos, which would come in beside it.
            "--authenticate_frameworks",
        ]
    if credentials is not None:
        command += [
            f"--credentials={credentials.absolute()}",
            "--authenticate_http_readonly",
            "--authenticate_http_readwrite",
        ]
    return command


async def _serve(settings: MasterSettings, stop: asyncio.Event) -> None:
    import structlog

    from stacks.local.mesos.master import Master

    log = structlog.get_logger()
    log.info("master.starting", note="stand-in for mesos-master, not Apache Mesos")
    await Master(settings).start()
    log.info("master.serving", address=f"{settings.ip}:{settings.port}", quorum=settings.quorum)
    await stop.wait()
    # As a real master: gone at once, its session left to expire.
    end("Stopped; the ZooKeeper session is left to expire", status=0)


def _become_the_real_one(settings: MasterSettings) -> None:
    binary = shutil.which("mesos-master") if settings.engine == "auto" else None
    if binary is not None:
        make_folder(settings.work_dir)
        private_files.remove_former(settings.work_dir, (ADDRESS, CREDENTIALS))
        become(real_command(binary, settings))


def _read(path: Path) -> MasterSettings:
    return in_pod(MasterSettings.read(path), os.environ)


def main() -> None:
    """Start one master from its configuration file."""
    launch(__doc__, _read, _serve, before=_become_the_real_one)


if __name__ == "__main__":
    main()
