"""Calls of the Kubernetes API: by discovery, without a type per kind, over TLS with a certificate.

Objects are JSON documents. Writing is server-side apply: the server merges what we declare with
what others own, and remembers whose each field is.
"""

from __future__ import annotations

import base64
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import httpx
import yaml

from tests.providers.cluster.errors import RefusedError, UnknownKindError, UnreachableError

Object = dict[str, Any]
MANAGER = "pulumi-kubernetes"
"""Who applies where nobody says more."""
_CALL_S_MAX = 30.0
_APPLY = {"content-type": "application/apply-patch+yaml"}
_NOT_FOUND = 404


class Cluster:
    """One API server, as one user. Safe to be used by several threads."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._kinds: dict[str, dict[str, Mapping[str, Any]]] = {}

    @classmethod
    def of_kubeconfig(cls, path: Path) -> Self:
        """Connect as a kubeconfig's current context says; it must hold certificates as data."""
        document = yaml.safe_load(path.read_text())
        context = _named(document["contexts"], document["current-context"])["context"]
        cluster = _named(document["clusters"], context["cluster"])["cluster"]
        user = _named(document["users"], context["user"])["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        tls = ssl.create_default_context(cadata=authority)
        # The library reads a key from a file only.
        with tempfile.NamedTemporaryFile() as file:
            for part in ("client-certificate-data", "client-key-data"):
                file.write(base64.b64decode(user[part]))
            file.flush()
            tls.load_cert_chain(file.name)
        limits = httpx.Limits(max_connections=16)
        return cls(
            httpx.Client(base_url=cluster["server"], verify=tls, timeout=_CALL_S_MAX, limits=limits)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def is_ready(self) -> bool:
        """Whether the server says that it serves; also when nothing answers yet."""
        try:
            return self._client.get("/readyz").is_success
        except httpx.TransportError:
            return False

    def apply(
        self, wanted: Object, *, manager: str = MANAGER, force: bool = False, dry_run: bool = False
    ) -> Object:
        """Make an object what is declared; returns it as it is then.

        Raises:
            RefusedError: `Conflict` where another manager owns a field and `force` is not set.
            UnknownKindError: there are no such objects.
            UnreachableError: nobody answers.
        """
        parameters = {"fieldManager": manager, "force": str(force).lower()}
        if dry_run:
            parameters["dryRun"] = "All"
        what = f"apply {told(wanted)}"
        path = self._path_of(wanted)
        return self._call("PATCH", path, what, parameters=parameters, body=wanted, headers=_APPLY)

    def create(self, wanted: Object) -> Object:
        """Create an object that must not be there yet."""
        path = self._path_of(wanted).rpartition("/")[0]
        return self._call("POST", path, f"create {told(wanted)}", body=wanted)

    def patch(self, of: Object, change: Mapping[str, Any], *, manager: str) -> Object:
        """Change an object as somebody else would, by a merge patch."""
        return self._call(
            "PATCH",
            self._path_of(of),
            f"patch {told(of)}",
            parameters={"fieldManager": manager},
            body=dict(change),
            headers={"content-type": "application/merge-patch+json"},
        )

    def get(
        self, api_version: str, kind: str, name: str, namespace: str | None = None
    ) -> Object | None:
        """An object as it is now; None when there is none."""
        metadata = {"name": name, "namespace": namespace}
        wanted = {"apiVersion": api_version, "kind": kind, "metadata": metadata}
        return self.find(wanted)

    def find(self, of: Object) -> Object | None:
        """The live form of an object; None when there is none."""
        try:
            return self._call("GET", self._path_of(of), f"read {told(of)}")
        except RefusedError as error:
            if error.reason == "NotFound":
                return None
            raise

    def list(
        self, api_version: str, kind: str, namespace: str | None = None, *, selector: str = ""
    ) -> list[Object]:
        """Objects of a kind, everywhere or of one namespace."""
        entry = self._kind(api_version, kind)
        path = f"{_root(api_version)}{f'/namespaces/{namespace}' if namespace else ''}"
        parameters = {"labelSelector": selector} if selector else {}
        found = self._call("GET", f"{path}/{entry['name']}", f"list {kind}", parameters=parameters)
        return found["items"]

    def delete(self, of: Object, *, propagation: str = "Foreground") -> bool:
        """Ask for an object's removal; whether there was one. It may still be there afterwards."""
        parameters = {"propagationPolicy": propagation}
        try:
            self._call("DELETE", self._path_of(of), f"delete {told(of)}", parameters=parameters)
        except RefusedError as error:
            if error.reason == "NotFound":
                return False
            raise
        return True

    def namespaced(self, api_version: str, kind: str) -> bool:
        """Whether objects of a kind lie in namespaces.

        Raises:
            UnknownKindError: there are no such objects.
        """
        return bool(self._kind(api_version, kind)["namespaced"])

    def _path_of(self, of: Object) -> str:
        api_version, kind = str(of["apiVersion"]), str(of["kind"])
        entry = self._kind(api_version, kind)
        metadata = of["metadata"]
        path = _root(api_version)
        if entry["namespaced"]:
            path += f"/namespaces/{metadata.get('namespace') or 'default'}"
        return f"{path}/{entry['name']}/{metadata['name']}"

    def _kind(self, api_version: str, kind: str) -> Mapping[str, Any]:
        known = self._kinds.get(api_version, {})
        if kind not in known:
            # Not kept when it is missing: a definition may be created meanwhile.
            known = self._kinds[api_version] = self._discover(api_version)
        if kind not in known:
            msg = (
                f"expected the API server to know {kind} of {api_version}, saw "
                f"{len(known)} kinds of that group and not this one: install its definition first"
            )
            raise UnknownKindError(msg)
        return known[kind]

    def _discover(self, api_version: str) -> dict[str, Mapping[str, Any]]:
        try:
            found = self._call("GET", _root(api_version), f"list kinds of {api_version}")
        except RefusedError as error:
            if error.reason == "NotFound":
                return {}
            raise
        return {each["kind"]: each for each in found["resources"] if "/" not in each["name"]}

    def _call(
        self,
        method: str,
        path: str,
        what: str,
        *,
        parameters: Mapping[str, str] | None = None,
        body: Object | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Object:
        try:
            answer = self._client.request(
                method, path, params=parameters, json=body, headers=headers
            )
        except httpx.TransportError as error:
            msg = (
                f"expected an API server at {self._client.base_url} to {what}, saw none that "
                f"answers ({error}): start it, or correct the kubeconfig"
            )
            raise UnreachableError(msg) from None
        if answer.is_success:
            return answer.json()
        raise _refused(what, answer)


def _refused(what: str, answer: httpx.Response) -> RefusedError:
    try:
        status: Object = answer.json()
    except ValueError:
        status = {}
    # A path that no handler knows is answered with a text.
    fallback = "NotFound" if answer.status_code == _NOT_FOUND else str(answer.status_code)
    return RefusedError(
        what, status.get("reason") or fallback, status.get("message") or answer.text.strip()
    )


def part(of: Mapping[str, Any], *names: str) -> Object:
    """A part of a document by the names on the way to it; empty where there is none."""
    found: Any = of
    for name in names:
        found = found.get(name) or {}
    return found


def told(of: Object) -> str:
    """Kind and name of an object, for people."""
    metadata = of["metadata"]
    namespace = metadata.get("namespace")
    return f"{of['kind']} {f'{namespace}/' if namespace else ''}{metadata['name']}"


def _root(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)
