"""Configuration of the stand-in for Marathon, see stacks.local.settings for the rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from components.marathon.flags import FEATURES, Value
from stacks.local.settings import ElectionUrl, Listener, Settings, check_listen, check_url

# Flags of the real one that mean something to the stand-in, and the keys that have them here.
_KEYS = {
    "decline_offer_duration": "decline_offer_duration_ms",
    "enable_features": "enable_features",
    "failover_timeout": "failover_timeout_s",
    "kill_retry_timeout": "kill_retry_timeout_ms",
    "launch_token_refresh_interval": "launch_token_refresh_interval_ms",
    "launch_tokens": "launch_tokens",
    "local_port_max": "local_port_max",
    "local_port_min": "local_port_min",
    "max_instances_per_offer": "max_instances_per_offer",
    "max_running_deployments": "max_running_deployments",
    "mesos_role": "mesos_role",
    "min_revive_offers_interval": "min_revive_offers_interval_ms",
    "reconciliation_initial_delay": "reconciliation_initial_delay_ms",
    "reconciliation_interval": "reconciliation_interval_ms",
    "scale_apps_initial_delay": "scale_apps_initial_delay_ms",
    "scale_apps_interval": "scale_apps_interval_ms",
    "task_launch_timeout": "task_launch_timeout_ms",
    "zk_session_timeout": "zk_session_timeout_s",
}


class MarathonSettings(Settings):
    """The stand-in for Marathon. Names and defaults are those of the real one's flags."""

    engine: str = Field(default="auto", pattern="^(auto|stand-in)$")
    """`auto` runs the real Marathon when it is on PATH, and `mesos-master` with it: stand-in
    masters know no libmesos; `stand-in` never does."""
    listen: str
    """`host:port` of its HTTP interface."""
    hostname: str | None = None
    """Name under which other instances reach it (`--hostname`); None: the host of `listen`."""
    master: str
    """`zk://host:port,…/path` of the masters' election."""
    zk: str
    """`zk://host:port,…/path` of its own state."""
    zk_session_timeout_s: float = Field(default=10.0, ge=1.0)
    """Timeout of its sessions; after it another instance leads."""
    zk_auth_file: Path | None = None
    """File with `user:password` for ZooKeeper, in the real one a part of `--zk`; when given, what
    it creates is its own: others may read who leads, and nothing else."""
    private_dir: Path | None = None
    """Holds what the real one is to read of secrets; None: it is not run."""
    framework_name: str = "marathon"
    """Name that masters show."""
    mesos_role: str = "*"
    """Role that it subscribes with and gives to apps that name none."""
    mesos_user: str = "root"
    """User of its tasks."""
    failover_timeout_s: float = Field(default=604_800.0, ge=0)
    """How long masters keep its tasks while it is away: a week."""
    credential_file: Path | None = None
    """File with `principal:secret` for masters that want one of schedulers."""
    http_credentials_file: Path | None = None
    """File with `user:password`; when given, its own HTTP interface wants it (basic)."""
    enable_features: str = ""
    """Optional features, by commas. Of them `task_killing` does something here: Marathon hears that
    a task was asked to end, and tells it as the task's state (`TASK_KILLING`)."""
    max_instances_per_offer: int = Field(default=5, ge=1)
    """Tasks that one offer may take."""
    launch_tokens: int = Field(default=100, ge=1)
    """Tasks that may be launched before any of them is confirmed to run."""
    launch_token_refresh_interval_ms: int = Field(default=30_000, ge=1)
    """Pause after which all launch tokens are there again."""
    min_revive_offers_interval_ms: int = Field(default=5000, ge=1)
    """Least pause between two requests for offers."""
    decline_offer_duration_ms: int = Field(default=120_000, ge=0)
    """How long a declined offer stays away."""
    reconciliation_initial_delay_ms: int = Field(default=15_000, ge=0)
    """Pause between leading and the first question what became of the tasks. Masters that do not
    know a task's agent (yet) answer TASK_UNKNOWN, and the task counts as ended."""
    reconciliation_interval_ms: int = Field(default=600_000, ge=1)
    """Pause between two such questions."""
    scale_apps_initial_delay_ms: int = Field(default=15_000, ge=0)
    """Pause between leading and the first comparison of all apps with their instances."""
    scale_apps_interval_ms: int = Field(default=300_000, ge=1)
    """Pause between two such comparisons."""
    task_launch_timeout_ms: int = Field(default=300_000, ge=1)
    """After this long a task that does not run is killed."""
    kill_retry_timeout_ms: int = Field(default=10_000, ge=1)
    """Pause before a kill that nobody confirmed is repeated."""
    local_port_min: int = Field(default=10_000, ge=1, le=65_535)
    """First service port that is given out."""
    local_port_max: int = Field(default=20_000, ge=1, le=65_535)
    """End of the service ports."""
    max_running_deployments: int = Field(default=100, ge=1)
    """More are refused with 403."""
    flags: dict[str, Value] = Field(default_factory=dict[str, Value])
    """Further flags of the real one, under its own names; the stand-in follows those that it has a
    key for, which they go before."""

    _zk = field_validator("zk", "master")(check_url)
    _listen = field_validator("listen")(check_listen)

    @model_validator(mode="before")
    @classmethod
    def _follow_flags(cls, given: dict[str, Any]) -> dict[str, Any]:
        flags: dict[str, Any] = given.get("flags") or {}
        followed = {_KEYS[name]: value for name, value in flags.items() if name in _KEYS}
        if "zk_session_timeout" in flags:
            followed[_KEYS["zk_session_timeout"]] = float(flags["zk_session_timeout"]) / 1000
        return {**given, **followed}

    @field_validator("enable_features")
    @classmethod
    def _check_features(cls, given: str) -> str:
        unknown = sorted(frozenset(_names(given)) - FEATURES)
        if unknown:
            msg = f"expected features of {sorted(FEATURES)}, saw {', '.join(unknown)}"
            raise ValueError(msg)
        return given

    @property
    def features(self) -> frozenset[str]:
        """`enable_features`, taken apart."""
        return frozenset(_names(self.enable_features))

    @property
    def election(self) -> ElectionUrl:
        """`master`, taken apart."""
        return ElectionUrl.parse(self.master)

    @property
    def state(self) -> ElectionUrl:
        """`zk`, taken apart."""
        return ElectionUrl.parse(self.zk)

    @property
    def listener(self) -> Listener:
        """`listen`, taken apart."""
        return Listener.parse(self.listen)

    @property
    def host_port(self) -> str:
        """How it names itself to others."""
        return f"{self.hostname or self.listener.host}:{self.listener.port}"


def _names(given: str) -> list[str]:
    return [name.strip() for name in given.split(",") if name.strip()]
