"""What the exporter is told. Unknown keys are errors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from controllers.settings import ControllerSettings


class ExporterSettings(ControllerSettings):
    """All of it."""

    masters: tuple[str, ...] = ()
    """Masters of one cluster, host:port, as they name each other."""
    marathon: tuple[str, ...] = ()
    """Instances of Marathon, host:port."""
    listen_host: str = "0.0.0.0"  # noqa: S104 - who may reach it is a policy's matter
    """Address that scrapes are answered on."""
    listen_port: Annotated[int, Field(ge=1, le=65_535)] = 9105
    """Their port; mesos_exporter's."""
    color: str = ""
    """Label of all samples; none when empty."""
    with_agents: bool = True
    """Whether agents that the leader knows are asked, too."""
    timeout_s: Annotated[float, Field(gt=0)] = 5.0
    """Within this time a master or agent answers, or counts as down."""
    credential_file: Path | None = None
    """Holds principal:secret that may read metrics."""
    ca_file: Path | None = None
    """Authority of the masters' TLS; None talks without TLS."""

    @model_validator(mode="after")
    def _asks_somebody(self) -> Self:
        if not self.masters and not self.marathon:
            msg = "expected masters or instances of Marathon to ask, saw neither"
            raise ValueError(msg)
        return self
