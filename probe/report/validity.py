"""Values that cannot travel, made such as can: the last net under collectors.

Texts come from processes, files and other people's JSON. One with half a surrogate pair, or a
number of a hundred digits, would end the stream of a probe, and its process with it.
"""

from __future__ import annotations

import math
import re
from typing import Any, cast

_HALVES = re.compile("[\ud800-\udfff]")
_INT_MIN, _INT_MAX = -(1 << 63), (1 << 64) - 1


def valid(value: Any) -> Any:  # noqa: PLR0911 - a case each kind of JSON
    """The same with U+FFFD for what is no text, and null for numbers that cannot be sent.

    Dictionaries and lists are gone through; they come from JSON, or are as deep as a frame.
    """
    match value:
        case str():
            return _HALVES.sub("\ufffd", value)
        case bool():
            return value
        case int():
            return value if _INT_MIN <= value <= _INT_MAX else None
        case float():
            return value if math.isfinite(value) else None
        case list() | tuple():
            return [valid(one) for one in cast("list[Any]", value)]
        case dict():
            pairs = cast("dict[Any, Any]", value)
            return {valid(name): valid(one) for name, one in pairs.items()}
        case _:
            return value
