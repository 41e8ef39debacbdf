"""How many instances an app should have: a pure function of what is measured.

The proportion is that of Kubernetes' autoscaler, `ceil(instances * value / target)`, left alone
within a tolerance. Up at once and down slowly: scaling down takes the highest wish of a while, so
that a dip is not followed, and each direction rests for a time after a change. What is not known is
never a reason to change anything. Every decision says why.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Cause(StrEnum):
    """Why a decision is as it is."""

    SCALED_UP = "scaled up"
    SCALED_DOWN = "scaled down"
    WITHIN_TOLERANCE = "within tolerance"
    AT_BOUND = "at its bound"
    OUT_OF_BOUNDS = "brought within its bounds"
    COOLING_DOWN = "cooling down"
    STABILISING = "a dip is not followed yet"
    UNKNOWN = "the metric is not known"
    LOCKED = "being deployed"
    PAUSED = "paused"


@dataclass(frozen=True)
class Rule:
    """How one app is scaled. Seconds; `target` is per instance, in the metric's own unit.

    `step_max` bounds one change; `stabilise_s` is how long a lower wish must last.

    Raises:
        ValueError: no number could follow it.
    """

    instances_min: int
    instances_max: int
    target: float
    tolerance: float = 0.1
    step_max: int = 10
    cool_down_up_s: float = 30.0
    cool_down_down_s: float = 300.0
    stabilise_s: float = 300.0
    is_paused: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.instances_min <= self.instances_max:
            msg = (
                f"expected 0 ≤ instances_min ≤ instances_max, saw {self.instances_min} and "
                f"{self.instances_max}"
            )
            raise ValueError(msg)
        if self.target <= 0 or self.step_max < 1 or not 0 <= self.tolerance < 1:
            msg = (
                f"expected a target above 0, a step of at least 1 and a tolerance below 1, saw "
                f"{self.target:g}, {self.step_max} and {self.tolerance:g}"
            )
            raise ValueError(msg)


@dataclass(frozen=True)
class Wish:
    """How many instances a look asked for, and when."""

    at_s: float
    instances: int


@dataclass(frozen=True)
class Past:
    """What is remembered. Times in seconds, of one clock that does not go back."""

    changed_at_s: float | None = None
    wishes: tuple[Wish, ...] = ()


@dataclass(frozen=True)
class Look:
    """What is seen now; `value` is the mean of the metric over instances, None when unknown."""

    now_s: float
    instances: int
    value: float | None
    is_locked: bool = False


@dataclass(frozen=True)
class Decision:
    """How many instances there should be, why, and what to remember."""

    instances: int
    cause: Cause
    reason: str
    past: Past


def forget(rule: Rule, past: Past, now_s: float) -> Past:
    """What is left to remember where one could not look."""
    return Past(past.changed_at_s, _within(past.wishes, now_s - rule.stabilise_s))


def decide(rule: Rule, past: Past, look: Look) -> Decision:
    """Decide. A decision for as many instances as there are changes nothing."""
    now = look.instances
    # What was wished before a time in which nobody looked was not wished through all of it.
    unseen = forget(rule, past, look.now_s)
    if rule.is_paused or look.is_locked:
        cause = Cause.PAUSED if rule.is_paused else Cause.LOCKED
        reason = "paused by its settings" if rule.is_paused else "a deployment is running"
        return Decision(now, cause, reason, unseen)
    bounded = min(max(now, rule.instances_min), rule.instances_max)
    if bounded != now:
        bounds = f"{rule.instances_min} to {rule.instances_max}"
        reason = f"{now} instances, {bounds} are allowed"
        return _change(bounded, Cause.OUT_OF_BOUNDS, reason, unseen, look.now_s)
    if look.value is None or not math.isfinite(look.value) or look.value < 0:
        return Decision(now, Cause.UNKNOWN, f"value {look.value}: nothing is changed", unseen)
    wish, told = _wish(rule, now, look.value)
    wishes = (*_recent(past.wishes, look.now_s, rule.stabilise_s), Wish(look.now_s, wish))
    past = Past(past.changed_at_s, wishes)
    if wish != now:
        return (_up if wish > now else _down)(rule, past, look, wish, told)
    unbounded = _proportional(rule, now, look.value) if now else now
    is_bound = abs(look.value / rule.target - 1) > rule.tolerance and unbounded != now
    cause = Cause.AT_BOUND if is_bound else Cause.WITHIN_TOLERANCE
    return Decision(now, cause, told, past)


def _wish(rule: Rule, now: int, value: float) -> tuple[int, str]:
    """Instances by proportion, within bounds and step."""
    ratio = value / rule.target
    told = f"{value:g} of {rule.target:g} an instance"
    if abs(ratio - 1) <= rule.tolerance:
        return now, told
    # From none, one can only begin: there is nothing to take a proportion of.
    wish = _proportional(rule, now, value) if now else 1
    wish = min(max(wish, now - rule.step_max), now + rule.step_max)
    return min(max(wish, rule.instances_min), rule.instances_max), told


def _proportional(rule: Rule, now: int, value: float) -> int:
    """Instances by proportion alone, but no more than bounds and step could tell apart: the product
    of a finite value may be infinite."""
    most = now + rule.instances_max + rule.step_max
    return math.ceil(min(now * (value / rule.target), most))


def _recent(wishes: Sequence[Wish], now_s: float, stabilise_s: float) -> tuple[Wish, ...]:
    """Wishes of the time that a lower one must last, and the one that held when it began: looks may
    be further apart than that."""
    recent = _within(wishes, now_s - stabilise_s)
    before = len(wishes) - len(recent)
    return (*wishes[max(0, before - 1) : before], *recent) if stabilise_s else recent


def _within(wishes: Sequence[Wish], since_s: float) -> tuple[Wish, ...]:
    return tuple(wish for wish in wishes if wish.at_s > since_s)


def _up(rule: Rule, past: Past, look: Look, wish: int, told: str) -> Decision:
    left_s = _rest_s(past, rule.cool_down_up_s, look.now_s)
    if left_s > 0:
        reason = f"{told}: {wish} wanted, {left_s:g} s to rest"
        return Decision(look.instances, Cause.COOLING_DOWN, reason, past)
    return _change(wish, Cause.SCALED_UP, told, past, look.now_s)


def _down(rule: Rule, past: Past, look: Look, wish: int, told: str) -> Decision:
    left_s = _rest_s(past, rule.cool_down_down_s, look.now_s)
    highest = min(max(wish.instances for wish in past.wishes), look.instances)
    if left_s > 0:
        reason = f"{told}: {wish} wanted, {left_s:g} s to rest"
        return Decision(look.instances, Cause.COOLING_DOWN, reason, past)
    if highest >= look.instances or not _covers(past, look.now_s, rule.stabilise_s):
        reason = f"{told}: {highest} were wanted within {rule.stabilise_s:g} s"
        return Decision(look.instances, Cause.STABILISING, reason, past)
    return _change(highest, Cause.SCALED_DOWN, told, past, look.now_s)


def _covers(past: Past, now_s: float, stabilise_s: float) -> bool:
    """Whether it was watched long enough; a controller that has just begun was not."""
    if stabilise_s == 0:
        return True
    # Half of the time at least: where it was not looked for a while, older wishes are forgotten.
    return now_s - past.wishes[0].at_s >= stabilise_s / 2


def _rest_s(past: Past, cool_down_s: float, now_s: float) -> float:
    if past.changed_at_s is None:
        return 0.0
    return past.changed_at_s + cool_down_s - now_s


def _change(instances: int, cause: Cause, reason: str, past: Past, now_s: float) -> Decision:
    return Decision(instances, cause, reason, Past(changed_at_s=now_s, wishes=past.wishes))
