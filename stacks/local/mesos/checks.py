"""Health checks that an executor makes: a command, an HTTP status, or a port that accepts.

As Mesos' src/checks/health_checker.cpp: failures do not count in the grace period until one check
has succeeded; each change, and each failure, is reported; after so many failures on end the task is
killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from stacks.local.mesos.values import Json, part

_OK, _REDIRECT_END = 200, 400


class Health(Enum):
    """What is reported of a task; `HOPELESS` means that it is to be killed."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    HOPELESS = "hopeless"


Report = Callable[[Health], None]


@dataclass(frozen=True)
class HealthCheck:
    """One check; the defaults are those of mesos.proto."""

    kind: str
    body: Json
    delay_s: float
    interval_s: float
    timeout_s: float
    failures_max: int
    grace_s: float

    @classmethod
    def read(cls, info: Json) -> HealthCheck | None:
        """The check of a TaskInfo, if it has one."""
        given = part(info, "health_check")
        if not given:
            return None
        kind = str(given.get("type", "HTTP"))
        return cls(
            kind=kind,
            body=part(given, kind.lower()),
            delay_s=float(given.get("delay_seconds", 15.0)),
            interval_s=float(given.get("interval_seconds", 10.0)),
            timeout_s=float(given.get("timeout_seconds", 20.0)),
            failures_max=int(given.get("consecutive_failures", 3)),
            grace_s=float(given.get("grace_period_seconds", 10.0)),
        )


async def watch(
    check: HealthCheck,
    *,
    address: str,
    sandbox: Path,
    environment: Mapping[str, str],
    report: Report,
) -> None:
    """Make a check again and again; `report` hears of changes and of every failure."""
    started, succeeded, failures = time.monotonic(), False, 0
    healthy: bool | None = None
    await asyncio.sleep(check.delay_s)
    while True:
        if await is_healthy(check, address=address, sandbox=sandbox, environment=environment):
            succeeded, failures = True, 0
            if healthy is not True:
                report(Health.HEALTHY)
            healthy = True
        elif succeeded or time.monotonic() - started >= check.grace_s:
            failures += 1
            healthy = False
            is_hopeless = 0 < check.failures_max <= failures
            report(Health.HOPELESS if is_hopeless else Health.UNHEALTHY)
        await asyncio.sleep(check.interval_s)


async def is_healthy(
    check: HealthCheck, *, address: str, sandbox: Path, environment: Mapping[str, str]
) -> bool:
    """Make a check once."""
    try:
        async with asyncio.timeout(check.timeout_s or None):
            match check.kind:
                case "COMMAND":
                    return await _run(str(check.body.get("value", "")), sandbox, environment)
                case "TCP":
                    return await _connect(address, int(check.body["port"]))
                case _:
                    return await _get(address, check.body)
    except (TimeoutError, OSError):
        return False


async def _run(command: str, sandbox: Path, environment: Mapping[str, str]) -> bool:
    process = await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        command,
        cwd=sandbox,
        env={"PATH": os.environ.get("PATH", os.defpath), **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return await process.wait() == 0
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _connect(address: str, port: int) -> bool:
    _, writer = await asyncio.open_connection(address, port)
    writer.close()
    return True


async def _get(address: str, body: Json) -> bool:
    """Ask for a page; any status below 400 will do."""
    import httpx

    url = f"{body.get('scheme', 'http')}://{address}:{body['port']}{body.get('path', '/')}"
    try:
        # Checks are of one task on this machine; its certificate is nobody's business.
        async with httpx.AsyncClient(verify=False, timeout=None) as client:  # noqa: S501, S113 - see above; timed outside
            answer = await client.get(url)
    except httpx.HTTPError:
        return False
    return _OK <= answer.status_code < _REDIRECT_END
