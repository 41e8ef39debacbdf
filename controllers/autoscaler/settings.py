"""What the autoscaler is told: which Marathon, which apps, by which metric.

The file is read again before each round, so that `is_paused` (during a migration, say) and new
bounds take effect without a restart. Unknown keys are errors.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from clients.marathon.definition import check_id
from controllers.autoscaler.decide import Rule
from controllers.errors import SettingsError

Seconds = Annotated[float, Field(ge=0)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AppSettings(_Model):
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

    @property
    def rule(self) -> Rule:
        """As the decision takes it.

        Raises:
            ValueError: no number could follow it.
        """
        return Rule(**self.model_dump(exclude={"app_id", "query"}))


class AutoscalerSettings(_Model):
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

    @classmethod
    def read(cls, path: Path) -> AutoscalerSettings:
        """Read a JSON file.

        Raises:
            SettingsError: it cannot be read, or is not such settings.
        """
        try:
            settings = cls.model_validate(json.loads(path.read_text()))
            ids = [app.app_id for app in settings.apps]
            for app in settings.apps:
                _ = app.rule
            if len(set(ids)) < len(ids):
                msg = f"expected each app once, saw {', '.join(sorted(ids))}"
                raise ValueError(msg)
        except OSError as error:
            msg = f"expected settings in {path}, saw {error.strerror}: name another file"
            raise SettingsError(msg) from None
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}"
                for one in error.errors(include_url=False, include_input=False)
            )
            msg = f"expected settings of the autoscaler in {path}, saw {problems}"
            raise SettingsError(msg) from None
        except ValueError as error:
            msg = f"expected settings of the autoscaler in {path}, saw {error}"
            raise SettingsError(msg) from None
        return settings
