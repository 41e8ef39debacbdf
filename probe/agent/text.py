"""Texts of others, made fit to be sent and shown: bounded, valid, without control characters.

Names, labels and command lines belong to whoever started a process. They may hold escape sequences
for terminals, invalid UTF-8, direction marks that turn a line around, or a megabyte.
"""

from __future__ import annotations

import re

NAME_CHARS_MAX = 256
LABEL_CHARS_MAX = 1024
"""Of a label's value: some hold a whole command."""
TEXT_CHARS_MAX = 4096
LIST_ITEMS_MAX = 256
CUT = "…"
"""Stands at the end of what was cut."""
# Controls, surrogates of bytes that are no UTF-8, marks that change the direction of text.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def clean(text: str | bytes, chars_max: int = NAME_CHARS_MAX) -> str:
    """A text that can be sent and shown; what is unfit becomes U+FFFD, what is too long is cut."""
    if isinstance(text, bytes):
        # Four bytes a character at most: more is cut anyway.
        text = text[: 4 * chars_max + 4].decode("utf-8", "replace")
    if len(text) > chars_max:
        text = text[: chars_max - 1] + CUT
    return text if text.isascii() and text.isprintable() else _UNFIT.sub("\ufffd", text)


def clean_all(texts: list[str], chars_max: int = NAME_CHARS_MAX) -> list[str]:
    """Sorted, each once, so many as are sent at most."""
    return sorted({clean(text, chars_max) for text in texts})[:LIST_ITEMS_MAX]
