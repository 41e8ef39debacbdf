"""Configuration of simulated agents, see stacks.local.settings for the rules."""

from __future__ import annotations

from pydantic import Field, field_validator

from stacks.local.settings import AgentResources, ElectionUrl, Settings, check_listen, check_url


class SimulatedAgentsSettings(Settings):
    """Many agents in one process, with tasks that are only numbers."""

    listen: str
    """`host:port` of the one HTTP interface for all of them."""
    master: str
    """`zk://host:port,…/path` of the election that they follow."""
    zk_session_timeout_s: float = Field(default=10.0, ge=1.0)
    """Timeout of their one session."""
    agents: int = Field(ge=1, le=10_000)
    """How many."""
    first: int = Field(default=0, ge=0)
    """Number of the first: names and addresses are made of it, so that processes differ."""
    resources: AgentResources = AgentResources()
    """What each offers."""
    task_start_s: float = Field(default=0.0, ge=0)
    """From the order to run a task until it runs."""
    task_end_s: float = Field(default=0.0, ge=0)
    """From the word to end until a task has ended; its grace period may cut that short."""
    registration_backoff_s: float = Field(default=1.0, gt=0)
    """See `AgentSettings`."""
    status_update_retry_s: float = Field(default=10.0, gt=0)
    """See `AgentSettings`."""

    _master = field_validator("master")(check_url)
    _listen = field_validator("listen")(check_listen)

    @property
    def election(self) -> ElectionUrl:
        """`master`, taken apart."""
        return ElectionUrl.parse(self.master)
