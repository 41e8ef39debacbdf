"""Masters restarted and emptied on a real API server, with the rights that are declared for it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from clients.kubernetes import ForbiddenError
from stacks.migration.hosts.kubernetes import DeclaredSet, KubernetesMasters
from stacks.steps import Op
from tests.kubernetes.accounts import as_account
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.stack import ClusterStack, is_ready

_BOUND_S = 900
_READY_S_MAX = 240.0
_NAME = "blue-masters"
_ACCOUNT = "migration"


def uids_of_pods(stack: ClusterStack) -> dict[str, str]:
    """Uid of every pod, by name."""
    return {
        pod["metadata"]["name"]: pod["metadata"]["uid"]
        for namespace in (stack.namespace, stack.agents_namespace)
        for pod in stack.cluster.list("v1", "Pod", namespace)
    }


def uids_of_claims(stack: ClusterStack) -> dict[str, str]:
    """Uid of every claim, by name."""
    found = stack.cluster.list("v1", "PersistentVolumeClaim", stack.namespace)
    return {claim["metadata"]["name"]: claim["metadata"]["uid"] for claim in found}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """Names whose object is another, is gone, or is new."""
    return {name for name, _ in before.items() ^ after.items()}


@pytest.mark.timeout(_BOUND_S)
async def test_masters_are_restarted_and_emptied_and_nothing_else_is_touched(
    stack: ClusterStack, plane: ControlPlane, tmp_path: Path
) -> None:
    await asyncio.to_thread(stack.runner.up)
    declared = DeclaredSet.of(stack.runner.deployment(), _NAME)
    told: list[str] = []
    async with as_account(plane, stack, _ACCOUNT, tmp_path) as client:
        host = KubernetesMasters(client, declared, ready_s=_READY_S_MAX)
        found = await host.examine()
        assert found.ok, found.said

        pods, claims = uids_of_pods(stack), uids_of_claims(stack)
        await host.restart(1, told.append)
        assert changed(pods, uids_of_pods(stack)) == {f"{_NAME}-1"}
        assert changed(claims, uids_of_claims(stack)) == set()
        assert all(map(is_ready, stack.pods(_NAME)))

        pods = uids_of_pods(stack)
        assert set(await host.reset(told.append)) == {f"state-{_NAME}-{i}" for i in range(3)}
        assert changed(pods, uids_of_pods(stack)) == {f"{_NAME}-{i}" for i in range(3)}
        assert changed(claims, uids_of_claims(stack)) == {f"state-{_NAME}-{i}" for i in range(3)}
        assert {f"state-blue-zookeeper-{i}" for i in range(3)} <= claims.keys()
        assert all(map(is_ready, stack.pods(_NAME)))
        assert not await host.is_halted()

        # It may do that, and nothing else.
        space = f"namespaces/{stack.namespace}"
        core, apps = f"/api/v1/{space}", f"/apis/apps/v1/{space}"
        for call in (
            client.get(f"{core}/secrets/any"),
            client.delete(f"{core}/persistentvolumeclaims/state-blue-zookeeper-0"),
            client.delete(f"{core}/pods/{_NAME}-0"),
            client.patch(f"{apps}/statefulsets/blue-zookeeper", {"spec": {"replicas": 0}}),
            client.evict(stack.namespace, "blue-zookeeper-0", "any"),
        ):
            with pytest.raises(ForbiddenError):
                await call
    # What was changed is as declared again, and by whom it was does not keep the next update.
    changes = (await asyncio.to_thread(lambda: stack.runner.preview(refresh=True))).changes
    assert [step for step in changes if step.op is not Op.OTHER] == []
    stack.configure(cluster={"masters": {"replicas": 3, "quorum_of": 5}})
    await asyncio.to_thread(stack.runner.up)

    async with as_account(plane, stack, f"{_NAME}-caretaker", tmp_path) as client:
        found = await KubernetesMasters(client, declared, ready_s=_READY_S_MAX).examine()
        assert not found.ok
        assert f"may not patch statefulsets {_NAME}" in found.said
