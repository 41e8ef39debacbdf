"""Configuration of a client group that writes (`stacks.local.settings` says how such files are)."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

from stacks.local.settings import Listener, Settings, check_listen


class TrafficSettings(Settings):
    """One client group that writes."""

    listen: str
    """`host:port` of its own HTTP interface."""
    work_dir: Path
    """`acks.jsonl` (every acknowledged write) and the group's digest identity (0600)."""
    hosts: str | None
    """`host:port,host:port`; None: it stands still and does not start."""
    path: str = Field(default="/apps/traffic", pattern="^/")
    """Subtree that it writes."""
    rate_per_s: int = Field(default=200, ge=0)
    """Writes a second."""
    znodes: int = Field(default=1000, ge=1)
    """Znodes that they are spread over."""
    data_bytes: int = Field(default=128, ge=64, le=65_536)
    """Length of a written value."""
    zk_session_timeout_s: float = Field(default=10.0, ge=1.0)
    """Timeout of its session."""
    seed: int = 1
    """Of the choice of paths and operations."""

    _listen = field_validator("listen")(check_listen)

    @property
    def listener(self) -> Listener:
        """`listen`, taken apart."""
        return Listener.parse(self.listen)
