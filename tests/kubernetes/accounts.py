"""Clients with the rights of one service account, and no others."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from clients.kubernetes import Identity, KubernetesClient
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.stack import ClusterStack
from tools import locate
from tools.kubernetes_recipes import KUBERNETES


def token_of(plane: ControlPlane, namespace: str, name: str) -> bytes:
    """What the kubelet would give a pod of an account."""
    kubectl = locate.folder(KUBERNETES.full_name) / "kubectl"
    command = [kubectl, "--kubeconfig", plane.admin, "-n", namespace, "create", "token", name]
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


@asynccontextmanager
async def as_account(
    plane: ControlPlane, stack: ClusterStack, name: str, folder: Path
) -> AsyncGenerator[KubernetesClient]:
    """A client with the token that the kubelet would give a pod."""
    token = folder / "token"
    token.write_bytes(await asyncio.to_thread(token_of, plane, stack.namespace, name))
    identity = Identity(plane.server, token, plane.authority.own.cert)
    async with KubernetesClient(identity) as client:
        yield client
