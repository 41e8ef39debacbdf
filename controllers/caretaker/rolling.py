"""Which master is replaced next: followers first, the leader last.

A leader's loss costs a cluster some ten seconds without one, so it happens once a roll, at its end,
when every other member is new. A quorum of members stays ready at every moment: a log that loses it
stores nothing. Values in, one step out; the driver asks again after each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Pod:
    """A member's pod. `is_current`: of the newest description; `has_run`: its program was started
    there at least once, which a node check that fails or a missing image keeps it from;
    `keeps_ending`: it ends soon after each start, as with a flag that it does not know."""

    name: str
    ordinal: int
    uid: str
    is_current: bool
    is_ready: bool
    is_ending: bool = False
    has_run: bool = True
    keeps_ending: bool = False


@dataclass(frozen=True)
class Replace:
    """Remove a pod; another one of the newest description takes its place."""

    pod: Pod
    reason: str


@dataclass(frozen=True)
class Wait:
    """Nothing may be done now."""

    reason: str


@dataclass(frozen=True)
class Done:
    """Every pod is of the newest description, and ready."""


Step = Replace | Wait | Done


def next_step(  # noqa: PLR0911 - one a step
    pods: Sequence[Pod], *, members: int, leader: str | None
) -> Step:
    """Decide the next step of a group of `members`, of which the pod `leader` leads.

    None: nobody leads, or nobody knows who does. A pod that is old and not ready is replaced first,
    because that takes nothing away; one that is new and not ready stops the roll.
    """
    if ending := [pod.name for pod in pods if pod.is_ending]:
        return Wait(f"{ending[0]} is on its way out")
    if len(pods) < members:
        return Wait(f"{len(pods)} of {members} pods are there")
    if troubled := [pod.name for pod in pods if pod.is_current and not pod.is_ready]:
        return Wait(f"{troubled[0]} is new and not ready")
    old = sorted((pod for pod in pods if not pod.is_current), key=lambda pod: -pod.ordinal)
    if not old:
        return Done()
    if broken := [pod for pod in old if not pod.is_ready]:
        return Replace(broken[0], "it is not ready, and old")
    ready = sum(pod.is_ready for pod in pods)
    quorum = members // 2 + 1
    # A single member has no other that could serve meanwhile.
    if members > 1 and ready - 1 < quorum:
        return Wait(f"{ready} of {members} are ready, without one more there is no quorum")
    if leader is None and members > 1:
        return Wait("no leader is known")
    followers = [pod for pod in old if pod.name != leader]
    if followers and members > 1:
        return Replace(followers[0], "it follows")
    return Replace(old[0], "it leads, and every other one is new")
