"""Certificates of a control plane: one authority, a pair a component, and one a person.

Who somebody is to the API server stands in the subject: the common name is the user, organisations
are groups.
"""

from __future__ import annotations

import base64
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

_DAYS = "2"
_OPENSSL_S_MAX = 60.0
_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    cert: Path
    key: Path


class Authority:
    """Signs certificates in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.own = self._pair("ca")
        subject = ("-subj", "/CN=rig", "-days", _DAYS)
        _openssl("req", "-x509", *_CURVE, *subject, *_files(self.own))
        # Tokens of service accounts are signed by a key, not by a certificate.
        self.accounts = self._pair("service-accounts")
        _openssl("req", "-x509", *_CURVE, *subject, *_files(self.accounts))

    def issue(
        self, user: str, *, groups: tuple[str, ...] = (), names: tuple[str, ...] = ()
    ) -> Pair:
        """A pair for a user of some groups; `names` are those that a server is called by."""
        pair = self._pair(user.replace(":", "-"))
        request = pair.cert.with_suffix(".csr")
        subject = "".join(f"/O={group}" for group in groups) + f"/CN={user}"
        _openssl(
            "req", "-new", *_CURVE, "-subj", subject, "-keyout", str(pair.key), "-out", str(request)
        )
        extensions = pair.cert.with_suffix(".cnf")
        lines = ["extendedKeyUsage=serverAuth,clientAuth"]
        if names:
            lines.append(f"subjectAltName={','.join(names)}")
        extensions.write_text("\n".join(lines) + "\n")
        signing = ("-CA", str(self.own.cert), "-CAkey", str(self.own.key), "-CAcreateserial")
        _openssl(
            *("x509", "-req", "-in", str(request), "-days", _DAYS, *signing),
            *("-extfile", str(extensions), "-out", str(pair.cert)),
        )
        return pair

    def kubeconfig(self, user: str, server: str, *, groups: tuple[str, ...] = ()) -> Path:
        """A kubeconfig of a user, which holds all that it needs."""
        pair = self.issue(user, groups=groups)
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "rig",
                    "cluster": {
                        "server": server,
                        "certificate-authority-data": _encoded(self.own.cert),
                    },
                }
            ],
            "users": [
                {
                    "name": user,
                    "user": {
                        "client-certificate-data": _encoded(pair.cert),
                        "client-key-data": _encoded(pair.key),
                    },
                }
            ],
            "contexts": [{"name": "rig", "context": {"cluster": "rig", "user": user}}],
            "current-context": "rig",
        }
        path = pair.cert.with_suffix(".kubeconfig")
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(document))
        return path

    def _pair(self, name: str) -> Pair:
        return Pair(self.folder / f"{name}.pem", self.folder / f"{name}.key")


def _files(pair: Pair) -> tuple[str, ...]:
    return ("-keyout", str(pair.key), "-out", str(pair.cert))


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _openssl(*words: str) -> None:
    done = subprocess.run(
        ["openssl", *words], check=False, capture_output=True, text=True, timeout=_OPENSSL_S_MAX
    )
    assert done.returncode == 0, f"openssl {' '.join(words)}: {done.stderr}"
