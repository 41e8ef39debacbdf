"""What can go wrong in controllers.

::

    ControllerError
    ├── SettingsError       a settings file that no controller can run with
    └── MetricError         a metric could not be read: nothing is decided by it

Messages say what was expected, what was seen and what to do.
"""

from __future__ import annotations


class ControllerError(Exception):
    """Root of this package's errors."""


class SettingsError(ControllerError):
    """A settings file that no controller can run with."""


class MetricError(ControllerError):
    """A metric could not be read."""
