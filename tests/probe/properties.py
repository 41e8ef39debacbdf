"""How property tests of the probe run: as many examples as a busy machine can take."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Time says nothing here: the machine may be measuring something else.
patient = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
