"""What the autoscaler is told: which Marathon, which apps, by which metric.

The file is read again before each round, so that `is_paused` (during a migration, say) and new
bounds take effect without a restart. Unknown keys are errors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from clients.marathon.definition import check_id
from controllers.autoscaler.decide import Rule
from controllers.settings import ControllerSettings, Part

Seconds = Annotated[float, Field(ge=0)]


class AppSettings(Part):
    """One app."""

    app_id: str
    """Absolute id."""
    query: str
    """PromQL that gives one number: the mean over the app's instances."""
    instances_min: int
    instances_max: int
    target: float
    """What an instance should carry, in the query's unit."""
    tolerance: float = 0.1
    step_max: int = 10
    cool_down_up_s: Seconds = 30.0
    cool_down_down_s: Seconds = 300.0
    stabilise_s: Seconds = 300.0
    is_paused: bool = False

    @field_validator("app_id")
    @classmethod
    def _check_id(cls, app_id: str) -> str:
        return check_id(app_id)

    @model_validator(mode="after")
    def _can_be_followed(self) -> Self:
        _ = self.rule
        return self

    @property
    def rule(self) -> Rule:
        """As the decision takes it.

        Raises:
            ValueError: no number could follow it.
        """
        return Rule(**self.model_dump(exclude={"app_id", "query"}))


class AutoscalerSettings(ControllerSettings):
    """All of it."""

    marathon: tuple[str, ...] = Field(min_length=1)
    """Instances, host:port, as they name each other."""
    prometheus: str
    """Its address: http://host:9090."""
    apps: tuple[AppSettings, ...] = Field(min_length=1)
    credential_file: Path | None = None
    """Holds user:password of Marathon."""
    ca_file: Path | None = None
    """Authority of Marathon's TLS; None talks without TLS."""
    interval_s: Annotated[float, Field(ge=1)] = 15.0
    """Between two rounds. Metrics are seldom newer than that."""

    listen_host: str = "127.0.0.1"
    """Address of `/status`, `/metrics` and `/healthz`, which want no credential."""
    listen_port: Annotated[int, Field(ge=1, le=65_535)] | None = 9106
    """Their port. None: nothing is shown but the log."""

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        ids = [app.app_id for app in self.apps]
        if len(set(ids)) < len(ids):
            msg = f"expected each app once, saw {', '.join(sorted(ids))}"
            raise ValueError(msg)
        return self
