"""An app of Marathon.

Declared fields are compared with what Marathon has, and only they: Marathon's defaults stay its
own. A field that is no longer declared is reset. `instances` is left alone where an autoscaler or a
drain owns it. An app that is there already and is another is not taken over unasked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import Resource as DynamicResource

from clients.marathon.coverage import differences, tell, unchanged
from clients.marathon.definition import read_app
from clients.marathon.model import App
from components.errors import AlreadyThereError
from components.marathon import deploying
from components.marathon.deploying import (
    TIMEOUT_S,
    AwaitDeployments,
    Call,
    ChangeApp,
    CreateApp,
    DeleteApp,
    ReplaceApp,
)
from components.marathon.endpoint import MarathonEndpoint, connect
from components.runtime import Json, ObjectProvider, Session

if TYPE_CHECKING:
    from clients.marathon import MarathonClient

INSTANCES = frozenset({"instances"})


@dataclass(frozen=True)
class AppSpec:
    """What is declared. `is_scaled_elsewhere`: `instances` counts only when it is created."""

    definition: Mapping[str, Any]
    is_scaled_elsewhere: bool = False
    adopt: bool = False
    timeout_s: float = TIMEOUT_S

    @property
    def id(self) -> str:
        """The app's absolute id."""
        return str(self.definition["id"])

    @property
    def ignored(self) -> frozenset[str]:
        """Fields that others own."""
        return INSTANCES if self.is_scaled_elsewhere else frozenset()


def plan(old: AppSpec | None, new: AppSpec | None, observed: App | None) -> tuple[Call, ...]:
    """Decide what to call; `observed` is the app of `new`, or of `old` where that is None.

    Raises:
        AlreadyThereError: there is another app of this id that was not declared here.
    """
    if new is None:
        return () if observed is None or old is None else (DeleteApp(old.id),)
    if observed is None:
        return (CreateApp(new.definition),)
    different = differences(new.definition, observed.definition, ignore=new.ignored)
    if old is None and different and not new.adopt:
        seen = f"one that differs in {', '.join(different)}"
        raise AlreadyThereError(what=f"app {new.id}", seen=seen)
    if old is not None and unchanged(
        old.definition, new.definition, observed.definition, ignore=new.ignored
    ):
        # Only replacing resets what is not named, and what others own would be reset with it.
        definition = dict(new.definition)
        if new.is_scaled_elsewhere:
            definition["instances"] = observed.instances
        return (ReplaceApp(new.id, definition),)
    if different:
        return (ChangeApp(new.id, {name: new.definition[name] for name in different}),)
    if observed.deployments:
        return (AwaitDeployments(observed.deployments),)
    return ()


class AppSession(Session[AppSpec, App | None, Call]):
    """One app of one Marathon."""

    def __init__(self, client: MarathonClient, spec: AppSpec) -> None:
        self._client = client
        self._spec = spec

    async def observe(self, spec: AppSpec) -> App | None:
        """The app as Marathon has it."""
        return await self._client.app(spec.id)

    def plan(
        self, old: AppSpec | None, new: AppSpec | None, observed: App | None
    ) -> tuple[Call, ...]:
        """See `plan`."""
        return plan(old, new, observed)

    async def perform(self, call: Call) -> None:
        """Make a call and wait for its deployment."""

        async def holds() -> bool:
            app = await self.observe(self._spec)
            if isinstance(call, DeleteApp):
                return app is None
            return app is not None and not differences(
                self._spec.definition, app.definition, ignore=self._spec.ignored
            )

        await deploying.perform(self._client, call, timeout_s=self._spec.timeout_s, holds=holds)

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.close()


class AppProvider(ObjectProvider[AppSpec, App | None, Call]):
    """Carries apps to Pulumi."""

    def read_spec(self, spec: Json) -> AppSpec:
        """Parse."""
        return AppSpec(
            read_app(spec["definition"]),
            is_scaled_elsewhere=bool(spec["is_scaled_elsewhere"]),
            adopt=bool(spec["adopt"]),
            timeout_s=float(spec["timeout_s"]),
        )

    def session(self, endpoint: Json, spec: Json) -> AppSession:
        """Connect."""
        return AppSession(connect(endpoint), self.read_spec(spec))

    def identity(self, spec: Json) -> str:
        """The app."""
        return str(read_app(spec["definition"])["id"])

    def expected(self, spec: AppSpec) -> Json:
        """No declared field is another."""
        del spec
        return {"different": {}}

    def seen(self, spec: AppSpec, observed: App | None) -> Json | None:
        """Declared fields that are others; None when the app is gone."""
        if observed is None:
            return None
        found = differences(spec.definition, observed.definition, ignore=spec.ignored)
        return {"different": tell(observed.definition, found)}


@dataclass(frozen=True)
class AppArgs:
    """`definition` in Marathon's own field names; a field that it does not know is refused.

    `timeout_s` bounds its deployment, after which it is rolled back.
    """

    definition: Mapping[str, Any]
    is_scaled_elsewhere: bool = False
    adopt: bool = False
    timeout_s: float = TIMEOUT_S

    @property
    def properties(self) -> Json:
        """As plain values of a resource."""
        return {
            "definition": dict(self.definition),
            "is_scaled_elsewhere": self.is_scaled_elsewhere,
            "adopt": self.adopt,
            "timeout_s": float(self.timeout_s),
        }


class MarathonApp(DynamicResource, module="marathon", name="App"):
    """An app."""

    def __init__(
        self,
        name: str,
        args: AppArgs,
        endpoint: MarathonEndpoint,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        properties = {"endpoint": endpoint.properties, "spec": args.properties}
        super().__init__(AppProvider(), name, properties, opts)
