"""The launch queue: how many instances of which app wait for offers, and why they still wait.

An app whose tasks fail is held back: the pause grows by `backoffFactor` from `backoffSeconds` up to
`maxLaunchDelaySeconds`, and is forgotten when a task runs long enough. Launch tokens bound how many
tasks may be under way at once.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass, field

from stacks.local.marathon.definition import App
from stacks.local.marathon.instances import timestamp
from stacks.local.marathon.matching import REASONS
from stacks.local.mesos.values import Json

_UNUSED_MAX = 10


@dataclass
class Backoff:
    """How long an app is held back, in monotonic seconds."""

    delay_s: float
    until: float


@dataclass
class Waiting:
    """One app in the queue."""

    app: App
    count: int
    since: str = field(default_factory=timestamp)
    processed: int = 0
    unused: int = 0
    last_used_at: str | None = None
    last_unused_at: str | None = None
    attempt: Counter[str] = field(default_factory=Counter[str])
    attempt_processed: int = 0
    # The last offers that did not fit: what, when, why.
    last_unused: deque[tuple[Json, str, str]] = field(
        default_factory=lambda: deque[tuple[Json, str, str]](maxlen=_UNUSED_MAX)
    )

    def note(self, offer: Json, reason: str | None) -> None:
        """Count an offer that was looked at."""
        self.processed += 1
        self.attempt_processed += 1
        if reason is None:
            self.last_used_at = timestamp()
        else:
            self.unused += 1
            self.attempt[reason] += 1
            self.last_unused_at = timestamp()
            self.last_unused.append((offer, self.last_unused_at, reason))


def _funnel(counts: Counter[str], processed: int) -> list[Json]:
    """Each reason with the offers that came as far as it."""
    steps: list[Json] = []
    for reason in REASONS:
        steps.append({"reason": reason, "declined": counts[reason], "processed": processed})
        processed -= counts[reason]
    return steps


class LaunchQueue:
    """All apps that wait."""

    def __init__(self, *, tokens: int, refresh_s: float) -> None:
        self._tokens_max = tokens
        self._tokens = tokens
        self._refresh_s = refresh_s
        self._refreshed_at = time.monotonic()
        self.waiting: dict[str, Waiting] = {}
        self._backoffs: dict[str, Backoff] = {}

    def add(self, app: App, count: int) -> None:
        """Ask for more instances; a new version replaces an old one that waits."""
        entry = self.waiting.get(app.id)
        if entry is None:
            if count > 0:
                self.waiting[app.id] = Waiting(app, count)
            return
        same = entry.app.config_version == app.config_version
        entry.app = app
        entry.count = entry.count + count if same else count

    def set(self, app: App, count: int) -> None:
        """Ask for exactly so many."""
        entry = self.waiting.get(app.id)
        if count <= 0:
            self.purge(app.id)
        elif entry is None:
            self.waiting[app.id] = Waiting(app, count)
        else:
            entry.app, entry.count = app, count

    def count(self, app_id: str) -> int:
        """How many wait."""
        entry = self.waiting.get(app_id)
        return 0 if entry is None else entry.count

    def purge(self, app_id: str) -> None:
        """Ask for none."""
        self.waiting.pop(app_id, None)

    def launched(self, app_id: str) -> None:
        """One less."""
        self._tokens -= 1
        entry = self.waiting.get(app_id)
        if entry is not None:
            entry.count -= 1
            if entry.count <= 0:
                del self.waiting[app_id]

    def has_token(self) -> bool:
        """Whether another task may be launched now."""
        now = time.monotonic()
        if now - self._refreshed_at >= self._refresh_s:
            self._tokens, self._refreshed_at = self._tokens_max, now
        return self._tokens > 0

    def confirmed(self) -> None:
        """A launched task runs: its token is there again."""
        self._tokens = min(self._tokens_max, self._tokens + 1)

    # Backing off

    def delay_s(self, app_id: str) -> float:
        """How long an app is still held back."""
        backoff = self._backoffs.get(app_id)
        return 0.0 if backoff is None else max(0.0, backoff.until - time.monotonic())

    def note_failure(self, app: App) -> None:
        """A task failed: the next one waits longer."""
        before = self._backoffs.get(app.id)
        least = float(app.definition["backoffSeconds"])
        delay_s = least if before is None else before.delay_s * app.definition["backoffFactor"]
        delay_s = min(delay_s, float(app.definition["maxLaunchDelaySeconds"]))
        self._backoffs[app.id] = Backoff(delay_s, time.monotonic() + delay_s)

    def reset_delay(self, app_id: str) -> None:
        """Hold an app back no longer."""
        self._backoffs.pop(app_id, None)

    def wants_offers(self) -> bool:
        """Whether anything may be launched now."""
        return any(self.delay_s(app_id) <= 0 for app_id in self.waiting)

    def rendered(self, *, unused: bool = False) -> Json:
        """GET /v2/queue."""
        return {"queue": [self._item(entry, unused=unused) for entry in self.waiting.values()]}

    def _item(self, entry: Waiting, *, unused: bool) -> Json:
        left_s = self.delay_s(entry.app.id)
        summary: Json = {
            "processedOffersCount": entry.processed,
            "unusedOffersCount": entry.unused,
        }
        if entry.last_unused_at is not None:
            summary["lastUnusedOfferAt"] = entry.last_unused_at
        if entry.last_used_at is not None:
            summary["lastUsedOfferAt"] = entry.last_used_at
        last = Counter(reason for _, _, reason in entry.last_unused)
        summary["rejectSummaryLastOffers"] = _funnel(last, len(entry.last_unused))
        summary["rejectSummaryLaunchAttempt"] = _funnel(entry.attempt, entry.attempt_processed)
        item: Json = {
            "count": entry.count,
            "delay": {"timeLeftSeconds": int(left_s), "overdue": left_s <= 0},
            "since": entry.since,
            "processedOffersSummary": summary,
        }
        if unused:
            item["lastUnusedOffers"] = [
                {"offer": _offer(offer), "timestamp": at, "reason": [reason]}
                for offer, at, reason in entry.last_unused
            ]
        return {**item, "app": entry.app.rendered(), "role": entry.app.definition["role"]}


def _offer(offer: Json) -> Json:
    resources: list[Json] = []
    for one in offer["resources"]:
        shown: Json = {"name": one["name"], "role": one.get("role", "*")}
        if "scalar" in one:
            shown["scalar"] = one["scalar"]["value"]
        if "ranges" in one:
            shown["ranges"] = one["ranges"]["range"]
        resources.append(shown)
    return {
        "id": offer["id"]["value"],
        "hostname": offer["hostname"],
        "agentId": offer["agent_id"]["value"],
        "resources": resources,
        "attributes": [
            {"name": one["name"], "text": one["text"]["value"]}
            for one in offer.get("attributes", ())
            if "text" in one
        ],
    }
