"""Run-time objects of a cluster as resources: quota, weights, drains, apps.

Such an object lives in what a cluster's masters or Marathon remember. It belongs to the cluster and
not to a colour: its endpoint is where it can be reached today, and a changed endpoint is written
down without a call. Nothing is on the network in a preview. What a refresh saw stands in `observed`
beside what was declared, so that changes by hand show and are mended.

Each object is decided by a pure function, `plan(old, new, observed)` → calls. Here its calls are
made, what came of them is read back, and that is planned again until nothing is left to do, a few
times at most.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Coroutine, Mapping
from typing import Any, Generic, TypeVar

from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    CreateResult,
    DiffResult,
    ReadResult,
    UpdateResult,
)
from pulumi.runtime.rpc import UNKNOWN

from clients.errors import ClientError
from clients.marathon.errors import MarathonError
from clients.marathon.errors import UnreachableError as MarathonUnreachableError
from clients.mesos.errors import MesosError
from clients.mesos.errors import UnreachableError as MesosUnreachableError
from components.dynamic import Provider, for_people
from components.errors import ArgumentsError, NotConvergedError, ObjectError

Json = dict[str, Any]
OBSERVED = "observed"
# One round does it; a second repairs what somebody wrote in between. Who needs more has an enemy.
ROUNDS_MAX = 3
# A call that was sent and had no answer.
UNANSWERED = (MarathonUnreachableError, MesosUnreachableError)
_S = TypeVar("_S")
_O = TypeVar("_O")
_C = TypeVar("_C")
_T = TypeVar("_T")


class Session(Generic[_S, _O, _C]):
    """One object of one cluster, while it is looked at and changed."""

    @abstractmethod
    async def observe(self, spec: _S) -> _O:
        """Look at it."""

    @abstractmethod
    def plan(self, old: _S | None, new: _S | None, observed: _O) -> tuple[_C, ...]:
        """Decide: the pure function of the object's module."""

    @abstractmethod
    async def perform(self, call: _C) -> None:
        """Make one call."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of connections."""

    async def realise(self, old: _S | None, new: _S | None) -> _O:
        """Bring it to `new`, or to nothing; returns what is then seen.

        Raises:
            NotConvergedError: calls succeed, and it is another again each time.
        """
        spec = new if new is not None else old
        assert spec is not None
        for more in reversed(range(ROUNDS_MAX)):
            observed = await self.observe(spec)
            calls = self.plan(old, new, observed)
            if not calls:
                return observed
            try:
                for call in calls:
                    await self.perform(call)
            except UNANSWERED:
                # It may have arrived. What is seen next says so, and what is planned then.
                if not more:
                    raise
            if new is not None:
                old = new
        observed = await self.observe(spec)
        left = self.plan(old, new, observed)
        if not left:
            return observed
        msg = (
            f"expected {spec} to stay, saw it changed again after {ROUNDS_MAX} times: who else "
            f"writes it? {left[0]} would be next"
        )
        raise NotConvergedError(msg)


class ObjectProvider(Provider, Generic[_S, _O, _C]):
    """Create, read, update and delete one object. Properties: `endpoint` and `spec`."""

    @abstractmethod
    def read_spec(self, spec: Json) -> _S:
        """Parse what is declared.

        Raises:
            ValueError: it is no such object.
        """

    @abstractmethod
    def session(self, endpoint: Json, spec: Json) -> Session[_S, _O, _C]:
        """Connect."""

    @abstractmethod
    def identity(self, spec: Json) -> str:
        """Which object of its cluster it is; another identity is another object."""

    @abstractmethod
    def expected(self, spec: _S) -> Json:
        """What is seen when nothing was changed by hand."""

    @abstractmethod
    def seen(self, spec: _S, observed: _O) -> Json | None:
        """What stands in the state of what was seen; None when the object is gone."""

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse what no cluster can have, in previews too."""
        if _is_known(news):
            try:
                self.read_spec(news["spec"])
                check_endpoint(news["endpoint"])
            except (ValueError, MarathonError) as error:
                return CheckResult(news, [CheckFailure("spec", str(error))])
        return CheckResult(news, [])

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Compare what is declared with what was, and with what a refresh saw."""
        if not _is_known(_news):
            return DiffResult(changes=True)
        is_other = self._id(_olds) != self._id(_news)
        changed = [key for key in ("spec", "endpoint") if _olds.get(key) != _news.get(key)]
        return DiffResult(
            changes=bool(changed) or self._has_drifted(_olds),
            replaces=["spec"] if is_other else [],
            # The same role may be taken over from one resource by another.
            delete_before_replace=True,
        )

    @for_people
    def create(self, props: dict[str, Any]) -> CreateResult:
        """Make it; what is there already and is the same is taken as made."""
        return CreateResult(self._id(props), self._realise(props, None, props))

    @for_people
    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Look at it."""
        spec = self.read_spec(props["spec"])

        async def look(session: Session[_S, _O, _C]) -> Json | None:
            return self.seen(spec, await session.observe(spec))

        seen = self._run(props, look)
        if seen is None:
            return ReadResult("", {})
        return ReadResult(id_, {**_declared(props), OBSERVED: seen})

    @for_people
    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Change it; a changed endpoint alone is written down and asks nobody."""
        if _olds.get("spec") == _news.get("spec") and not self._has_drifted(_olds):
            return UpdateResult({**_declared(_news), OBSERVED: _olds[OBSERVED]})
        return UpdateResult(self._realise(_news, _olds, _news))

    @for_people
    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Take it back."""
        self._realise(_props, _props, None)

    def _id(self, properties: Mapping[str, Any]) -> str:
        return f"{properties['endpoint']['cluster']}/{self.identity(properties['spec'])}"

    def _has_drifted(self, properties: Mapping[str, Any]) -> bool:
        expected = self.expected(self.read_spec(properties["spec"]))
        return bool(properties.get(OBSERVED, expected) != expected)

    def _realise(self, at: Json, old: Json | None, new: Json | None) -> Json:
        before = None if old is None else self.read_spec(old["spec"])
        after = None if new is None else self.read_spec(new["spec"])

        async def work(session: Session[_S, _O, _C]) -> Json:
            observed = await session.realise(before, after)
            seen = None if after is None else self.seen(after, observed)
            return {**_declared(at), OBSERVED: seen}

        return self._run(at, work)

    def _run(self, at: Json, work: Any) -> Any:
        async def connected() -> Any:
            session = self.session(at["endpoint"], at["spec"])
            try:
                return await work(session)
            finally:
                await session.close()

        return run(connected())


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run to the end; errors of clients become errors of components, which people can read.

    Raises:
        ObjectError: the cluster refused, or was not to be reached.
    """
    try:
        return asyncio.run(work)
    except (ClientError, MesosError, MarathonError, ValueError) as error:
        raise ObjectError(str(error)) from None


def check_endpoint(endpoint: Mapping[str, Any]) -> None:
    """Refuse an endpoint that cannot be called.

    Raises:
        ArgumentsError: it names no address or no cluster.
    """
    if not endpoint.get("cluster") or not endpoint.get("addresses"):
        msg = f"expected an endpoint with a cluster's name and addresses, saw {dict(endpoint)}"
        raise ArgumentsError(msg)


def _declared(properties: Mapping[str, Any]) -> Json:
    return {key: properties[key] for key in ("endpoint", "spec")}


def _is_known(value: Any) -> bool:
    """Whether a preview knows all of a value already."""
    if isinstance(value, dict):
        return all(_is_known(one) for one in value.values())  # pyright: ignore[reportUnknownVariableType] - JSON
    if isinstance(value, list):
        return all(_is_known(one) for one in value)  # pyright: ignore[reportUnknownVariableType] - JSON
    return bool(value != UNKNOWN)
