"""What the exporter is told. Unknown keys are errors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from controllers.settings import ControllerSettings


class ExporterSettings(ControllerSettings):
    """All of it."""

    masters: tuple[str, ...] = Field(min_length=1)
    """Masters of one cluster, host:port, as they name each other."""
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
