"""How the agent stays inside its budget: it measures itself, and looks less often where it must.

The order is stated, one step at a time, the least missed first: see `STEPS`. A step is taken when
the processor time of the last while is above the budget, and taken back when there is room for what
it saved. Looking less often frees no memory, so memory takes another step: above its budget what
grows with what happens keeps half of its bound, what is free goes back to the kernel, and that is
told. Deciding is pure; measuring is one read of /proc/self.
"""

from __future__ import annotations

import gc
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from probe.agent.files import read


@dataclass(frozen=True)
class Step:
    """One step of degradation: the factor on the interval of a collector."""

    collector: str
    factor: float
    meaning: str


STEPS: Sequence[Step] = (
    Step("process", 2, "processes are looked at half as often"),
    Step("connections", 2, "connections are looked at half as often: short ones are missed sooner"),
    Step("mesos", 2, "Mesos, Marathon and ZooKeeper are asked half as often"),
    Step("plugins", 3, "plugins are asked a third as often"),
    Step("names", 6, "names of remote addresses are asked for a sixth as often"),
    Step("process", 5, "processes are looked at a fifth as often"),
    Step("container", 2, "metrics of containers half as often; their events come as before"),
    Step("cri", 2, "metrics of Kubernetes' containers half as often; events come as before"),
    Step("connections", 5, "connections are looked at a fifth as often"),
    Step("container", 5, "metrics of containers a fifth as often; their events come as before"),
    Step("cri", 5, "metrics of Kubernetes' containers a fifth as often; events come as before"),
    Step("host", 5, "metrics of the host a fifth as often"),
)
# Below this share of the budget a step is taken back; between the two nothing changes.
_ROOM = 0.6
# Whole bounds are given again below this share of the budget for memory: the process itself, most
# of it, never goes.
_MEMORY_ROOM = 0.8
SHORT_SHARE = 0.5
"""What is kept of bounds while memory is short."""
# To walk through the heap takes time, too.
_GIVE_BACK_S = 60.0


@dataclass(frozen=True)
class Budget:
    """What the agent may use: percent of one processor, and megabytes of resident memory."""

    cpu_percent: float = 5.0
    rss_mb: float = 100.0


@dataclass(frozen=True)
class Use:
    """What it uses, over the last while."""

    cpu_percent: float
    rss_mb: float


def decide(level: int, use: Use, budget: Budget) -> int:
    """How many steps are to be taken, after so many have been."""
    share = use.cpu_percent / budget.cpu_percent
    if share > 1:
        return min(level + 1, len(STEPS))
    return max(level - 1, 0) if share < _ROOM else level


class Memory:
    """Keeps less, and gives back what is free, while the use of memory is above the budget."""

    MEANING = (
        "more memory is used than the budget has: frames and connections are kept to half of their"
        " bounds, and what is free is given back each minute"
    )

    def __init__(
        self,
        give_back: Callable[[], None],
        clock: Callable[[], float],
        bound: Callable[[float], None],
    ) -> None:
        """`bound` hears which share of their bounds stores may use from now on."""
        self.is_short = False
        self._give_back = give_back
        self._clock = clock
        self._bound = bound
        self._gave_at: float | None = None

    def judge(self, use: Use, budget: Budget) -> None:
        """Judge the use, and act on it."""
        share = use.rss_mb / budget.rss_mb
        is_short = share > (_MEMORY_ROOM if self.is_short else 1)
        if is_short is not self.is_short:
            self.is_short = is_short
            self._bound(SHORT_SHARE if is_short else 1.0)
        now = self._clock()
        if share > 1 and (self._gave_at is None or now - self._gave_at >= _GIVE_BACK_S):
            self._gave_at = now
            self._give_back()


def give_back() -> None:
    """Collect cycles, and hand free pages to the kernel where the C library can (glibc)."""
    gc.collect()
    try:
        import ctypes  # noqa: PLC0415 - costs memory, and most agents never need it

        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    except (ImportError, OSError):
        return  # A Python without it, or no descriptor is left: it would have been a favour.
    if trim is not None:
        trim(0)


def factors(level: int) -> Mapping[str, float]:
    """Factors on the intervals of collectors, by name."""
    found: dict[str, float] = {}
    for step in STEPS[:level]:
        found[step.collector] = max(step.factor, found.get(step.collector, 1))
    return found


class Meter:
    """Measures this process over a sliding window."""

    def __init__(self, window_s: float = 30.0) -> None:
        self._window_s = window_s
        self._samples: deque[tuple[float, float]] = deque()
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")
        self.sample()

    def begin_anew(self) -> None:
        """Let the window begin with the next sample."""
        self._samples.clear()

    def sample(self) -> Use:
        """Measure now.

        Raises:
            OSError: the kernel does not tell.
        """
        now, used = time.monotonic(), time.process_time()
        self._samples.append((now, used))
        while len(self._samples) > 2 and now - self._samples[0][0] > self._window_s:  # noqa: PLR2004 - a difference takes two
            self._samples.popleft()
        begun, used_then = self._samples[0]
        elapsed = now - begun
        cpu = 100 * (used - used_then) / elapsed if elapsed > 0 else 0.0
        return Use(cpu, rss_mb(self._page_bytes))


def rss_mb(page_bytes: int) -> float:
    """Resident memory of this process."""
    return int(read("/proc/self/statm").split()[1]) * page_bytes / 1e6
