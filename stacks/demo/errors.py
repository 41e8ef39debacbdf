"""Errors of the demo.

DemoError
├── RefusedError        it cannot start: nothing was changed, or what was is undone (exit status 2)
│   └── AnotherRunsError    another demo of this checkout runs
└── NotHealthyError     the cluster of phase 0 did not come up within its bound

Every message says what was expected, what was seen and what to do.
"""

from __future__ import annotations


class DemoError(Exception):
    """The demo did not come to its end."""


class RefusedError(DemoError):
    """The demo cannot start here and now."""


class AnotherRunsError(RefusedError):
    """Another demo of this checkout runs."""


class NotHealthyError(DemoError):
    """The cluster did not come up within its bound."""
