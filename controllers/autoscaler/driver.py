"""Looks at apps and their metrics, decides, and scales; one round after the other.

What goes wrong with one app stops neither the round nor the process: it is logged, the app stays as
it is, and the next round looks anew. A decision is written to the log whenever its cause or number
changes, and the last ones of each app are kept to be shown (controllers.autoscaler.show).
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import structlog

from clients.marathon import MarathonClient, MarathonError, UnreachableError
from controllers.autoscaler.decide import Cause, Decision, Look, Past, decide, forget
from controllers.autoscaler.metrics import Metrics
from controllers.autoscaler.settings import AppSettings
from controllers.errors import MetricError

DECISIONS_KEPT = 100
_log = structlog.get_logger()


@dataclass(frozen=True)
class Decided:
    """A decision, and what it was made of. `at` is in seconds since 1970; `failed` says why it was
    not carried out."""

    at: float
    instances: int
    value: float | None
    wanted: int
    cause: Cause
    reason: str
    failed: str | None = None


@dataclass
class Scaled:
    """An app, how it was decided and what went wrong; `failed` is of the last round, the counts are
    of this process. Decisions are the last ones, oldest first."""

    past: Past = field(default_factory=Past)
    decisions: deque[Decided] = field(default_factory=lambda: deque[Decided](maxlen=DECISIONS_KEPT))
    by_cause: Counter[Cause] = field(default_factory=Counter[Cause])
    failures: int = 0
    failed: str | None = None


class Autoscaler:
    """Scales apps of one Marathon. `clock` is monotonic, `now` tells seconds since 1970."""

    def __init__(
        self,
        client: MarathonClient,
        metrics: Metrics,
        clock: Callable[[], float],
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._metrics = metrics
        self._clock = clock
        self._now = now
        self._apps: dict[str, Scaled] = {}
        self.rounds = 0
        self.ended_at: float | None = None
        """When the last round ended."""

    @property
    def apps(self) -> Mapping[str, Scaled]:
        """What is known of each app."""
        return self._apps

    @property
    def decisions(self) -> Mapping[str, tuple[Decided, ...]]:
        """The last decisions of each app, oldest first."""
        return {app_id: tuple(scaled.decisions) for app_id, scaled in self._apps.items()}

    async def round(self, apps: tuple[AppSettings, ...]) -> None:
        """Look at each app once, and scale where it is decided."""
        for app_id in self._apps.keys() - {settings.app_id for settings in apps}:
            del self._apps[app_id]
        for settings in apps:
            scaled = self._apps.setdefault(settings.app_id, Scaled())
            try:
                failed = await self._scale(settings, scaled)
            except MarathonError as error:
                # Also a lock that came in between: nothing is forced, the next round looks anew.
                _log.warning("autoscaler.failed", app=settings.app_id, error=str(error))
                failed = str(error)
            scaled.failed = failed
            scaled.failures += failed is not None
        self.rounds += 1
        self.ended_at = self._now()

    async def _scale(self, settings: AppSettings, scaled: Scaled) -> str | None:
        """Look and scale; returns what could not be known."""
        try:
            app = await self._client.app(settings.app_id)
        except MarathonError:
            scaled.past = forget(settings.rule, scaled.past, self._clock())
            raise
        if app is None:
            scaled.past = forget(settings.rule, scaled.past, self._clock())
            _log.warning("autoscaler.no_app", app=settings.app_id)
            return f"expected an app {settings.app_id}, saw none: create it, or leave it out here"
        value = failed = None
        try:
            value = await self._metrics.read(settings.query)
        except MetricError as error:
            _log.warning("autoscaler.no_metric", app=settings.app_id, error=str(error))
            failed = str(error)
        look = Look(self._clock(), app.instances, value, is_locked=bool(app.deployments))
        decision = decide(settings.rule, scaled.past, look)
        self._note(settings.app_id, scaled, decision, look)
        if decision.instances != app.instances:
            try:
                await self._client.scale_app(settings.app_id, decision.instances)
            except MarathonError as error:
                scaled.decisions[-1] = replace(scaled.decisions[-1], failed=str(error))
                if isinstance(error, UnreachableError):
                    # It may have arrived: until that shows, another change would be one on top.
                    scaled.past = decision.past
                raise
        # A change that was refused did not happen, and is not rested from.
        scaled.past = decision.past
        return failed

    def _note(self, app_id: str, scaled: Scaled, decision: Decision, look: Look) -> None:
        last: Cause | None = scaled.decisions[-1].cause if scaled.decisions else None
        decided = Decided(
            self._now(),
            look.instances,
            look.value,
            decision.instances,
            decision.cause,
            decision.reason,
        )
        scaled.decisions.append(decided)
        scaled.by_cause[decision.cause] += 1
        if decision.cause is not last or decision.instances != look.instances:
            _log.info(
                "autoscaler.decided",
                app=app_id,
                instances=look.instances,
                wanted=decision.instances,
                cause=str(decision.cause),
                reason=decision.reason,
            )
