"""Where objects of one kind become rows, and endpoints become relations.

A list says everything: what it does not name any more is taken away at its end, not before, so that
no node comes and goes while a list is read. Only rows of this kind and cluster are ever touched:
others share the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from probe.agent.kubernetes.model import Bare, Meta
from probe.agent.kubernetes.routing import Endpoint, EndpointSlice
from probe.agent.kubernetes.rows import Row, Scope
from probe.agent.text import clean, clean_all
from probe.report.table import Table

_SERVICE = "kubernetes.io/service-name"


class Sink(Protocol):
    """What takes the objects of one kind."""

    def begin(self) -> None:
        """A list begins."""
        ...

    def end(self) -> None:
        """It has ended: what it did not name is gone."""
        ...

    def put(self, found: Any) -> None:
        """An object as it is now."""
        ...

    def remove(self, found: Bare) -> None:
        """An object is gone."""
        ...

    def clear(self) -> None:
        """Nothing is known of the kind any more."""
        ...

    def __len__(self) -> int: ...


class Rows:
    """Rows of one kind."""

    def __init__(
        self,
        table: Table,
        tell: Callable[[Any], Row | None],
        *,
        owns: Callable[[str], bool],
        told: Callable[[str], None] | None = None,
    ) -> None:
        """`owns` says of rows that are there already whether they are of this kind: an earlier life
        of the collector wrote them. `told` hears of each row that was written."""
        self._table = table
        self._tell = tell
        self._told = told
        # By uid, because an object that was made anew has another one, and maybe the same row.
        self._rows: dict[str, str] = {id_: id_ for id_ in table.ids() if owns(id_)}
        self._seen: set[str] | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def begin(self) -> None:
        """A list begins."""
        self._seen = set()

    def end(self) -> None:
        """It has ended."""
        seen, self._seen = self._seen or set(), None
        kept = {self._rows[uid] for uid in seen}
        for uid in [one for one in self._rows if one not in seen]:
            self._drop(uid, kept)

    def put(self, found: Any) -> None:
        """Tell of an object, if there is something to tell."""
        uid = _uid(found.metadata)
        row = self._tell(found)
        if row is None:
            self._drop(uid)
            return
        id_, values = row
        self._table.put(id_, **values)
        self._rows[uid] = id_
        if self._seen is not None:
            self._seen.add(uid)
        if self._told is not None:
            self._told(id_)

    def remove(self, found: Bare) -> None:
        """Take it away."""
        self._drop(_uid(found.metadata))

    def clear(self) -> None:
        """Take all of them away."""
        for uid in list(self._rows):
            self._drop(uid)

    def _drop(self, uid: str, kept: frozenset[str] | set[str] = frozenset()) -> None:
        id_ = self._rows.pop(uid, None)
        # One that was made anew under the same name has taken the row over.
        if id_ is None or id_ in kept:
            return
        self._table.remove(id_)


class Endpoints:
    """Who serves a service: a relation of pods, and counts of services.

    A service may have thousands of pods in many slices, a pod is in few services: so pods name
    their services. Slices come before or after the rows that they are about.
    """

    def __init__(self, pods: Table, services: Table, scope: Scope) -> None:
        self._pods = pods
        self._services = services
        self._scope = scope
        self._slices: dict[str, _Slice] = {}
        self._by_service: dict[str, set[str]] = {}
        self._by_pod: dict[str, set[str]] = {}
        self._seen: set[str] | None = None

    def __len__(self) -> int:
        return len(self._slices)

    def begin(self) -> None:
        """A list begins."""
        self._seen = set()

    def end(self) -> None:
        """It has ended."""
        seen, self._seen = self._seen or set(), None
        for name in [one for one in self._slices if one not in seen]:
            self._forget(name)

    def put(self, found: EndpointSlice) -> None:
        """A slice as it is now."""
        meta = found.metadata
        service = (meta.labels or {}).get(_SERVICE)
        name = _uid(meta)
        if not service:  # Somebody's own, of no service.
            self._forget(name)
            return
        if self._seen is not None:
            self._seen.add(name)
        old = self._slices.get(name)
        new = self._slices[name] = _Slice(
            self._scope.named(service, meta.namespace), found.endpoints or ()
        )
        self._by_service.setdefault(new.service, set()).add(name)
        if old is not None and old.service != new.service:
            self._leave(name, old.service)
        for uid in new.pods:
            self._by_pod.setdefault(uid, set()).add(name)
        for uid in old.pods - new.pods if old is not None else ():
            self._part(uid, name)
        for uid in new.pods if old is None else old.pods ^ new.pods:
            self.tell_pod(uid)
        self.tell_service(new.service)

    def remove(self, found: Bare) -> None:
        """A slice is gone."""
        self._forget(_uid(found.metadata))

    def clear(self) -> None:
        """Nothing is known of endpoints any more."""
        for name in list(self._slices):
            self._forget(name)

    def tell_pod(self, uid: str) -> None:
        """Write the relations of a pod, where it has a row."""
        if uid in self._pods:
            named = {self._slices[name].service for name in self._by_pod.get(uid, ())}
            self._pods.put(uid, services=sorted(named))

    def tell_service(self, id_: str) -> None:
        """Write the counts of a service, where it has a row; None while nothing is known."""
        if id_ not in self._services:
            return
        slices = [self._slices[name] for name in self._by_service.get(id_, ())]
        self._services.put(
            id_,
            endpoints=sum(one.count for one in slices) if slices else None,
            endpoints_ready=sum(one.ready for one in slices) if slices else None,
            others=clean_all([address for one in slices for address in one.others]),
        )

    def _forget(self, name: str) -> None:
        gone = self._slices.get(name)
        if gone is None:
            return
        for uid in gone.pods:
            self._part(uid, name)
        self._leave(name, gone.service)
        del self._slices[name]
        for uid in gone.pods:
            self.tell_pod(uid)

    def _part(self, uid: str, name: str) -> None:
        names = self._by_pod[uid]
        names.discard(name)
        if not names:
            del self._by_pod[uid]

    def _leave(self, name: str, service: str) -> None:
        names = self._by_service[service]
        names.discard(name)
        if not names:
            del self._by_service[service]
        self.tell_service(service)


class _Slice:
    """Some endpoints of a service."""

    __slots__ = ("count", "others", "pods", "ready", "service")

    def __init__(self, service: str, endpoints: Sequence[Endpoint]) -> None:
        self.service = service
        self.count = len(endpoints)
        self.ready = sum(one.conditions.ready is not False for one in endpoints)
        self.pods: set[str] = set()
        self.others: list[str] = []
        for one in endpoints:
            target = one.target_ref
            if target is not None and target.kind == "Pod":
                self.pods.add(clean(target.uid))
            else:
                self.others += [clean(address) for address in one.addresses or ()]


def _uid(meta: Meta) -> str:
    return clean(meta.uid)
