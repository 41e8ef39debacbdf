"""Looks at apps and their metrics, decides, and scales; one round after the other.

What goes wrong with one app stops neither the round nor the process: it is logged, the app stays as
it is, and the next round looks anew. A decision is written to the log whenever its cause or number
changes, and the last ones of each app are kept to be shown.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog

from clients.marathon import MarathonClient, MarathonError
from controllers.autoscaler.decide import Cause, Decision, Look, Past, decide
from controllers.autoscaler.metrics import Metrics
from controllers.autoscaler.settings import AppSettings
from controllers.errors import MetricError

DECISIONS_KEPT = 100
_log = structlog.get_logger()


@dataclass
class _Scaled:
    past: Past = field(default_factory=Past)
    decisions: deque[Decision] = field(
        default_factory=lambda: deque[Decision](maxlen=DECISIONS_KEPT)
    )


class Autoscaler:
    """Scales apps of one Marathon. `clock` is monotonic, in seconds."""

    def __init__(
        self, client: MarathonClient, metrics: Metrics, clock: Callable[[], float]
    ) -> None:
        self._client = client
        self._metrics = metrics
        self._clock = clock
        self._apps: dict[str, _Scaled] = {}

    @property
    def decisions(self) -> Mapping[str, tuple[Decision, ...]]:
        """The last decisions of each app, oldest first."""
        return {app_id: tuple(scaled.decisions) for app_id, scaled in self._apps.items()}

    async def round(self, apps: tuple[AppSettings, ...]) -> None:
        """Look at each app once, and scale where it is decided."""
        for app_id in self._apps.keys() - {settings.app_id for settings in apps}:
            del self._apps[app_id]
        for settings in apps:
            try:
                await self._scale(settings)
            except MarathonError as error:
                # Also a lock that came in between: nothing is forced, the next round looks anew.
                _log.warning("autoscaler.failed", app=settings.app_id, error=str(error))

    async def _scale(self, settings: AppSettings) -> None:
        app = await self._client.app(settings.app_id)
        if app is None:
            _log.warning("autoscaler.no_app", app=settings.app_id)
            return
        scaled = self._apps.setdefault(settings.app_id, _Scaled())
        value = await self._value(settings)
        look = Look(self._clock(), app.instances, value, is_locked=bool(app.deployments))
        decision = decide(settings.rule, scaled.past, look)
        self._note(settings.app_id, scaled, decision, app.instances)
        if decision.instances != app.instances:
            await self._client.scale_app(settings.app_id, decision.instances)
        # A change that was refused did not happen, and is not rested from.
        scaled.past = decision.past

    async def _value(self, settings: AppSettings) -> float | None:
        try:
            return await self._metrics.read(settings.query)
        except MetricError as error:
            _log.warning("autoscaler.no_metric", app=settings.app_id, error=str(error))
            return None

    @staticmethod
    def _note(app_id: str, scaled: _Scaled, decision: Decision, instances: int) -> None:
        last: Cause | None = scaled.decisions[-1].cause if scaled.decisions else None
        scaled.decisions.append(decision)
        if decision.cause is not last or decision.instances != instances:
            _log.info(
                "autoscaler.decided",
                app=app_id,
                instances=instances,
                wanted=decision.instances,
                cause=str(decision.cause),
                reason=decision.reason,
            )
