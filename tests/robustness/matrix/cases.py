"""The cases of the fault matrix: what is done, under which load, and what must come of it.

Data and no more: whoever adds a fault adds a row here, and an act where there is none yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from sync_engine.direction import Side
from tests.performance.proxy import Flow
from tests.robustness.matrix import acts, failpoints, losses, refusals
from tests.robustness.matrix.acts import Act, nothing
from tests.robustness.matrix.ensembles import ENFORCE_QUOTA, SMALL_REQUESTS, Group, clock_ahead
from tests.robustness.matrix.writers import BOTH_WAYS, ONE_WAY, Load

_HOUR_MS = 3_600_000
_BOTH = {"direction": "both"}
Options = Callable[[Path], str]


class Outcome(StrEnum):
    """What must come of a fault. Afterwards both sides are equal in every case."""

    CONVERGES = "converges"
    """Nobody helps: the engine goes on by itself, or after it was started again."""
    STALLS = "stalls until confirmed"
    """It says why, changes nothing, and goes on when an operator confirms."""
    QUARANTINES = "quarantines"
    """What cannot be copied is put aside and named; all else goes on."""
    FENCED = "fenced"
    """One of two engines ends, and says that the other has taken over."""
    REFUSED = "refused"
    """One of two engines ends at once; the other never notices."""
    ENDS = "ends with a reason"
    """It cannot go on, says why, and loses nothing when it is started again."""


@dataclass(frozen=True)
class Case:
    """One row of the matrix. `says` are words that its state's reasons must hold meanwhile."""

    name: str
    does: str
    expects: Outcome
    begin: Act
    undo: Act = nothing
    says: str | None = None
    quorum: bool = False
    """Three servers on each side in place of one."""
    rule: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tuning: Mapping[str, Any] = field(default_factory=dict[str, Any])
    load: Load = ONE_WAY
    own_servers: bool = False
    """Whether its servers are not what they were afterwards, or not what they are for others."""
    options: Mapping[Side, Options] = field(default_factory=dict[Side, Options])
    """Java's options for a side's server."""
    starts: bool = True
    """Whether an engine runs before the fault."""
    own_user: bool = False
    """Whether the engine is an ordinary user in place of the super user."""
    small_disk: str | None = None
    """Size of a file system of its own for the engine's files; needs root."""
    short: bool = False
    """Whether it is a part of the default suite as well."""

    @property
    def both(self) -> bool:
        """Whether both sides' writes are copied."""
        return self.rule.get("direction") == "both"


def _leader(group: Group) -> Any:
    return group.leader


def _follower(group: Group) -> Any:
    return group.follower


def _of_servers() -> list[Case]:
    found: list[Case] = []
    for side in Side:
        for role, pick in (("leader", _leader), ("follower", _follower)):
            found += [
                Case(
                    f"{role} of {side.value} killed",
                    f"kill -9 of side {side.value}'s {role}; started again after a second",
                    Outcome.CONVERGES,
                    acts.killed(side, pick),
                    acts.server_started,
                    quorum=True,
                ),
                Case(
                    f"{role} of {side.value} stopped",
                    f"SIGSTOP of side {side.value}'s {role} for 8 s",
                    Outcome.CONVERGES,
                    acts.paused(side, pick),
                    acts.server_resumed,
                    quorum=True,
                    rule=_BOTH,
                    load=BOTH_WAYS,
                ),
            ]
        found += [
            Case(
                f"all of {side.value} killed",
                f"kill -9 of all servers of side {side.value}; started again once it is said",
                Outcome.CONVERGES,
                acts.side_killed(side),
                acts.side_started(side),
                says=f"side {side.value} has not answered",
                quorum=True,
            ),
            Case(
                f"all of {side.value} stopped",
                f"SIGSTOP of all servers of side {side.value} until it is said",
                Outcome.CONVERGES,
                acts.side_paused(side),
                acts.side_resumed(side),
                says=f"side {side.value} has not answered",
                quorum=True,
            ),
        ]
    return found


def _of_ways() -> list[Case]:
    found: list[Case] = []
    for name, sides in (("a", [Side.A]), ("b", [Side.B]), ("both", list(Side))):
        found.append(
            Case(
                f"sessions on {name} expired",
                f"nothing between engine and {_named(sides)} until its sessions have expired there",
                Outcome.CONVERGES,
                acts.expired(sides),
                acts.healed,
            )
        )
    for side in Side:
        for flow in Flow:
            what = "to" if flow is Flow.REQUESTS else "from"
            found.append(
                Case(
                    f"nothing {what} {side.value}",
                    f"one-way partition: nothing {what} side {side.value} for 12 s",
                    Outcome.CONVERGES,
                    acts.cut([side], [flow]),
                    acts.healed,
                    rule=_BOTH,
                    load=BOTH_WAYS,
                )
            )
    return [
        *found,
        Case(
            "cut off from both",
            "partition between the engine and both sides for 12 s",
            Outcome.CONVERGES,
            acts.cut(list(Side), list(Flow)),
            acts.healed,
        ),
        Case(
            "slow ways",
            "20 ms more each way to both sides; a write arrives meanwhile",
            Outcome.CONVERGES,
            acts.slow(0.02, 0.02),
            acts.healed,
        ),
        Case(
            "jittery ways",
            "0 to 150 ms more each way to both sides; a write arrives meanwhile",
            Outcome.CONVERGES,
            acts.slow(0.0, 0.15),
            acts.healed,
            rule=_BOTH,
            load=BOTH_WAYS,
        ),
    ]


def _named(sides: list[Side]) -> str:
    return " and ".join(f"side {side.value}" for side in sides)


def _of_failpoints() -> list[Case]:
    short = {"transaction sent, not answered"}
    return [
        Case(
            f"dies: {point}",
            "SIGKILL of itself at this point, then started again",
            Outcome.CONVERGES,
            acts.engine_dies_at(point),
            acts.engine_started,
            load=Load(pause_b_s=0.06),
            starts=False,
            short=point in short,
        )
        for point in failpoints.POINTS
    ]


_ENGINE = [
    Case(
        "engine killed",
        "kill -9 of the engine, three times",
        Outcome.CONVERGES,
        acts.engine_killed(3),
        short=True,
    ),
    Case(
        "engine killed, both ways",
        "kill -9 of the engine, three times, where both sides are copied",
        Outcome.CONVERGES,
        acts.engine_killed(3),
        rule=_BOTH,
        load=BOTH_WAYS,
    ),
    Case(
        "engine stopped",
        "SIGSTOP of the engine for 12 s, longer than its sessions live",
        Outcome.CONVERGES,
        acts.engine_paused,
        acts.engine_resumed,
    ),
    Case(
        "two engines at once",
        "a second engine starts with files of its own",
        Outcome.FENCED,
        acts.second_engine,
        load=Load(b=0),
    ),
    Case(
        "overtaken while stopped",
        "SIGSTOP of the engine, a second one takes over, SIGCONT",
        Outcome.FENCED,
        acts.second_engine_while_paused,
        load=Load(b=0),
    ),
    Case(
        "two engines on the same files",
        "a second engine starts with the first one's folder",
        Outcome.REFUSED,
        acts.second_is_refused,
    ),
    Case(
        "disk full",
        "the file system of the engine's files is full",
        Outcome.ENDS,
        refusals.disk_full,
        refusals.disk_freed,
        # Room for the base's log, which is 4 MB before it is taken in.
        small_disk="16m",
        says="disk",
    ),
    Case(
        "file too large",
        "no file of the engine may grow (RLIMIT_FSIZE)",
        Outcome.ENDS,
        refusals.files_limited,
        acts.engine_started,
        says="disk",
    ),
]
_ENSEMBLES = [
    Case(
        "source emptied",
        "side a is restarted with an empty folder",
        Outcome.STALLS,
        losses.emptied(Side.A),
        losses.confirmed,
        says="wiped",
        own_servers=True,
        short=True,
    ),
    Case(
        "source restored",
        "side a is restarted with an older copy of its folder",
        Outcome.STALLS,
        losses.restored,
        losses.confirmed,
        says="went back",
        own_servers=True,
    ),
    Case(
        "target emptied",
        "side b is restarted with an empty folder",
        Outcome.CONVERGES,
        losses.emptied(Side.B),
        own_servers=True,
        load=Load(b=0),
    ),
    Case(
        "clocks an hour apart",
        "side b's clock is an hour ahead; the latest is to win conflicts",
        Outcome.CONVERGES,
        nothing,
        says="the clocks differ by",
        rule={**_BOTH, "on_conflict": "latest"},
        load=BOTH_WAYS,
        own_servers=True,
        options={Side.B: lambda folder: clock_ahead(folder / "time", _HOUR_MS)},
    ),
    Case(
        "quota hit",
        "side b takes three more znodes; ten are written",
        Outcome.QUARANTINES,
        refusals.quota_hit,
        refusals.quota_lifted,
        says="quota-exceeded",
        own_servers=True,
        options={Side.B: lambda _: ENFORCE_QUOTA},
    ),
    Case(
        "read permission revoked",
        "an ACL on side a takes a znode away from the engine",
        Outcome.QUARANTINES,
        refusals.acl_revoked(Side.A),
        refusals.acl_given_back(Side.A),
        says="cannot be read",
        own_user=True,
        own_servers=True,
    ),
    Case(
        "write permission revoked",
        "an ACL on side b takes a znode away from the engine",
        Outcome.QUARANTINES,
        refusals.acl_revoked(Side.B),
        refusals.acl_given_back(Side.B),
        says="no-auth",
        own_user=True,
        own_servers=True,
    ),
    Case(
        "too large for the target",
        "400 kB, where side b takes requests of 300 kB",
        Outcome.QUARANTINES,
        refusals.too_large(400_000),
        refusals.made_small,
        says="too-large",
        own_servers=True,
        options={Side.B: lambda _: SMALL_REQUESTS},
    ),
    Case(
        "too large with its slot",
        "1,048,400 bytes, which side a takes and no transaction with a slot can hold",
        Outcome.QUARANTINES,
        refusals.too_large(1_048_400),
        refusals.made_small,
        says="too-large",
    ),
]
CASES: tuple[Case, ...] = (
    *_ENGINE,
    *_of_failpoints(),
    *_of_servers(),
    *_of_ways(),
    *_ENSEMBLES,
)
