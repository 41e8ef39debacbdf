"""What the keeper is told. Unknown keys are errors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from controllers.settings import ControllerSettings, Part


class Document(Part):
    """What is put at a path, with a mark of its content in `_meta`."""

    path: str = Field(pattern=r"^/_[a-z_/]+/[a-z0-9-]+$")
    """Where, such as `/_ilm/policy/mesos`."""
    body: dict[str, Any]
    """What."""
    mark: str = Field(min_length=1)
    """Stands in `_meta` of what is there: one that is there already is left alone."""


class LogKeeperSettings(ControllerSettings):
    """All of it."""

    url: str = Field(pattern=r"^https?://")
    """Elasticsearch."""
    user: str = "elastic"
    """Who may change its settings."""
    password_file: Path | None = None
    """Holds the password; None: nobody is asked who they are."""
    ca_file: Path | None = None
    """Authority of Elasticsearch's certificate; None: those of the system."""
    documents: tuple[Document, ...] = Field(min_length=1)
    """In order: a template names a life cycle that must be there."""
    listen_host: str = "0.0.0.0"  # noqa: S104 - who may reach it is a policy's matter
    """Address that probes are answered on."""
    listen_port: Annotated[int, Field(ge=1, le=65_535)] = 9096
    """Their port."""
    every_s: Annotated[float, Field(gt=0)] = 60.0
    """Between two looks."""
    timeout_s: Annotated[float, Field(gt=0)] = 10.0
    """Within this time Elasticsearch answers."""
