"""What can go wrong in controllers.

::

    ControllerError
    ├── SettingsError           a settings file that no controller can run with
    ├── ListenError             an address to be asked on cannot be taken
    ├── MetricError             a metric could not be read: nothing is decided by it
    ├── LogStoreError           Elasticsearch does not answer, or refuses what it is told
    ├── ProfileError            a network of containers that cannot be (also a ValueError)
    ├── NodeNetworkError        a node could not be given a network
    └── ProxyError              HAProxy does not do what it is told
        ├── RefusedError        it refuses a configuration: the one before stays
        ├── NotReloadedError    it did not take a configuration in time
        └── ProxyEndedError     it has ended, or cannot be started

Messages say what was expected, what was seen and what to do.
"""

from __future__ import annotations


class ControllerError(Exception):
    """Root of this package's errors."""


class SettingsError(ControllerError):
    """A settings file that no controller can run with."""


class ListenError(ControllerError):
    """An address to be asked on cannot be taken."""


class MetricError(ControllerError):
    """A metric could not be read."""


class LogStoreError(ControllerError):
    """Elasticsearch does not answer, or refuses what it is told."""


class ProfileError(ControllerError, ValueError):
    """A network of containers that cannot be."""


class NodeNetworkError(ControllerError):
    """A node could not be given a network."""


class ProxyError(ControllerError):
    """HAProxy does not do what it is told."""


class RefusedError(ProxyError):
    """It refuses a configuration; the one before stays."""


class NotReloadedError(ProxyError):
    """It did not take a configuration in time."""


class ProxyEndedError(ProxyError):
    """It has ended, or cannot be started."""
