"""How a new version of an app takes the place of the old one: a pure state machine.

Two apps of Marathon stand for the versions. `decide` sees both, remembers little (`Memory`), and
says what to do next, one thing at a time; components.marathon.rollout_driver does it. The model is
PaaSTA's bounces. What must hold, whatever is seen and wherever it is interrupted:

- up before down: an action never takes the healthy instances of both versions below the minimum;
- a version that is not healthy in time, or fails more than its budget allows, goes, and the old one
  is whole again before it does;
- an old version that is itself not healthy in time holds nobody up: the new one grows beside it,
  and a deployment that would keep it for ever is undone once nothing is lost with it;
- memory may be lost: a step is then soaked once more, and nothing else happens.

Rolling goes batch by batch, canary share by share, blue-green all at once with traffic moved in one
step between both whole versions.

What is judged is health, as Marathon tells it, and how many requests fail where somebody counts
them. The resource `MarathonRollout` has nobody who counts or who moves traffic: it judges by health
alone, shares are shares of instances, and an instance gets requests as soon as whoever stands in
front of both apps finds it. A driver with a `Traffic` of its own has both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum


class Strategy(StrEnum):
    """Ways to roll out."""

    ROLLING = "rolling"
    BLUE_GREEN = "blue-green"
    CANARY = "canary"


class Version(StrEnum):
    """The two versions."""

    OLD = "old"
    NEW = "new"


@dataclass(frozen=True)
class RolloutSpec:
    """What is wanted. `instances` of the new version in the end; seconds; shares of 0 to 1.

    `batch` is for rolling, `shares` for canary. Each step is soaked for `soak_s` once healthy, and
    has `ready_timeout_s` to become so. `failures_max` is the share of failed requests that the new
    version may have; None: requests are not judged.

    Raises:
        ValueError: it could not be carried out.
    """

    strategy: Strategy
    instances: int
    batch: int = 1
    shares: tuple[float, ...] = (0.1, 0.5, 1.0)
    minimum_healthy: float = 1.0
    soak_s: float = 30.0
    ready_timeout_s: float = 600.0
    failures_max: float | None = None

    def __post_init__(self) -> None:
        if self.instances < 1 or self.batch < 1:
            msg = f"expected at least one instance and a batch of one, saw {self.instances}"
            raise ValueError(msg)
        rising = list(self.shares) == sorted(set(self.shares))
        if not self.shares or not rising or self.shares[0] <= 0 or self.shares[-1] != 1:
            msg = f"expected shares that rise to 1, saw {self.shares}"
            raise ValueError(msg)
        if not 0 <= self.minimum_healthy <= 1:
            msg = f"expected a minimum between 0 and 1, saw {self.minimum_healthy:g}"
            raise ValueError(msg)
        if self.failures_max is not None and not 0 <= self.failures_max <= 1:
            msg = f"expected a share of failures between 0 and 1, saw {self.failures_max:g}"
            raise ValueError(msg)

    @property
    def minimum(self) -> int:
        """Healthy instances of both versions that must stay."""
        return math.ceil(self.instances * self.minimum_healthy)

    @property
    def steps(self) -> tuple[int, ...]:
        """Instances of the new version, step by step; the last one is all of them."""
        match self.strategy:
            case Strategy.ROLLING:
                counts: Sequence[int] = range(self.batch, self.instances, self.batch)
            case Strategy.CANARY:
                counts = [math.ceil(self.instances * share) for share in self.shares]
            case Strategy.BLUE_GREEN:
                counts = ()
        return tuple(sorted({*counts, self.instances}))


@dataclass(frozen=True)
class Standing:
    """One version as Marathon has it."""

    instances: int
    healthy: int
    is_locked: bool = False


@dataclass(frozen=True)
class Observed:
    """Both versions now; None is absent. `failures` is a share, None where nobody measures it."""

    old: Standing | None
    new: Standing | None
    failures: float | None = None


@dataclass(frozen=True)
class Memory:
    """What must be known from one decision to the next. Times in seconds, of one clock.

    `old_troubled_since_s`: the old version is being deployed, or not whole; `old_down_since_s`:
    nothing of it is healthy.
    """

    step: int = 0
    began_s: float | None = None
    healthy_since_s: float | None = None
    traffic: Version = Version.OLD
    failed: str | None = None
    is_undoing: bool = False
    is_undoing_old: bool = False
    old_troubled_since_s: float | None = None
    old_down_since_s: float | None = None


@dataclass(frozen=True)
class Create:
    """Create the new version."""

    instances: int


@dataclass(frozen=True)
class Scale:
    """Change how many instances a version has."""

    version: Version
    instances: int


@dataclass(frozen=True)
class Move:
    """Send traffic to a version."""

    to: Version


@dataclass(frozen=True)
class Delete:
    """Remove a version."""

    version: Version


@dataclass(frozen=True)
class Undo:
    """Roll back the deployments of a version."""

    version: Version


@dataclass(frozen=True)
class Wait:
    """Look again later."""


@dataclass(frozen=True)
class Done:
    """The new version is alone."""


@dataclass(frozen=True)
class RolledBack:
    """The old version is alone again."""


Action = Create | Scale | Move | Delete | Undo | Wait | Done | RolledBack


@dataclass(frozen=True)
class Decision:
    """What to do, what to remember, and why."""

    action: Action
    memory: Memory
    reason: str


def decide(spec: RolloutSpec, memory: Memory, observed: Observed, now_s: float) -> Decision:
    """Decide the next thing to do. The same inputs give the same decision."""
    memory = _watch_old(memory, observed.old, now_s)
    if _is_to_be_undone(spec, memory, observed, now_s):
        # What held the new one back may have been this, so its time begins anew.
        memory = replace(
            memory,
            is_undoing_old=True,
            began_s=now_s,
            old_troubled_since_s=None,
            old_down_since_s=None,
        )
        return Decision(Undo(Version.OLD), memory, "the old version's deployment does not end")
    if observed.new is not None:
        memory = _judge(spec, memory, observed, observed.new, now_s)
    if memory.failed is not None:
        return _go_back(spec, memory, observed)
    if observed.new is None:
        return _begin(spec, memory, observed.old, now_s)
    return _go_on(spec, memory, observed, observed.new, now_s)


def _watch_old(memory: Memory, old: Standing | None, now_s: float) -> Memory:
    """Since when the old version is not what it should be; memory that was lost begins anew."""
    troubled_s = now_s if memory.old_troubled_since_s is None else memory.old_troubled_since_s
    down_s = now_s if memory.old_down_since_s is None else memory.old_down_since_s
    is_troubled = old is not None and (old.is_locked or old.healthy < old.instances)
    is_down = old is not None and old.healthy == 0
    return replace(
        memory,
        old_troubled_since_s=troubled_s if is_troubled else None,
        old_down_since_s=down_s if is_down else None,
    )


def _lasts(spec: RolloutSpec, since_s: float | None, now_s: float) -> bool:
    return since_s is not None and now_s - since_s >= spec.ready_timeout_s


def _is_to_be_undone(spec: RolloutSpec, memory: Memory, observed: Observed, now_s: float) -> bool:
    """Whether the old version's deployment would go on for ever, and nothing is lost with it.

    A deployment whose instances do not become healthy does not end, and an app that is being
    deployed cannot be removed. Undoing what created an app removes it, so there must be nothing
    healthy in it, or all of the new version, which gets the requests already.
    """
    old, new = observed.old, observed.new
    if old is None or not old.is_locked or memory.is_undoing_old:
        return False
    if _lasts(spec, memory.old_down_since_s, now_s):
        return True
    carries_all = new is not None and new.healthy >= max(spec.minimum, 1)
    is_moved = memory.failed is None and memory.traffic is Version.NEW
    return carries_all and is_moved and _lasts(spec, memory.old_troubled_since_s, now_s)


def _judge(
    spec: RolloutSpec, memory: Memory, observed: Observed, new: Standing, now_s: float
) -> Memory:
    """Whether the new version has failed; memory that was lost is made up from what is seen."""
    reached = next(
        (n for n, count in enumerate(spec.steps) if count >= new.instances), len(spec.steps) - 1
    )
    step = min(max(memory.step, reached), len(spec.steps) - 1)
    began_s = now_s if memory.began_s is None else memory.began_s
    wanted = spec.steps[step]
    # A deployment in which instances do not become healthy never ends, so its lock says "not yet".
    is_ready = new.healthy >= wanted and not new.is_locked
    is_same = step == memory.step and is_ready
    healthy_since_s = memory.healthy_since_s if is_same else None
    failed = memory.failed
    failures, most = observed.failures, spec.failures_max
    if failed is None and observed.old is not None:
        if failures is not None and most is not None and failures > most:
            failed = f"{failures:.1%} of requests fail, {most:.1%} may"
        elif not is_ready and now_s - began_s >= spec.ready_timeout_s:
            failed = f"{new.healthy} of {wanted} healthy after {spec.ready_timeout_s:g} s"
    return replace(
        memory, step=step, began_s=began_s, healthy_since_s=healthy_since_s, failed=failed
    )


def _begin(spec: RolloutSpec, memory: Memory, old: Standing | None, now_s: float) -> Decision:
    if old is not None and old.is_locked:
        # One that is whole is waited for: somebody deploys it beside others, and that ends.
        is_stuck = old.healthy < old.instances and _lasts(spec, memory.old_troubled_since_s, now_s)
        if not is_stuck:
            return Decision(Wait(), memory, "the old version is being deployed")
    first = spec.steps[0] if old is not None else spec.instances
    memory = Memory(
        began_s=now_s,
        is_undoing_old=memory.is_undoing_old,
        old_troubled_since_s=memory.old_troubled_since_s,
        old_down_since_s=memory.old_down_since_s,
    )
    return Decision(Create(first), memory, f"the new version begins with {first}")


def _go_on(
    spec: RolloutSpec, memory: Memory, observed: Observed, new: Standing, now_s: float
) -> Decision:
    wanted = spec.steps[memory.step]
    where = f"step {memory.step + 1} of {len(spec.steps)}"
    if new.instances < wanted and not new.is_locked:
        return Decision(Scale(Version.NEW, wanted), memory, f"{where}: {wanted} of the new version")
    if new.is_locked or new.healthy < wanted:
        return Decision(Wait(), memory, f"{where}: {new.healthy} of {wanted} healthy")
    since_s = now_s if memory.healthy_since_s is None else memory.healthy_since_s
    memory = replace(memory, healthy_since_s=since_s)
    left_s = spec.soak_s - (now_s - since_s)
    if left_s > 0:
        return Decision(Wait(), memory, f"{where}: {wanted} healthy, watched for {left_s:g} s more")
    if memory.step == len(spec.steps) - 1:
        return _replace_old(spec, memory, observed.old, now_s)
    return _next_step(spec, memory, observed.old, new, now_s)


def _replace_old(spec: RolloutSpec, memory: Memory, old: Standing | None, now_s: float) -> Decision:
    """All of the new version is healthy, and was watched."""
    is_moved = memory.traffic is Version.NEW
    if old is None:
        if is_moved:
            return Decision(Done(), memory, "only the new version is there")
        moved = replace(memory, traffic=Version.NEW)
        return Decision(Move(Version.NEW), moved, "only the new version is there")
    if old.is_locked and (is_moved or not _lasts(spec, memory.old_troubled_since_s, now_s)):
        return Decision(Wait(), memory, "the old version is being deployed")
    if not is_moved:
        moved = replace(memory, traffic=Version.NEW, healthy_since_s=now_s)
        return Decision(Move(Version.NEW), moved, "the new version is whole")
    return Decision(Delete(Version.OLD), memory, "the new version carries all")


def _next_step(
    spec: RolloutSpec, memory: Memory, old: Standing | None, new: Standing, now_s: float
) -> Decision:
    """Take from the old version what this step has brought, then begin the next step."""
    if old is None:
        # Nobody is left to be spared: all that is missing comes at once.
        return _following(spec, memory, len(spec.steps) - 1, now_s)
    wanted = spec.instances - spec.steps[memory.step]
    # What is not there to be taken is not waited for any longer: the new version grows beside it.
    is_left_alone = _lasts(spec, memory.old_troubled_since_s, now_s)
    if old.is_locked and not is_left_alone:
        return Decision(Wait(), memory, "the old version is being deployed")
    if old.instances > wanted and not is_left_alone:
        # Those that go may be the healthy ones.
        left = new.healthy + min(old.healthy, wanted)
        if old.healthy < old.instances or left < spec.minimum:
            told = f"{left} would stay healthy, {spec.minimum} must"
            return Decision(Wait(), memory, f"the old version is not taken from: {told}")
        return Decision(Scale(Version.OLD, wanted), memory, f"{wanted} of the old version stay")
    return _following(spec, memory, memory.step + 1, now_s)


def _following(spec: RolloutSpec, memory: Memory, step: int, now_s: float) -> Decision:
    count = spec.steps[step]
    memory = replace(memory, step=step, began_s=now_s, healthy_since_s=None)
    reason = f"step {step + 1} of {len(spec.steps)}: {count} of the new version"
    return Decision(Scale(Version.NEW, count), memory, reason)


def _go_back(spec: RolloutSpec, memory: Memory, observed: Observed) -> Decision:
    """Make the old version whole, then send traffic there, then remove the new one."""
    reason = f"going back: {memory.failed}"
    old, new = observed.old, observed.new
    if old is None and new is not None:
        reason += "; the old version is not there any more, and the new one stands"
    if old is None or new is None:
        return Decision(RolledBack(), memory, reason)
    if old.is_locked or old.healthy < min(spec.minimum, old.instances):
        return Decision(Wait(), memory, f"{reason}; {old.healthy} of the old version healthy")
    if old.instances < spec.instances:
        return Decision(Scale(Version.OLD, spec.instances), memory, reason)
    if memory.traffic is Version.NEW:
        return Decision(Move(Version.OLD), replace(memory, traffic=Version.OLD), reason)
    return _remove_new(memory, new, reason)


def _remove_new(memory: Memory, new: Standing, reason: str) -> Decision:
    """An app that is being deployed cannot be removed: its deployment is undone first, once."""
    if not new.is_locked:
        return Decision(Delete(Version.NEW), memory, reason)
    if memory.is_undoing:
        return Decision(Wait(), memory, f"{reason}; its deployment is being undone")
    return Decision(Undo(Version.NEW), replace(memory, is_undoing=True), reason)
