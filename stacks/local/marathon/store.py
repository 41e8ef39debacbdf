"""What Marathon keeps in ZooKeeper, under the paths where the real one keeps it.

`<zk>/state/<category>/<bucket>/<id>` with the category's objects spread over sixteen buckets by the
hash of their id, versions of apps as children, `framework-id` in a category of its own. The content
is JSON here and protobuf there; nodes above 64 KiB are compressed in both. Source:
ZkPersistenceStore.scala, ZkStoreSerialization.scala.
"""

from __future__ import annotations

import contextlib
import gzip
import json
from dataclasses import dataclass, field
from typing import Any

from stacks.local.marathon.definition import App
from stacks.local.marathon.groups import Group, Tree
from stacks.local.marathon.instances import Instance
from stacks.local.marathon.plan import Plan, make_plan
from stacks.local.mesos.values import Json
from stacks.local.session import NodeExistsError, NoNodeError, Session

BUCKETS = 16
_COMPRESS_BYTES = 65_536
_VERSIONS_MAX = 50
_STORAGE_VERSION = "1.10.26"
_GZIP = b"\x1f\x8b"


def bucket(key: str) -> str:
    """One of sixteen, by Java's hash of the id."""
    number = 0
    for character in key:
        number = (number * 31 + ord(character)) & 0xFFFFFFFF
    signed = number - (1 << 32) if number >= 1 << 31 else number
    return f"{abs(signed) % BUCKETS:x}"


def key_of(path: str) -> str:
    """An app's path as a node's name."""
    return path.strip("/").replace("/", "_")


@dataclass
class Loaded:
    """All of it, as an earlier process left it."""

    framework_id: str | None = None
    tree: Tree | None = None
    instances: list[Instance] = field(default_factory=list[Instance])
    plans: list[Plan] = field(default_factory=list[Plan])
    failures: dict[str, Json] = field(default_factory=dict[str, Json])


class Store:
    """Reads and writes below `<zk>/state`; every write is repeated until the ensemble has it."""

    def __init__(self, session: Session, path: str) -> None:
        self._session = session
        self._path = f"{path}/state"

    def _place(self, category: str, key: str) -> str:
        return f"{self._path}/{category}/{bucket(key)}/{key}"

    async def _write(
        self, category: str, key: str, content: Any, child: str | None = None, *, new: bool = False
    ) -> None:
        """Write a node; with `new` it is seldom there already, which spares a question."""
        path = self._place(category, key) + (f"/{child}" if child else "")
        data = json.dumps(content, separators=(",", ":")).encode()
        if len(data) > _COMPRESS_BYTES:
            data = gzip.compress(data)

        async def write() -> None:
            if new and await self._create(path, data):
                return
            try:
                await self._session.set(path, data)
            except NoNodeError:
                await self._create(path, data)

        await self._session.insist(write)

    async def _create(self, path: str, data: bytes) -> bool:
        """Create a node, with its folders where they are missing; false: it was there."""
        try:
            await self._session.create(path, data, acl=self._session.own_acl)
        except NoNodeError:
            await self._session.ensure(path.rpartition("/")[0], self._session.own_acl)
            return await self._create(path, data)
        except NodeExistsError:
            # Also by an attempt whose answer was lost.
            return False
        return True

    async def _read(self, path: str) -> Any:
        try:
            data = (await self._session.get(path)).data
        except NoNodeError:
            return None
        return json.loads(gzip.decompress(data) if data.startswith(_GZIP) else data)

    async def _remove(self, category: str, key: str) -> None:
        path = self._place(category, key)

        async def remove() -> None:
            for child in await self._children(path):
                await self._session.delete(f"{path}/{child}")
            await self._session.delete(path)

        await self._session.insist(remove)

    async def _children(self, path: str) -> list[str]:
        try:
            return sorted(await self._session.children(path))
        except NoNodeError:
            return []

    async def _all(self, category: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for part in await self._children(f"{self._path}/{category}"):
            folder = f"{self._path}/{category}/{part}"
            for key in await self._children(folder):
                content = await self._read(f"{folder}/{key}")
                if content is not None:
                    found[key] = content
        return found

    # Everything

    async def load(self) -> Loaded:
        """Read what an earlier process left."""
        await self._session.ensure(self._path, self._session.own_acl)
        version = f"{self._path}/storage-version"
        if not await self._session.exists(version):
            with contextlib.suppress(NodeExistsError):
                await self._session.create(
                    version, _STORAGE_VERSION.encode(), acl=self._session.own_acl
                )
        loaded = Loaded(framework_id=await self._read(self._place("framework-id", "id")))
        root = await self._read(self._place("group", "root"))
        if root is not None:
            loaded.tree = await self._tree(root)
        loaded.instances = [Instance.read(one) for one in (await self._all("instance")).values()]
        for content in (await self._all("deployment")).values():
            original = await self._tree(content["original"])
            target = await self._tree(content["target"])
            plan = make_plan(content["id"], original, target, content["version"])
            loaded.plans.append(plan)
        failures = await self._all("taskFailures")
        loaded.failures = {one["appId"]: one for one in failures.values()}
        return loaded

    async def _tree(self, content: Json) -> Tree:
        apps: dict[str, App] = {}
        for path, version in content["apps"].items():
            app = await self.app(path, version)
            if app is not None:
                apps[path] = app
        groups = {
            path: Group(one["version"], tuple(one["dependencies"]))
            for path, one in content["groups"].items()
        }
        return Tree(content["version"], apps, groups)

    async def keep_framework_id(self, framework_id: str) -> None:
        """Remember who we are: without it every task is somebody else's."""
        await self._write("framework-id", "id", framework_id)

    # Apps and groups

    async def keep_tree(self, tree: Tree, before: Tree) -> None:
        """Write new versions of apps, then the root that names them."""
        for path, app in tree.apps.items():
            if before.apps.get(path) != app:
                await self._keep_app(app)
        await self._write("group", "root", _document(tree))

    async def _keep_app(self, app: App) -> None:
        content = {
            "definition": app.definition,
            "version": app.version,
            "lastScalingAt": app.last_scaling_at,
            "lastConfigChangeAt": app.last_config_change_at,
        }
        await self._write("apps", key_of(app.id), content)
        await self._write("apps", key_of(app.id), content, child=app.version, new=True)
        for old in (await self.versions(app.id))[_VERSIONS_MAX:]:
            await self._session.delete(f"{self._place('apps', key_of(app.id))}/{old}")

    async def versions(self, path: str) -> list[str]:
        """Versions of an app that are kept, the newest first."""
        place = self._place("apps", key_of(path))
        return sorted(await self._session.insist(lambda: self._children(place)), reverse=True)

    async def app(self, path: str, version: str) -> App | None:
        """One version of an app."""
        place = f"{self._place('apps', key_of(path))}/{version}"
        content = await self._session.insist(lambda: self._read(place))
        if content is None:
            return None
        return App(
            content["definition"],
            content["version"],
            content["lastScalingAt"],
            content["lastConfigChangeAt"],
        )

    async def drop_app(self, path: str) -> None:
        """Forget an app that is gone, with its versions."""
        await self._remove("apps", key_of(path))
        await self._remove("taskFailures", key_of(path))

    # Instances, deployments, failures

    async def keep_instance(self, instance: Instance) -> None:
        """Write an instance; the first time before its task is launched."""
        await self._write("instance", instance.id, instance.document())

    async def drop_instance(self, instance: Instance) -> None:
        """Forget an instance."""
        await self._remove("instance", instance.id)

    async def keep_plan(self, plan: Plan) -> None:
        """Write a deployment before its first step."""
        content = {
            "id": plan.id,
            "version": plan.version,
            "original": _document(plan.original),
            "target": _document(plan.target),
        }
        await self._write("deployment", plan.id, content, new=True)

    async def drop_plan(self, plan: Plan) -> None:
        """Forget a deployment that is over."""
        await self._remove("deployment", plan.id)

    async def keep_failure(self, app_id: str, failure: Json) -> None:
        """Remember the last failure of an app."""
        await self._write("taskFailures", key_of(app_id), failure)


def _document(tree: Tree) -> Json:
    return {
        "version": tree.version,
        "apps": {path: app.version for path, app in tree.apps.items()},
        "groups": {
            path: {"version": group.version, "dependencies": list(group.dependencies)}
            for path, group in tree.groups.items()
        },
    }
