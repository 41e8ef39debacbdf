"""A credential on HTTP requests, as Mesos wants it: `principal:secret`, basic.

What asks and what answers are processes of the rig, so both forms of it stand here.
"""

from __future__ import annotations

import base64
import hmac


def header(credential: str) -> str:
    """Value of the `Authorization` header that carries a credential."""
    return "Basic " + base64.b64encode(credential.encode()).decode()


def principal(credential: str) -> str:
    """Whose a credential is."""
    return credential.partition(":")[0]


def challenge(realm: str) -> dict[str, str]:
    """Headers of a 401: which credential is wanted, and how."""
    return {"WWW-Authenticate": f'Basic realm="{realm}"'}


def admits(credential: str | None, given: str | None) -> bool:
    """Whether a request's `Authorization` header may pass; None as credential lets all pass."""
    if credential is None:
        return True
    # In constant time: how long a refusal takes must not tell how much was right.
    return hmac.compare_digest((given or "").encode(), header(credential).encode())
