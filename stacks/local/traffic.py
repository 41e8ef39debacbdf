"""Start a client group that writes (`--config FILE`), or verify what it wrote (`verify …`).

SIGTERM finishes what is under way, closes the session and notes the time, so that the group can be
moved: started again with other hosts it continues the same tree with a new handle, and the pause of
its writers is the time between the records `stopped` and `first_ack` of its log.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stacks.local.errors import StartError
from stacks.local.process import Listener, end, launch, read_secret
from stacks.local.traffic_settings import TrafficSettings

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from stacks.local.writes.verify import Report
    from stacks.local.writes.writer import Writer

_CONNECT_TIMEOUT_S = 60.0


def verify(log: Path, hosts: str, auth: str | None, root: str | None = None) -> Report:
    """Compare an ensemble with a group's log; see stacks.local.writes.verify."""
    from stacks.local.writes.verify import verify as compare

    return compare(log, hosts, auth, root)


def _make_app(writer: Writer) -> Starlette:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, PlainTextResponse, Response
    from starlette.routing import Route

    async def status(_: Request) -> Response:
        return JSONResponse(writer.status())

    async def health(_: Request) -> Response:
        return PlainTextResponse("ok")

    return Starlette(routes=[Route("/status", status), Route("/health", health)])


async def _serve(settings: TrafficSettings, stop: asyncio.Event) -> None:
    import structlog

    from stacks.local.session import Session
    from stacks.local.writes.writer import Writer, read_identity

    log = structlog.get_logger()
    log.info("traffic.starting", note="client group that writes", rate_per_s=settings.rate_per_s)
    assert settings.hosts is not None
    identity = read_identity(settings.work_dir)
    session = Session(settings.hosts, timeout_s=settings.zk_session_timeout_s, auth=identity)
    writer = Writer(settings, session, identity)
    listener = Listener(_make_app(writer), settings.listener.host, settings.listener.port)
    await listener.start()
    await session.start(bound_s=_CONNECT_TIMEOUT_S)
    await writer.open()
    log.info("traffic.writing", hosts=settings.hosts, path=settings.path)
    await writer.run(stop)
    await writer.close()
    await listener.stop()
    log.info("traffic.stopped", acknowledged=writer.counts.acknowledged)


def _verify_command(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description="Compare an ensemble with a group's log.")
    parser.add_argument("--log", required=True, type=Path, metavar="FILE")
    parser.add_argument("--hosts", required=True, metavar="HOST:PORT,…")
    parser.add_argument("--auth-file", type=Path, metavar="FILE", help="holds user:password")
    parser.add_argument("--root", metavar="PATH", help="also look for unexplained nodes below")
    given = parser.parse_args(arguments)
    try:
        report = verify(given.log, given.hosts, read_secret(given.auth_file), given.root)
    except (StartError, OSError) as error:
        end(str(error), status=2)
    sys.stdout.write(json.dumps(report.as_dict(), indent=2) + "\n")
    sys.exit(0 if report.ok else 1)


def _check(settings: TrafficSettings) -> None:
    if settings.hosts is None:
        msg = "expected host:port,… in 'hosts', saw null: a group that stands still is not started"
        raise StartError(msg)


def main() -> None:
    """Start the group from its configuration file, or verify."""
    if sys.argv[1:2] == ["verify"]:
        _verify_command(sys.argv[2:])
        return
    launch(__doc__, TrafficSettings.read, _serve, before=_check)


if __name__ == "__main__":
    main()
