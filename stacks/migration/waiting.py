"""Wait for something that another process must do first, with a bound and words for people."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import httpx

from clients.kubernetes import KubernetesError
from clients.marathon.errors import MarathonError
from clients.marathon.errors import RetryableError as MarathonRetryableError
from clients.mesos.errors import MesosError, RetryableError
from stacks.migration.errors import ActFailedError, AgentsMissingError, UnreachableError
from stacks.migration.updates import Tell
from sync_engine.client import SyncError

T = TypeVar("T")
_PAUSE_S = 0.2


class NotYetError(Exception):
    """What is waited for does not hold yet; says what was seen instead."""


async def wait_until(
    what: str, look: Callable[[], Awaitable[T]], *, bound_s: float, tell: Tell
) -> T:
    """Look until looking succeeds; what may pass by itself is waited out.

    Raises:
        ActFailedError: it did not come to hold within the bound.
    """
    deadline = time.monotonic() + bound_s
    said = ""
    while True:
        try:
            return await look()
        except (
            NotYetError, AgentsMissingError, UnreachableError, RetryableError,
            MarathonRetryableError, httpx.HTTPError,
        ) as error:  # fmt: skip
            seen = words_of(error)
        except (KubernetesError, SyncError) as error:
            if not error.retryable:
                raise
            seen = words_of(error)
        if seen != said:
            tell(seen)
            said = seen
        if time.monotonic() > deadline:
            msg = (
                f"expected {what} within {bound_s:g} s, saw: {seen}. Mend the cause and run "
                "`migrate resume`, or go back with `migrate rollback`"
            )
            raise ActFailedError(msg)
        await asyncio.sleep(_PAUSE_S)


def words_of(error: Exception) -> str:
    """An error for people, on one line."""
    return str(error) or type(error).__name__


def translated(
    error: KubernetesError | MesosError | MarathonError | SyncError | httpx.HTTPError,
) -> UnreachableError | ActFailedError:
    """Failures of the systems we drive as errors of a migration."""
    passing = (RetryableError, MarathonRetryableError, httpx.HTTPError)
    retryable = isinstance(error, passing) or (
        isinstance(error, KubernetesError | SyncError) and error.retryable
    )
    kind = UnreachableError if retryable else ActFailedError
    seen = words_of(error).removesuffix(".")
    return kind(f"{seen}. Mend that, then run `migrate resume`, or go back with `migrate rollback`")
