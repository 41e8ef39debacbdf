"""A service whose versions take each other's place: two apps of Marathon, `<id>-a` and `<id>-b`.

One of them runs the declared definition. When that changes, the other one is rolled out beside it
(components.marathon.rollout says how), and the first removed once it is not needed. Which is which
shows in what they are, so that an update which was interrupted is gone on with; two versions of
which neither is declared are somebody's decision, and refused.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pulumi
import structlog
from pulumi.dynamic import CheckFailure, CheckResult
from pulumi.dynamic import Resource as DynamicResource

from clients.marathon.coverage import differences
from clients.marathon.definition import read_app
from clients.marathon.model import App
from components.errors import AlreadyThereError, ArgumentsError, ForeignContentError
from components.marathon import deploying
from components.marathon.app import INSTANCES
from components.marathon.deploying import AwaitDeployments, ChangeApp, DeleteApp
from components.marathon.endpoint import MarathonEndpoint, connect
from components.marathon.rollout import Decision, Memory, RolloutSpec, Strategy
from components.marathon.rollout_driver import Rollout
from components.runtime import Json, ObjectProvider, Session

if TYPE_CHECKING:
    from clients.marathon import MarathonClient

SUFFIXES = ("-a", "-b")
TIMEOUT_S = 3600.0
_POLL_S = 2.0
_IGNORED = frozenset({"id"})
_log = structlog.get_logger()


@dataclass(frozen=True)
class ServiceSpec:
    """What is declared. The definition's id has no suffix."""

    definition: Mapping[str, Any]
    rollout: RolloutSpec
    adopt: bool = False
    timeout_s: float = TIMEOUT_S

    @property
    def ids(self) -> tuple[str, str]:
        """Ids of both apps."""
        return (f"{self.definition['id']}{SUFFIXES[0]}", f"{self.definition['id']}{SUFFIXES[1]}")

    def version(self, app_id: str) -> dict[str, Any]:
        """The definition as one of the two apps."""
        return {**self.definition, "id": app_id}

    def covers(self, app: App) -> bool:
        """Whether an app is what is declared, whatever its number of instances."""
        return not differences(self.definition, app.definition, ignore=_IGNORED | INSTANCES)


class Versions(NamedTuple):
    """Both apps as Marathon has them."""

    a: App | None
    b: App | None

    @property
    def there(self) -> tuple[App, ...]:
        """Those that are there."""
        return tuple(app for app in self if app is not None)


@dataclass(frozen=True)
class RollOut:
    """Let the new app take the place of the old one, which may be absent."""

    old_id: str
    new_id: str


Call = RollOut | ChangeApp | DeleteApp | AwaitDeployments


def plan(old: ServiceSpec | None, new: ServiceSpec | None, observed: Versions) -> tuple[Call, ...]:
    """Decide what to call; `observed` is of the ids of `new`, or of `old` where that is None.

    Raises:
        AlreadyThereError: there is another app under one of the ids, not declared here.
        ForeignContentError: both are there and neither is what is declared.
    """
    if new is None:
        return tuple(DeleteApp(app.id) for app in observed.there)
    there = observed.there
    fitting = [app for app in there if new.covers(app)]
    if not there:
        return (RollOut(new.ids[1], new.ids[0]),)
    if old is None and not fitting and not new.adopt:
        names = " and ".join(app.id for app in there)
        raise AlreadyThereError(what=f"service {new.definition['id']}", seen=f"{names}, others")
    if len(there) == 1:
        return _with_one(new, there[0], is_fitting=bool(fitting))
    if not fitting:
        msg = (
            f"expected one of {' and '.join(new.ids)} to be what is declared, saw two others: a "
            "roll-out stopped half way and then something else was declared. Remove the one that "
            "is to go, then run this again"
        )
        raise ForeignContentError(msg)
    newest = max(fitting, key=lambda app: app.instances)
    other = next(app for app in there if app is not newest)
    return (RollOut(other.id, newest.id),)


def _with_one(new: ServiceSpec, app: App, *, is_fitting: bool) -> tuple[Call, ...]:
    if not is_fitting:
        other = new.ids[1] if app.id == new.ids[0] else new.ids[0]
        return (RollOut(app.id, other),)
    if app.deployments:
        return (AwaitDeployments(app.deployments),)
    if app.instances != new.rollout.instances:
        return (ChangeApp(app.id, {"instances": new.rollout.instances}),)
    return ()


class ServiceSession(Session[ServiceSpec, Versions, Call]):
    """One service of one Marathon."""

    def __init__(self, client: MarathonClient, spec: ServiceSpec) -> None:
        self._client = client
        self._spec = spec

    async def observe(self, spec: ServiceSpec) -> Versions:
        """Both apps."""
        a, b = spec.ids
        return Versions(await self._client.app(a), await self._client.app(b))

    def plan(
        self, old: ServiceSpec | None, new: ServiceSpec | None, observed: Versions
    ) -> tuple[Call, ...]:
        """See `plan`."""
        return plan(old, new, observed)

    async def perform(self, call: Call) -> None:
        """Roll out, or make a call and wait for its deployment."""
        if isinstance(call, RollOut):
            await self._roll_out(call)
            return

        async def holds() -> bool:
            there = (await self.observe(self._spec)).there
            if isinstance(call, DeleteApp):
                return all(app.id != call.app_id for app in there)
            return any(app.instances == self._spec.rollout.instances for app in there)

        await deploying.perform(
            self._client, call, timeout_s=self._spec.rollout.ready_timeout_s, holds=holds
        )

    async def _roll_out(self, call: RollOut) -> None:
        async def keep(decision: Decision) -> None:
            # Nothing but the log: memory that is lost is made up from what is seen.
            _log.info("rollout.decided", action=str(decision.action), reason=decision.reason)

        rollout = Rollout(
            self._client,
            self._spec.rollout,
            call.old_id,
            self._spec.version(call.new_id),
            clock=time.monotonic,
            keep=keep,
            poll_s=_POLL_S,
        )
        await rollout.run(Memory(), timeout_s=self._spec.timeout_s)

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.close()


class ServiceProvider(ObjectProvider[ServiceSpec, Versions, Call]):
    """Carries services to Pulumi."""

    def read_spec(self, spec: Json) -> ServiceSpec:
        """Parse."""
        definition = read_app(spec["definition"])
        failures_max = spec.get("failures_max")
        rollout = RolloutSpec(
            strategy=Strategy(str(spec["strategy"])),
            instances=int(definition.get("instances", 1)),
            batch=int(spec["batch"]),
            shares=tuple(float(share) for share in spec["shares"]),
            minimum_healthy=float(spec["minimum_healthy"]),
            soak_s=float(spec["soak_s"]),
            ready_timeout_s=float(spec["ready_timeout_s"]),
            failures_max=None if failures_max is None else float(failures_max),
        )
        return ServiceSpec(
            definition,
            rollout,
            adopt=bool(spec["adopt"]),
            timeout_s=float(spec["timeout_s"]),
        )

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse also what would be judged by nobody."""
        result = super().check(_olds, news)
        try:
            check_judged(news["spec"].get("failures_max"))
        except ArgumentsError as error:
            return CheckResult(news, [*result.failures, CheckFailure("spec", str(error))])
        return result

    def session(self, endpoint: Json, spec: Json) -> ServiceSession:
        """Connect."""
        return ServiceSession(connect(endpoint), self.read_spec(spec))

    def identity(self, spec: Json) -> str:
        """The service."""
        return f"{read_app(spec['definition'])['id']}/service"

    def expected(self, spec: ServiceSpec) -> Json:
        """One app that is what is declared."""
        return {"versions": 1, "fitting": 1, "instances": spec.rollout.instances}

    def seen(self, spec: ServiceSpec, observed: Versions) -> Json | None:
        """How many apps there are, and how many of them are what is declared."""
        if not observed.there:
            return None
        fitting = [app for app in observed.there if spec.covers(app)]
        instances = sum(app.instances for app in fitting)
        return {"versions": len(observed.there), "fitting": len(fitting), "instances": instances}


def check_judged(failures_max: Any) -> None:
    """Refuse a bound on failed requests, which nobody counts for a resource.

    Raises:
        ArgumentsError: one is declared.
    """
    if failures_max is not None:
        msg = (
            f"expected no failures_max, saw {failures_max}: nobody counts the requests of these "
            "apps, so it would never be held to. Leave it out and give the app a health check "
            "that fails with its requests, or drive the rollout yourself "
            "(components.marathon.rollout_driver.Rollout) with a Traffic that counts them"
        )
        raise ArgumentsError(msg)


@dataclass(frozen=True)
class ServiceArgs:
    """`definition` as of an app, whose `instances` (1 by default) is the number in the end.

    The other fields are those of RolloutSpec. A declared `failures_max` is refused, in previews
    too: versions are judged by their health alone, and no traffic is moved between them.
    """

    definition: Mapping[str, Any]
    rollout: RolloutSpec
    adopt: bool = False
    timeout_s: float = TIMEOUT_S

    def __post_init__(self) -> None:
        instances = int(self.definition.get("instances", 1))
        # One number stands in one place: the definition's counts.
        object.__setattr__(self, "rollout", replace(self.rollout, instances=instances))

    @property
    def properties(self) -> Json:
        """As plain values of a resource."""
        failures_max = self.rollout.failures_max
        judged = {} if failures_max is None else {"failures_max": float(failures_max)}
        return {
            **judged,
            "definition": dict(self.definition),
            "strategy": str(self.rollout.strategy),
            "batch": self.rollout.batch,
            "shares": list(self.rollout.shares),
            "minimum_healthy": float(self.rollout.minimum_healthy),
            "soak_s": float(self.rollout.soak_s),
            "ready_timeout_s": float(self.rollout.ready_timeout_s),
            "adopt": self.adopt,
            "timeout_s": float(self.timeout_s),
        }


class MarathonRollout(DynamicResource, module="marathon", name="Rollout"):
    """A service whose changes are rolled out, each version judged by its instances' health."""

    def __init__(
        self,
        name: str,
        args: ServiceArgs,
        endpoint: MarathonEndpoint,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        properties = {"endpoint": endpoint.properties, "spec": args.properties}
        super().__init__(ServiceProvider(), name, properties, opts)
