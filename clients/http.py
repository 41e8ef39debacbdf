"""HTTP clients with the access of `clients.access`.

Proxies and credentials of the environment (`HTTPS_PROXY`, `.netrc`) are not used: what reaches a
cluster stands in the arguments, or nowhere.
"""

from __future__ import annotations

import functools
import ssl
from pathlib import Path

import httpx

from clients.access import Tls, read_identity


def read_credential(path: Path | None) -> httpx.BasicAuth | None:
    """Read `principal:secret` from a file, as HTTP wants it; None without one.

    Raises:
        AccessError: the file cannot be read, or holds another form.
    """
    return None if path is None else httpx.BasicAuth(*read_identity(path))


def http_client(
    credential_file: Path | None,
    tls: Tls | None,
    *,
    timeout_s: float,
    transport: httpx.AsyncBaseTransport | None = None,
) -> httpx.AsyncClient:
    """An HTTP client with that access; `transport` replaces the network in tests.

    Raises:
        AccessError: a file cannot be used.
    """
    return httpx.AsyncClient(
        auth=read_credential(credential_file),
        verify=_default_context() if tls is None else tls.context(),
        timeout=timeout_s,
        follow_redirects=False,
        trust_env=False,
        transport=transport,
    )


@functools.cache
def _default_context() -> ssl.SSLContext:
    """What httpx would make for each client: to read all authorities takes some 20 ms each time."""
    return httpx.create_ssl_context(trust_env=False)
