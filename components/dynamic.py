"""What all dynamic providers share.

Pulumi pickles a provider by reference to its class, so providers are classes of a module, take no
arguments, and look alike in every run.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from pulumi.dynamic import ConfigureRequest, ResourceProvider

from components.errors import ComponentError
from components.targets.engine_watch import end_with_engine

P = ParamSpec("P")
R = TypeVar("R")


def for_people(method: Callable[P, R]) -> Callable[P, R]:
    """Let our own errors reach the user as their message: Pulumi prints what a provider's method
    raises with its traceback, which says nothing to somebody whose port is taken."""

    @functools.wraps(method)
    def plain(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except ComponentError as error:
            sys.tracebacklimit = 0
            raise error.with_traceback(None) from None

    return plain


class Provider(ResourceProvider):
    """A provider that ends with its engine."""

    # They hold no secret; marked as one, they could not be read by people who look into the state.
    serialize_as_secret_always = False

    def configure(self, req: ConfigureRequest) -> None:
        """Called once, in the process that hosts the provider."""
        del req
        end_with_engine()
