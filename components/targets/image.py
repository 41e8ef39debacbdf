"""Container images are named by what they hold, not by a tag that somebody may move."""

from __future__ import annotations

import re

from components.errors import ArgumentsError

_PINNED = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")
_UNMAINTAINED = re.compile(r"(^|/)bitnami(legacy)?/")


def check_image(image: str) -> str:
    """Refuse an image that is not pinned by its digest, or that nobody maintains; returns it.

    Raises:
        ArgumentsError: as said above.
    """
    if not _PINNED.fullmatch(image):
        msg = (
            f"expected an image pinned by its digest, name@sha256:<64 hex digits>, saw {image!r}: "
            "a tag can be moved to other content under a running cluster"
        )
        raise ArgumentsError(msg)
    if _UNMAINTAINED.search(image):
        msg = (
            f"expected an image that somebody maintains, saw {image!r}: its versions were moved to "
            "an archive; take the official image"
        )
        raise ArgumentsError(msg)
    return image
