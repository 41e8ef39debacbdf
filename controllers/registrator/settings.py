"""What the registrator is told: which Marathon, which Consul, and which entries are its own.

Unknown keys are errors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from controllers.settings import ControllerSettings


class RegistratorSettings(ControllerSettings):
    """All of it."""

    cluster: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    """Mark of what is ours in Consul's catalog, and the beginning of our nodes' names: no other
    cluster that registers in the same Consul may have it."""
    marathon: tuple[str, ...] = Field(min_length=1)
    """Instances, host:port, as they name each other."""
    consul: tuple[str, ...] = Field(min_length=1)
    """HTTP of its servers, host:port."""
    credential_file: Path | None = None
    """Holds user:password of Marathon."""
    ca_file: Path | None = None
    """Authority of Marathon's TLS; None talks without TLS."""
    token_file: Path | None = None
    """Holds a token of Consul's that may write nodes and services; None: it asks for none."""
    consul_ca_file: Path | None = None
    """Authority of Consul's TLS; None talks without TLS."""
    listen_host: str = "0.0.0.0"  # noqa: S104 - who may reach it is a policy's matter
    """Address that probes and scrapes are answered on."""
    listen_port: Annotated[int, Field(ge=1, le=65_535)] = 9106
    """Their port."""
    settle_s: Annotated[float, Field(ge=0)] = 0.1
    """Events within this time after the first lead to one look."""
    resync_s: Annotated[float, Field(ge=1)] = 30.0
    """A look without an event at least so often, and so often Consul's catalog is read again: so
    long may last what somebody else has changed there, or what it has lost."""
    confirm_s: Annotated[float, Field(ge=0)] = 30.0
    """A loss must last so long before it is believed."""
    loss_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """A loss is more than this share of all entries at once; or all of them."""
    loss_entries: Annotated[int, Field(ge=0)] = 10
    """So many are no loss yet, unless they are all."""
    calls_at_once: Annotated[int, Field(ge=1, le=64)] = 8
    """Requests to Consul at the same time."""
    timeout_s: Annotated[float, Field(gt=0)] = 10.0
    """Within this time one of Consul's servers takes a request, or the look is taken again."""
