"""Start the sample framework: N long-running tasks on whatever masters ZooKeeper names.

A real framework of the v1 scheduler API, small. SIGTERM ends it without TEARDOWN, so that its tasks
run on for the failover time-out and a successor with the same id, here or on another ensemble that
holds a copy of its subtree, goes on with them.
"""

from __future__ import annotations

import asyncio
from typing import Any

from stacks.local.errors import ElectionError, RemovedError, StartError
from stacks.local.process import Listener, end, launch
from stacks.local.settings import FrameworkSettings

_LOAD_TIMEOUT_S = 60.0


async def _serve(settings: FrameworkSettings, stop: asyncio.Event) -> None:
    import structlog

    from stacks.local.mesos.election import Detector
    from stacks.local.sample.http import make_app
    from stacks.local.sample.scheduler import Scheduler
    from stacks.local.session import Session

    log = structlog.get_logger()
    log.info("framework.starting", note="sample framework", tasks=settings.tasks)
    election = settings.election
    assert election is not None
    session = Session(election.hosts, timeout_s=settings.zk_session_timeout_s)
    scheduler = Scheduler(settings, session)
    listener = Listener(make_app(scheduler), settings.listener.host, settings.listener.port)
    await listener.start()
    await session.start(bound_s=_LOAD_TIMEOUT_S)
    await session.insist(scheduler.roster.load)
    log.info(
        "framework.serving", id=scheduler.roster.framework_id, tasks=len(scheduler.roster.tasks)
    )
    work: list[asyncio.Future[Any]] = [
        asyncio.ensure_future(Detector(session, election.path).run(scheduler.note_leader)),
        asyncio.ensure_future(scheduler.link.run()),
        asyncio.ensure_future(scheduler.keep_time()),
        asyncio.ensure_future(stop.wait()),
    ]
    done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
    for future in work:
        future.cancel()
    await asyncio.gather(*work, return_exceptions=True)
    problem = None
    for future in done:
        try:
            await future
        except RemovedError as error:
            problem = (
                f"expected masters to know framework {scheduler.roster.framework_id}, saw {error}: "
                f"delete {settings.subtree}/framework-id to begin a new one"
            )
        except ElectionError as error:
            problem = str(error)
    await scheduler.link.close()
    await listener.stop()
    await session.close()
    scheduler.close()
    if problem is not None:
        end(problem)
    log.info("framework.stopped")


def _check(settings: FrameworkSettings) -> None:
    if settings.election is None:
        msg = "expected zk://… in 'zk', saw null: a framework that stands still is not started"
        raise StartError(msg)


def main() -> None:
    """Start the framework from its configuration file."""
    launch(__doc__, FrameworkSettings.read, _serve, before=_check)


if __name__ == "__main__":
    main()
