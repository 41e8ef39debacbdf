"""Calls of the Kubernetes API, as a pod's service account.

Paths and JSON documents, without a type per kind: who looks after a few kinds needs no library of
all. The token is read for each call, because the kubelet renews it.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from clients.closing import Closing
from clients.kubernetes.errors import (
    ForbiddenError,
    RefusedError,
    UnknownKindError,
    UnreachableError,
)

Object = dict[str, Any]
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_CALL_S_MAX = 30.0
_NOT_FOUND = 404
# More of one workload there are never; a longer answer would be of something else.
_LIST_MAX = 5000
_MERGE = {"content-type": "application/merge-patch+json"}


@dataclass(frozen=True)
class Identity:
    """Where the API is, and the files that say who calls."""

    server: str
    token_file: Path
    ca_file: Path


@dataclass(frozen=True)
class Access:
    """A call that somebody may or may not make; `pods/eviction` names a part of a resource."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource} {self.name}"


def in_cluster() -> Identity:
    """What the kubelet gives a pod.

    Raises:
        UnreachableError: this is no pod with a service account.
    """
    host, port = (os.environ.get(f"KUBERNETES_SERVICE_{name}") for name in ("HOST", "PORT"))
    if not host or not port:
        msg = (
            "expected KUBERNETES_SERVICE_HOST and _PORT of a pod, saw none: run this in a pod "
            "whose service account token is mounted"
        )
        raise UnreachableError(msg)
    address = f"[{host}]" if ":" in host else host
    return Identity(f"https://{address}:{port}", _ACCOUNT / "token", _ACCOUNT / "ca.crt")


class KubernetesClient(Closing):
    """One API server, as one service account."""

    def __init__(
        self, identity: Identity, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        try:
            context = ssl.create_default_context(cafile=identity.ca_file)
        except OSError as error:
            msg = f"expected the API's authority in {identity.ca_file}, saw {error.strerror}"
            raise UnreachableError(msg) from None
        self._identity = identity
        self._http = httpx.AsyncClient(
            base_url=identity.server,
            verify=context,
            timeout=_CALL_S_MAX,
            trust_env=False,
            transport=transport,
        )

    async def close(self) -> None:
        """Close connections."""
        await self._http.aclose()

    async def get(self, path: str) -> Object | None:
        """The object at a path; None when there is none."""
        try:
            return await self._call("GET", path)
        except RefusedError as error:
            if error.reason == "NotFound":
                return None
            raise

    async def list(self, path: str, labels: Mapping[str, str]) -> list[Object]:
        """Objects of a collection that have all of these labels.

        Raises:
            UnknownKindError: there is no such collection.
        """
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        parameters = {"labelSelector": selector, "limit": str(_LIST_MAX)}
        try:
            return (await self._call("GET", path, parameters=parameters))["items"]
        except RefusedError as error:
            if error.reason == "NotFound":
                raise _unknown(path) from None
            raise

    async def create(self, path: str, body: Object) -> Object:
        """Create an object in a collection; one that is there already is a success.

        Raises:
            UnknownKindError: there is no such collection.
        """
        try:
            return await self._call("POST", path, body=body)
        except RefusedError as error:
            if error.reason == "AlreadyExists":
                return body
            if error.reason == "NotFound":
                raise _unknown(path) from None
            raise

    async def patch(self, path: str, change: Object) -> None:
        """Change fields of an object, by a merge patch."""
        await self._call("PATCH", path, body=change, headers=_MERGE)

    async def delete(self, path: str, *, uid: str | None = None) -> None:
        """Ask for an object's removal; gone already is a success.

        With a `uid` another object of that name is left alone, which is one too: it is gone.
        """
        body: Object | None = None
        if uid is not None:
            preconditions = {"preconditions": {"uid": uid}}
            body = {"apiVersion": "v1", "kind": "DeleteOptions", **preconditions}
        try:
            await self._call("DELETE", path, body=body)
        except RefusedError as error:
            if error.reason != "NotFound" and not (uid and error.reason == "Conflict"):
                raise

    async def may(self, asked: Access) -> bool:
        """Whether the caller may do something, by the server's own word; it changes nothing."""
        resource, _, subresource = asked.resource.partition("/")
        attributes = {
            "namespace": asked.namespace,
            "verb": asked.verb,
            "group": asked.group,
            "resource": resource,
            "subresource": subresource,
            "name": asked.name,
        }
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        status: Object = (await self._call("POST", path, body=body))["status"]
        return bool(status.get("allowed"))

    async def evict(self, namespace: str, pod: str, uid: str) -> bool:
        """Ask for a pod's removal as far as its disruption budget allows; whether it does.

        Another pod of that name is left alone, and that one's absence is a success.
        """
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": namespace},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
        try:
            await self._call("POST", path, body=body)
        except RefusedError as error:
            if error.reason == "TooManyRequests":
                return False
            if error.reason not in {"NotFound", "Conflict"}:
                raise
        return True

    async def _call(
        self,
        method: str,
        path: str,
        *,
        parameters: Mapping[str, str] | None = None,
        body: Object | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Object:
        try:
            token = self._identity.token_file.read_text().strip()
            answer = await self._http.request(
                method,
                path,
                params=parameters,
                json=body,
                headers={**(headers or {}), "authorization": f"Bearer {token}"},
            )
        except (OSError, httpx.TransportError) as error:
            msg = (
                f"expected the API server at {self._identity.server} to {method} {path}, saw "
                f"{error!r}: check the pod's token and the policies on its way out"
            )
            raise UnreachableError(msg) from None
        if answer.is_success:
            return answer.json()
        what = f"{method} {path}"
        raise _refused(what, answer)


def _unknown(path: str) -> UnknownKindError:
    return UnknownKindError(
        f"expected the API server to serve {path}, saw no such kind: install its definition first"
    )


def _refused(what: str, answer: httpx.Response) -> RefusedError:
    status: Object = {}
    if answer.headers.get("content-type", "").startswith("application/json"):
        status = answer.json()
    fallback = "NotFound" if answer.status_code == _NOT_FOUND else str(answer.status_code)
    reason = status.get("reason") or fallback
    kind = ForbiddenError if reason == "Forbidden" else RefusedError
    return kind(what, reason, status.get("message") or answer.text.strip()[:200])
