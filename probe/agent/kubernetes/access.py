"""Where the API server is, and as whom it is asked: a pod's service account, or a kubeconfig.

Tokens are read from their file for each request, because a kubelet exchanges them while they are in
use; authorities are read anew when their file changes. What a kubeconfig may say besides, and a
probe must not do for it (run a program that makes tokens, leave a certificate unchecked), is
refused.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from probe.agent.errors import AbsentError, SettingsError
from probe.agent.http import Place, parse_place
from probe.agent.publisher import read_token

_GRANT = "run in a pod with a service account, or set kubernetes.kubeconfig"
# Whatever a user entry may hold of these, it would have to be obeyed.
_REFUSED = {
    "exec": "a program that makes tokens: name a token or a certificate",
    "auth-provider": "a plugin that makes tokens: name a token or a certificate",
    "username": "a password, which API servers take no more: name a token or a certificate",
    "insecure-skip-tls-verify": "an unchecked certificate: name a certificate-authority",
    "proxy-url": "a proxy: name the API server itself",
    "tls-server-name": "another name in the certificate: name the API server by it",
}


class Trust:
    """Certificates of one API server's clients, loaded once until a file of them changes."""

    def __init__(
        self, authority: bytes | Path, pair: tuple[bytes | Path, bytes | Path] | None
    ) -> None:
        self._authority = authority
        self._pair = pair
        self._loaded: ssl.SSLContext | None = None
        self._seen: tuple[int, ...] = ()

    def context(self) -> ssl.SSLContext:
        """What a new connection is made with.

        Raises:
            SettingsError: a file of it cannot be used.
        """
        try:
            seen = tuple(p.stat().st_mtime_ns for p in self._files())
            if self._loaded is None or seen != self._seen:
                self._loaded, self._seen = self._load(), seen
        except (OSError, ssl.SSLError, UnicodeDecodeError) as error:
            shown = getattr(error, "strerror", None) or str(error)
            msg = f"expected certificates for the API server, saw: {shown}: check the files"
            raise SettingsError(msg) from None
        return self._loaded

    def _files(self) -> list[Path]:
        return [p for p in (self._authority, *(self._pair or ())) if isinstance(p, Path)]

    def _load(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=_content(self._authority).decode())
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self._pair is not None:
            # The library reads keys from files only; this one is nowhere on a disk.
            descriptor = os.memfd_create("client-certificate")
            try:
                for part in self._pair:
                    os.write(descriptor, _content(part) + b"\n")
                context.load_cert_chain(f"/proc/self/fd/{descriptor}")
            finally:
                os.close(descriptor)
        return context


@dataclass(frozen=True)
class Access:
    """One API server, as one user. `namespace` is the user's own."""

    place: Place
    trust: Trust
    namespace: str = "default"
    token: str | Path | None = None

    def headers(self) -> Mapping[str, str]:
        """Who is asking.

        Raises:
            SettingsError: the file of a token cannot be used.
        """
        found = {"Accept": "application/json", "User-Agent": "mesos-platform-probe"}
        if self.token is not None:
            token = read_token(self.token) if isinstance(self.token, Path) else self.token
            found["Authorization"] = f"Bearer {token}"
        return found


def find(kubeconfig: str | None, service_account: str, environment: Mapping[str, str]) -> Access:
    """The API server that settings name, or that of the cluster that this process runs in.

    Raises:
        AbsentError: there is none.
        SettingsError: the kubeconfig cannot be used.
    """
    if kubeconfig is not None:
        return of_kubeconfig(Path(kubeconfig))
    host = environment.get("KUBERNETES_SERVICE_HOST")
    port = environment.get("KUBERNETES_SERVICE_PORT", "443")
    folder = Path(service_account)
    if not host or not port.isdigit() or not (folder / "token").exists():
        msg = f"no cluster around this process, and no token in {folder}"
        raise AbsentError(msg, grant=_GRANT)
    try:
        namespace = (folder / "namespace").read_text().strip() or "default"
    except OSError:  # Mounted by hand, without what a kubelet adds.
        namespace = "default"
    place = Place(host, int(port), is_tls=True)
    return Access(place, Trust(folder / "ca.crt", None), namespace, folder / "token")


def of_kubeconfig(path: Path) -> Access:
    """What a kubeconfig's current context says.

    Raises:
        SettingsError: it cannot be used.
    """
    import yaml  # noqa: PLC0415 - costs 2 MB, and pods do without

    try:
        document: Any = yaml.safe_load(path.read_bytes())
    except OSError as error:
        msg = f"expected a kubeconfig in {path}, saw: {error.strerror}"
        raise SettingsError(msg) from None
    except (yaml.YAMLError, ValueError) as error:
        # Its text quotes the line, which may hold a token.
        mark = getattr(error, "problem_mark", None)
        place = "" if mark is None else f" in line {mark.line + 1}"
        msg = f"expected YAML in {path}, saw a {type(error).__name__}{place}"
        raise SettingsError(msg) from None
    try:
        context = _named(document, "contexts", document["current-context"])["context"]
        cluster = _named(document, "clusters", context["cluster"])["cluster"]
        user: dict[str, Any] = _named(document, "users", context["user"])["user"] or {}
        _refuse(path, {**cluster, **user})
        place = parse_place(str(cluster["server"]))
        token = str(user.get("token") or "").strip()
        token_file: Any = user.get("tokenFile")
        if not token.isascii() or not token.isprintable():
            msg = "a token that is not of printable characters"
            raise ValueError(msg)
        authority = _part(path, cluster, "certificate-authority")
        cert, key = (_part(path, user, name) for name in ("client-certificate", "client-key"))
        if authority is None or not place.is_tls:
            msg = "no https server with its certificate-authority"
            raise ValueError(msg)
    except (LookupError, TypeError, ValueError) as error:
        seen = f"{type(error).__name__}: {str(error)[:200]}"
        msg = f"expected a kubeconfig with a current context in {path}, saw {seen}"
        raise SettingsError(msg) from None
    pair = (cert, key) if cert is not None and key is not None else None
    return Access(
        place,
        Trust(authority, pair),
        str(context.get("namespace") or "default"),
        path.parent / str(token_file) if token_file else token or None,
    )


def _named(document: Any, list_: str, name: Any) -> dict[str, Any]:
    entries = cast("list[dict[str, Any]]", document[list_])
    for entry in entries:
        if entry["name"] == name:
            return entry
    msg = f"{name!r} in {list_}"
    raise LookupError(msg)


def _refuse(path: Path, entry: Mapping[str, Any]) -> None:
    for name, why in _REFUSED.items():
        if entry.get(name):
            msg = f"expected no {name!r} in {path}, saw {why}"
            raise SettingsError(msg)


def _part(path: Path, entry: Mapping[str, Any], name: str) -> bytes | Path | None:
    """A certificate or key, by its content or by its file."""
    data: Any = entry.get(f"{name}-data")
    if data:
        try:
            return base64.b64decode(str(data), validate=True)
        except binascii.Error as error:
            msg = f"{name}-data: {error}"
            raise ValueError(msg) from None
    file: Any = entry.get(name)
    return path.parent / str(file) if file else None


def _content(part: bytes | Path) -> bytes:
    return part if isinstance(part, bytes) else part.read_bytes()
