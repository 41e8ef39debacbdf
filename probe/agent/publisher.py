"""Sends frames to apps: in order, each once, without ever holding up those who collect.

Frames stand in one ring with a bound. Every app has its own place in it; one that was away goes on
where it stopped, and needs a snapshot only if the ring has moved past that place, if it says so, or
if all that it has missed costs more than one.
What an app does not take is dropped from the ring's old end, never waited for. After an outage
apps are tried again with growing, random pauses, or when they say, by the next frame where that is
still there; an app that has lost a stream, or has missed too much of it, gets its snapshot after a
random while. So not every probe comes at once.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from probe.agent.errors import AgentError, AnswerError, RefusedError, SettingsError
from probe.agent.http import Answer, Connection, Place, TlsFiles
from probe.agent.log import Log
from probe.report import wire
from probe.report.ledger import Ledger

PATH = "/api/v1/report"
RING_BYTES_MAX = 8 * 1024 * 1024
_TIMEOUT_S = 10.0
_RETRY_S = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
# A thousand probes whose app was restarted send their snapshots over so long.
_SPREAD_S = 5.0
_RETRY_AFTER_S_MAX = 120.0
# An app that tells of later and later lives must not make all others take snapshots.
_BEGIN_ANEW_S = 600.0
_EPOCH_MAX = 1 << 62
_SNAPSHOT_WANTED = 409
# So many frames go out whatever a snapshot costs: a minute of them, as often as is usual.
_MISSED_FRAMES = 20
# How long a snapshot is taken to be as large as it was.
_MEASURED_S = 60.0
# What a post costs beside its frame: headers, an answer, and an app's time.
_POST_BYTES = 512


class Reply(msgspec.Struct):
    """What an app says: up to which frame it has this probe's stream."""

    epoch: int
    seq: int


@dataclass(frozen=True)
class Sent:
    """An encoded frame."""

    epoch: int
    seq: int
    data: bytes


class Ring:
    """The last frames, inside a bound."""

    def __init__(self, bytes_max: int = RING_BYTES_MAX) -> None:
        # Each with the bytes of all before it.
        self._frames: deque[tuple[Sent, int]] = deque()
        # Of each epoch: how many frames were added before the one with number 0.
        self._begins: dict[int, int] = {}
        self._bytes_max = bytes_max
        self._share = 1.0
        self._added_bytes = 0
        self.size = 0
        self.dropped = 0

    def add(self, sent: Sent) -> None:
        """Add the next frame; old ones go where there is no room."""
        self._begins.setdefault(sent.epoch, self.dropped + len(self._frames) - sent.seq)
        self._frames.append((sent, self._added_bytes))
        self._added_bytes += len(sent.data)
        self.size += len(sent.data)
        self._trim()

    def bound(self, share: float) -> None:
        """Use this share of the bound from now on."""
        self._share = share
        self._trim()

    def _trim(self) -> None:
        while self.size > self._bytes_max * self._share and len(self._frames) > 1:
            old, _ = self._frames.popleft()
            if old.epoch != self._frames[0][0].epoch:
                del self._begins[old.epoch]
            self.size -= len(old.data)
            self.dropped += 1

    def after(self, epoch: int, seq: int) -> Sent | None:
        """The frame that follows another; None when it is not there."""
        at = self._at(epoch, seq + 1)
        return None if at is None else self._frames[at][0]

    def missed(self, epoch: int, seq: int) -> tuple[int, int]:
        """How many frames follow another, and their bytes; none where the next is not there."""
        at = self._at(epoch, seq + 1)
        if at is None:
            return 0, 0
        return len(self._frames) - at, self._added_bytes - self._frames[at][1]

    def _at(self, epoch: int, seq: int) -> int | None:
        begin = self._begins.get(epoch)
        at = -1 if begin is None else begin + seq - self.dropped
        if not 0 <= at < len(self._frames):
            return None
        sent, _ = self._frames[at]
        return at if (sent.epoch, sent.seq) == (epoch, seq) else None


class Outlet:
    """One app, and how far it has come."""

    def __init__(self, place: Place, *, token_file: Path | None, tls: TlsFiles, log: Log) -> None:
        self.place = place
        self._token_file = token_file
        self._tls = tls
        self._tls_version: object = None
        self._connection = Connection(place, timeout_s=_TIMEOUT_S, context=tls.context)
        self._log = log
        self.acknowledged: tuple[int, int] | None = None
        """Epoch and number of the last frame that the app has; None before a snapshot."""
        self.had_stream = False
        """Whether it ever took a frame."""
        self.is_away = False
        """Whether it has not answered as an app does since its last failure."""
        self.sent_frames = 0
        self.sent_bytes = 0
        self.snapshots = 0
        self.failed = 0
        self.problem: str | None = None

    async def post(self, data: bytes) -> Answer:
        """Send a frame.

        Raises:
            HttpError: the app does not take it now.
            SettingsError: a file of a secret cannot be used.
        """
        headers = {"Content-Type": wire.CONTENT_TYPE}
        if self._token_file is not None:
            headers["Authorization"] = f"Bearer {read_token(self._token_file)}"
        await self._take_up_certificates()
        answer = await self._connection.request("POST", PATH, headers=headers, body=data)
        self.sent_bytes += len(data)
        self.sent_frames += 1
        return answer

    async def _take_up_certificates(self) -> None:
        """A connection knows those that it was made with: others take another connection."""
        version = self._tls.version() if self.place.is_tls else None
        if version != self._tls_version:
            self._tls_version = version
            await self._connection.close()

    def take(self, answer: Answer) -> None:
        """Read an app's reply.

        Raises:
            RefusedError: it does not take reports of ours.
            AnswerError: it is no reply.
        """
        if answer.status == _SNAPSHOT_WANTED:
            self.acknowledged = None
            self.is_away = False
            return
        if not answer.is_success:
            msg = f"expected {self.place} to take a report, saw status {answer.status}"
            msg = f"{msg}: {answer.body[:200]!r}"
            raise RefusedError(msg, status=answer.status, retry_after_s=answer.retry_after_s)
        try:
            reply = msgspec.json.decode(answer.body, type=Reply)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            msg = f"expected a reply of an app at {self.place}, saw {str(error)[:100]}"
            raise AnswerError(msg) from None
        self.acknowledged = (reply.epoch, reply.seq)
        self.had_stream = True
        self.is_away = False

    def well(self) -> None:
        """Note that it takes frames."""
        self.problem = None
        self._log.well(f"app {self.place}")

    def ill(self, error: AgentError) -> None:
        """Note that it does not."""
        self.failed += 1
        self.is_away = True
        self.problem = str(error)
        self._log.trouble(f"app {self.place}", str(error))

    async def close(self) -> None:
        """Close its connection."""
        await self._connection.close()


class Publisher:
    """Makes frames of what was collected, and keeps every app supplied."""

    def __init__(  # noqa: PLR0913 - by keyword, what it is made of
        self,
        ledger: Ledger,
        outlets: list[Outlet],
        *,
        wall: Callable[[], float],
        lease_ms: int,
        ring: Ring | None = None,
        random_: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self.outlets = outlets
        self._wall = wall
        self._clock = clock
        self._lease_ms = lease_ms
        self.ring = ring or Ring()
        self._random = random_ or random.Random()  # noqa: S311 - pauses, no secrets
        self._news: dict[int, asyncio.Event] = {id(one): asyncio.Event() for one in outlets}
        self.frame_bytes = 0
        self._snapshot_bytes = 0
        self._measured_at = float("-inf")
        self._began_anew_at: float | None = None

    def publish(self) -> None:
        """Make the next frame of what has changed, and wake those who send."""
        frame = self._ledger.delta(self._now_ms(), self._lease_ms)
        sent = Sent(frame.epoch, frame.seq, wire.encode(frame))
        self.frame_bytes += len(sent.data)
        self.ring.add(sent)
        for event in self._news.values():
            event.set()

    async def run(self) -> None:
        """Send until cancelled."""
        async with asyncio.TaskGroup() as group:
            for outlet in self.outlets:
                group.create_task(self._supply(outlet))

    async def _supply(self, outlet: Outlet) -> None:
        news = self._news[id(outlet)]
        failed = 0
        try:
            while True:
                await news.wait()
                news.clear()
                try:
                    await self._catch_up(outlet)
                    failed = 0
                except AgentError as error:
                    outlet.ill(error)
                    await asyncio.sleep(self._pause_s(error, failed))
                    failed += 1
                    news.set()
        finally:
            await outlet.close()

    def _pause_s(self, error: AgentError, failed: int) -> float:
        wanted = error.retry_after_s if isinstance(error, RefusedError) else None
        if wanted is not None:
            # None at all would be a storm.
            wanted = max(wanted, _RETRY_S[0])
            return min(wanted, _RETRY_AFTER_S_MAX) * self._random.uniform(1.0, 1.5)
        return _RETRY_S[min(failed, len(_RETRY_S) - 1)] * self._random.uniform(0.5, 1.5)

    async def _catch_up(self, outlet: Outlet) -> None:
        """Send until the app has everything; it may ask for one snapshot on the way."""
        had_snapshot = False
        while True:
            before = outlet.acknowledged
            if before == (self._ledger.epoch, self._ledger.seq):
                outlet.well()
                return
            following = None if before is None else self.ring.after(*before)
            if (
                following is not None
                and before is not None
                and (had_snapshot or outlet.is_away or not self._costs_a_snapshot(before))
            ):
                outlet.take(await outlet.post(following.data))
                if outlet.acknowledged is not None and outlet.acknowledged <= before:
                    msg = f"expected {outlet.place} to go on from frame {before}"
                    msg = f"{msg}, saw it at {outlet.acknowledged}"
                    raise AnswerError(msg)
            elif had_snapshot and self._begins_after(before):
                had_snapshot = False
            elif had_snapshot:
                msg = f"expected {outlet.place} to go on from a snapshot, saw it at {before}"
                raise AnswerError(msg)
            else:
                had_snapshot = True
                await self._send_snapshot(outlet)

    def _costs_a_snapshot(self, known: tuple[int, int]) -> bool:
        """Whether an app has missed so much that a snapshot costs less."""
        frames, size = self.ring.missed(*known)
        if frames <= _MISSED_FRAMES:
            return False
        # The last one may be that of the start, when nothing was known yet.
        if self._clock() - self._measured_at > _MEASURED_S:
            self._whole()
        return size + frames * _POST_BYTES > self._snapshot_bytes

    def _begins_after(self, known: tuple[int, int] | None) -> bool:
        """Whether the stream begins anew, because an app knows a later life of this probe: the
        clock was set back before this one began."""
        if known is None or not self._ledger.epoch < known[0] < _EPOCH_MAX:
            return False
        now, last = self._clock(), self._began_anew_at
        if last is not None and now - last < _BEGIN_ANEW_S:
            return False
        self._began_anew_at = now
        self._ledger.begin_after(known[0])
        self.publish()
        return True

    async def _send_snapshot(self, outlet: Outlet) -> None:
        if outlet.had_stream:
            # If it was restarted, it asks all other probes too.
            await asyncio.sleep(self._random.uniform(0, _SPREAD_S))
        outlet.snapshots += 1
        outlet.take(await outlet.post(self._snapshot()))

    def _snapshot(self) -> bytes:
        """Everything up to now. What has changed since the last frame goes out as one first, so
        that every app has the same stream."""
        self.publish()
        return self._whole()

    def _whole(self) -> bytes:
        data = wire.encode(self._ledger.snapshot(self._now_ms(), self._lease_ms))
        self._snapshot_bytes = len(data)
        self._measured_at = self._clock()
        return data

    def _now_ms(self) -> int:
        return round(self._wall() * 1000)


def read_token(path: Path) -> str:
    """Read a bearer token, anew for each use: it may have been rotated.

    Raises:
        SettingsError: there is none in the file.
    """
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        seen = error.strerror if isinstance(error, OSError) else "bytes that are no text"
        msg = f"expected a token in {path}, saw {seen}: create it with mode 0600"
        raise SettingsError(msg) from None
    if not token or not token.isascii() or not token.isprintable():
        msg = f"expected a token of printable characters in {path}, saw none"
        raise SettingsError(msg)
    return token
