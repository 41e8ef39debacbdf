"""How a client says who it is, and whom it believes: by files, never by values.

Files are read when a client is made, so that a rotated secret is taken up by the next one.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from clients.errors import AccessError


@dataclass(frozen=True)
class Tls:
    """Talk TLS. Without `ca_file` the system's authorities are believed.

    `cert_file` and `key_file` are what the client shows where servers ask for it; both or neither.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def __post_init__(self) -> None:
        if (self.cert_file is None) is not (self.key_file is None):
            msg = "expected cert_file and key_file together, saw one of them: give both or neither"
            raise ValueError(msg)

    def context(self) -> ssl.SSLContext:
        """Read the files.

        Raises:
            AccessError: one of them cannot be used.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(
                str(file) for file in (self.ca_file, self.cert_file, self.key_file) if file
            )
            msg = f"expected PEM files in {files}, saw {error.strerror or error}: check their paths"
            raise AccessError(msg) from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


def scheme(tls: Tls | None) -> str:
    """`http` or `https`."""
    return "http" if tls is None else "https"


def read_identity(path: Path) -> tuple[str, str]:
    """Read `principal:secret` from a file; returns the two.

    Raises:
        AccessError: the file cannot be read, or holds another form.
    """
    try:
        principal, colon, secret = path.read_text().strip().partition(":")
    except (OSError, UnicodeDecodeError) as error:
        seen = error.strerror if isinstance(error, OSError) else "bytes that are no text"
        msg = f"expected a credential in {path}, saw {seen}: create it with mode 0600"
        raise AccessError(msg) from None
    if not principal or not colon or not secret:
        msg = f"expected principal:secret in {path}, saw another form: write it anew"
        raise AccessError(msg)
    return principal, secret
