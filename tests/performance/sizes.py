"""How large and how long each row is: as the goals say, or a fraction to try that a row works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """One set of sizes; counts are of leaves, which stand in folders of a hundred."""

    copies: tuple[int, ...]
    """Trees of the initial copy."""
    anchor_copy: int
    """Tree that anchors copy; larger ones are extrapolated from it."""
    watched: int
    """Leaves watched while lag is measured."""
    lag_s: float
    warm_s: float
    """Beginning of each load that does not count."""
    rates_per_s: tuple[int, ...]
    """One-way rates of the lag rows."""
    both_ways_per_s: int
    steps_per_s: tuple[int, ...]
    """Rates of the search for the highest one."""
    step_s: float
    burst: int
    echo_writes: int
    """Changes each way of the echo row."""
    echo_per_s: int
    fault_per_s: int
    """Rate of writes while something is killed."""
    kills: int
    before_s: float
    """Quiet writing before a fault."""
    after_s: float
    """Writing after a fault; recovery must show in it."""
    partition_s: float
    changes: int
    """Leaves changed during a partition."""
    idle_s: float


FULL = Sizes(
    copies=(10_000, 100_000),
    anchor_copy=10_000,
    watched=10_000,
    lag_s=20,
    warm_s=3,
    rates_per_s=(300, 1_000),
    both_ways_per_s=500,
    steps_per_s=(1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000, 9_000, 10_000),
    step_s=8,
    burst=10_000,
    echo_writes=100_000,
    echo_per_s=1_500,
    fault_per_s=500,
    kills=3,
    before_s=3,
    after_s=12,
    partition_s=60,
    changes=10_000,
    idle_s=20,
)
QUICK = Sizes(
    copies=(500, 2_000),
    anchor_copy=500,
    watched=1_000,
    lag_s=3,
    warm_s=0.5,
    rates_per_s=(50, 100),
    both_ways_per_s=50,
    steps_per_s=(50, 100, 200),
    step_s=2,
    burst=1_000,
    echo_writes=5_000,
    echo_per_s=500,
    fault_per_s=100,
    kills=1,
    before_s=2,
    after_s=8,
    partition_s=5,
    changes=1_000,
    idle_s=3,
)
