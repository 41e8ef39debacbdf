"""Quantities of the Kubernetes API, as whole numbers.

`10Gi`, `128M`, `1e9`, `500m`: a decimal number with a suffix of powers of 1024, of powers of 1000,
or an exponent (`k8s.io/apimachinery/pkg/api/resource`).
"""

from __future__ import annotations

import math
import re
from decimal import Decimal, localcontext

_FORM = re.compile(
    r"([+-]?\d{1,30}(?:\.\d{0,30})?|[+-]?\.\d{1,30})([numkMGTPE]|[KMGTPE]i|[eE][+-]?\d{1,2})?"
)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_MAX = (1 << 63) - 1


def whole(text: str) -> int | None:
    """A quantity, rounded up as the API does; None for what is none, or too large for a report."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    number, suffix = Decimal(found[1]), found[2] or ""
    with localcontext() as context:
        context.prec = 100
        if suffix in _BINARY:
            number *= 1 << _BINARY[suffix]
        else:
            power = _DECIMAL[suffix] if suffix in _DECIMAL else int(suffix[1:] or 0)
            number = number.scaleb(power)
        value = math.ceil(number)
    return value if -_MAX <= value <= _MAX else None
