"""Start the stand-in for Marathon from its configuration file.

SIGTERM leaves in order: another instance leads at once, tasks run on. Whatever else ends it leaves
its sessions open until they expire, as a Marathon that dies does.
"""

from __future__ import annotations

import asyncio

from stacks.local.errors import StartError
from stacks.local.marathon.settings import MarathonSettings
from stacks.local.process import config_file, configure_logs, end, run
from stacks.local.settings import SettingsError


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


def main() -> None:
    """Start one instance."""
    try:
        settings = MarathonSettings.read(config_file(__doc__ or ""))
    except (SettingsError, StartError) as error:
        end(str(error))
    configure_logs()
    run(lambda stop: _serve(settings, stop))


if __name__ == "__main__":
    main()
