"""TLS to an ensemble: from the files that the rules name to what a connection wants."""

from __future__ import annotations

import ssl
import stat
from pathlib import Path

from sync_engine.errors import RulesError
from sync_engine.rules import SideTls


def make_context(tls: SideTls | None) -> ssl.SSLContext | None:
    """The context of a side's connections; None for one without TLS.

    Raises:
        RulesError: a file is missing, of another kind, or a key that everybody may read.
    """
    if tls is None:
        return None
    if tls.key_file is not None:
        _check_private(tls.key_file)
    try:
        context = ssl.create_default_context(
            ssl.Purpose.SERVER_AUTH, cafile=None if tls.ca_file is None else str(tls.ca_file)
        )
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = tls.check_hostname
        if tls.cert_file is not None:
            context.load_cert_chain(tls.cert_file, tls.key_file, read_password(tls))
    except (OSError, ValueError) as error:
        # Which file it was the library does not say.
        named = ", ".join(str(f) for f in (tls.ca_file, tls.cert_file, tls.key_file) if f)
        msg = f"expected PEM files of certificates and their key in {named}, saw {error}: correct"
        raise RulesError(msg) from None
    return context


def read_password(tls: SideTls) -> str | None:
    """The password of the key.

    Raises:
        RulesError: its file is missing, or everybody may read it.
    """
    if tls.key_password_file is None:
        return None
    _check_private(tls.key_password_file)
    try:
        return tls.key_password_file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"expected the key's password in {tls.key_password_file}, saw {error}: write it there"
        raise RulesError(msg) from None


def _check_private(file: Path) -> None:
    try:
        mode = file.stat().st_mode
    except OSError as error:
        msg = f"expected a secret in {file}, saw {error.strerror}: correct the path"
        raise RulesError(msg) from None
    if mode & stat.S_IROTH:
        msg = f"expected {file} to be its owner's, saw that everybody may read it: chmod 600 it"
        raise RulesError(msg)
