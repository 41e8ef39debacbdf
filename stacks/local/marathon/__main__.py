"""Start Marathon from its configuration file: the real one where it can run, else the stand-in.

The real one runs where `marathon` and `mesos-master` are on PATH. The same settings serve both.

SIGTERM leaves in order: another instance leads at once, tasks run on. Whatever else ends it leaves
its sessions open until they expire, as a Marathon that dies does.
"""

from __future__ import annotations

import asyncio
import shutil

from components.marathon import real
from stacks.local.errors import StartError
from stacks.local.marathon.settings import MarathonSettings
from stacks.local.process import become, launch


def instance(binary: str, settings: MarathonSettings) -> real.Instance:
    """The real one with the same meaning.

    Raises:
        StartError: there is no place for what it is to read of secrets.
    """
    if settings.private_dir is None:
        msg = (
            f"expected private_dir in the settings, where {binary} reads its secrets, saw none: "
            "name a folder, or set engine to stand-in"
        )
        raise StartError(msg)

    def place(file: object) -> str | None:
        return None if file is None else str(file)

    return real.Instance(
        master=settings.master,
        zk=settings.zk,
        hostname=settings.hostname or settings.listener.host,
        listen_host=settings.listener.host,
        http_port=settings.listener.port,
        private_dir=str(settings.private_dir.absolute()),
        framework_name=settings.framework_name,
        mesos_user=settings.mesos_user,
        secret_file=place(settings.credential_file),
        http_file=place(settings.http_credentials_file),
        identity_file=place(settings.zk_auth_file),
        binary=binary,
        flags={"enable_features": settings.enable_features} | settings.flags,
    )


async def _serve(settings: MarathonSettings, stop: asyncio.Event) -> None:
    import structlog

    from stacks.local.marathon.service import Marathon

    log = structlog.get_logger()
    log.info("marathon.starting", note="stand-in for Marathon, not Marathon")
    marathon = Marathon(settings)
    await marathon.start()
    log.info("marathon.serving", address=settings.listen)
    await stop.wait()
    await marathon.stop()
    log.info("marathon.stopped")


def _become_the_real_one(settings: MarathonSettings) -> None:
    binary = shutil.which("marathon") if settings.engine == "auto" else None
    if binary is not None and shutil.which("mesos-master") is not None:
        become(["/bin/sh", "-c", real.script(instance(binary, settings))])


def main() -> None:
    """Start one instance."""
    launch(__doc__, MarathonSettings.read, _serve, before=_become_the_real_one)


if __name__ == "__main__":
    main()
