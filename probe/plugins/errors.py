"""What can go wrong with a plugin.

::

    PluginError
    ├── UnknownPluginError   permanent: no plugin of that name can be loaded
    ├── DefinitionError      permanent: a class that is no plugin
    ├── OptionError          permanent: a setting of a plugin that it does not have or cannot use
    ├── ColumnError          permanent: a look told something that the plugin has not declared
    └── LookError            retryable: a look that failed
"""

from __future__ import annotations

from typing import ClassVar


class PluginError(Exception):
    """Root of this package's errors."""

    retryable: ClassVar[bool] = False
    """Whether the same may succeed later without anybody changing anything."""


class UnknownPluginError(PluginError):
    """No plugin of that name can be loaded."""


class DefinitionError(PluginError):
    """A class that is no plugin."""


class OptionError(PluginError):
    """A setting of a plugin that it does not have, or cannot use."""


class ColumnError(PluginError):
    """A look told something that the plugin has not declared."""


class LookError(PluginError):
    """A look that failed; its message says how."""

    retryable = True
