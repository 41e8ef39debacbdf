"""The maintenance schedule of a cluster.

Masters hold one schedule, replaced whole by each write and without a way to compare first. So one
resource holds all windows: two would undo each other. What was written is read back, and written
again if somebody else came between. Masters refuse to drop a machine that is DOWN; such a machine
stays in the schedule, in its window, until it is brought up, also when the resource is deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import Resource as DynamicResource

from clients.mesos.model import Machine, MaintenanceStatus, Window
from clients.mesos.model import MaintenanceSchedule as Schedule
from components.errors import AlreadyThereError
from components.mesos.endpoint import MesosEndpoint, connect
from components.runtime import Json, ObjectProvider, Session

if TYPE_CHECKING:
    from clients.mesos import OperatorClient


@dataclass(frozen=True)
class ScheduleSpec:
    """What is declared."""

    schedule: Schedule
    adopt: bool = False


@dataclass(frozen=True)
class Observed:
    """What masters hold, and what machines do."""

    schedule: Schedule
    status: MaintenanceStatus = field(default_factory=MaintenanceStatus)


@dataclass(frozen=True)
class UpdateSchedule:
    """Replace the schedule."""

    schedule: Schedule


def plan(
    old: ScheduleSpec | None, new: ScheduleSpec | None, observed: Observed
) -> tuple[UpdateSchedule, ...]:
    """Decide what to write so that `new` holds, and machines that are down beside it.

    Raises:
        AlreadyThereError: there is a schedule that was not declared here, of other machines or
            with other times for the same ones.
    """
    declared = Schedule() if new is None else new.schedule
    kept = kept_windows(declared, observed)
    wanted = Schedule((*declared.windows, *kept))
    if canonical(wanted) == canonical(observed.schedule):
        return ()
    if old is None and new is not None and not new.adopt:
        _refuse_others(observed.schedule, wanted)
    return (UpdateSchedule(wanted),)


def _refuse_others(there: Schedule, wanted: Schedule) -> None:
    """Refuse to take a machine out of its window; one that gets more beside it is not refused."""
    kept = {(m.key, w.start_ns, w.duration_ns) for w in wanted.windows for m in w.machines}
    lost = {
        f"{machine.hostname or machine.ip} from {window.start_ns} ns"
        for window in there.windows
        for machine in window.machines
        if (machine.key, window.start_ns, window.duration_ns) not in kept
    }
    if lost:
        seen = f"windows of {', '.join(sorted(lost))}"
        raise AlreadyThereError(what="the maintenance schedule", seen=seen)


def kept_windows(declared: Schedule, observed: Observed) -> tuple[Window, ...]:
    """Windows of machines that are down and not declared: they may not be dropped."""
    down = {machine.key for machine in observed.status.down} - machines(declared)
    windows: list[Window] = []
    for window in observed.schedule.windows:
        stay = tuple(machine for machine in window.machines if machine.key in down)
        if stay:
            windows.append(Window(stay, window.start_ns, window.duration_ns))
    return tuple(windows)


def machines(schedule: Schedule) -> set[tuple[str, str]]:
    """All machines of a schedule."""
    return {machine.key for window in schedule.windows for machine in window.machines}


def canonical(schedule: Schedule) -> list[Any]:
    """Equal for schedules that say the same, whatever their order."""
    return sorted(
        (window.start_ns, window.duration_ns or -1, sorted(m.key for m in window.machines))
        for window in schedule.windows
        if window.machines
    )


class ScheduleSession(Session[ScheduleSpec, Observed, UpdateSchedule]):
    """The schedule of one cluster."""

    def __init__(self, client: OperatorClient) -> None:
        self._client = client

    async def observe(self, spec: ScheduleSpec) -> Observed:
        """The schedule and what its machines do."""
        del spec
        schedule = await self._client.maintenance_schedule()
        return Observed(schedule, await self._client.maintenance_status())

    def plan(
        self, old: ScheduleSpec | None, new: ScheduleSpec | None, observed: Observed
    ) -> tuple[UpdateSchedule, ...]:
        """See `plan`."""
        return plan(old, new, observed)

    async def perform(self, call: UpdateSchedule) -> None:
        """Write it."""
        await self._client.update_maintenance_schedule(call.schedule)

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.close()


class ScheduleProvider(ObjectProvider[ScheduleSpec, Observed, UpdateSchedule]):
    """Carries the schedule to Pulumi."""

    def read_spec(self, spec: Json) -> ScheduleSpec:
        """Parse. Nanoseconds come as texts, because Pulumi's numbers are too short for them."""
        windows = tuple(
            Window(
                tuple(Machine(str(m["hostname"]), str(m["ip"])) for m in window["machines"]),
                int(window["start_ns"]),
                int(window["duration_ns"]) if window["duration_ns"] else None,
            )
            for window in spec["windows"]
        )
        return ScheduleSpec(Schedule(windows), adopt=bool(spec["adopt"]))

    def session(self, endpoint: Json, spec: Json) -> ScheduleSession:
        """Connect."""
        del spec
        return ScheduleSession(connect(endpoint))

    def identity(self, spec: Json) -> str:
        """There is one."""
        del spec
        return "maintenance-schedule"

    def expected(self, spec: ScheduleSpec) -> Json:
        """The windows."""
        return _told(spec.schedule)

    def seen(self, spec: ScheduleSpec, observed: Observed) -> Json | None:
        """The windows, without what stays for machines that are down."""
        kept = kept_windows(spec.schedule, observed)
        left = canonical(Schedule(kept))
        windows = [one for one in canonical(observed.schedule) if one not in left]
        return {"windows": [_text(one) for one in windows]}


def _text(window: Any) -> str:
    start_ns, duration_ns, keys = window
    names = ",".join("/".join(key) for key in keys)
    return f"{start_ns}+{duration_ns if duration_ns >= 0 else 'ever'} {names}"


def _told(schedule: Schedule) -> Json:
    return {"windows": [_text(one) for one in canonical(schedule)]}


@dataclass(frozen=True)
class ScheduleArgs:
    """All windows of the cluster. Machines as their agents announce them: hostname and ip."""

    windows: Sequence[Window]
    adopt: bool = False

    @property
    def properties(self) -> Json:
        """As plain values of a resource."""
        windows = [
            {
                "machines": [{"hostname": m.hostname, "ip": m.ip} for m in window.machines],
                "start_ns": str(window.start_ns),
                "duration_ns": "" if window.duration_ns is None else str(window.duration_ns),
            }
            for window in self.windows
        ]
        return {"windows": windows, "adopt": self.adopt}


class MaintenanceSchedule(DynamicResource, module="mesos", name="MaintenanceSchedule"):
    """The one schedule of a cluster."""

    def __init__(
        self,
        name: str,
        args: ScheduleArgs,
        endpoint: MesosEndpoint,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        properties = {"endpoint": endpoint.properties, "spec": args.properties}
        super().__init__(ScheduleProvider(), name, properties, opts)
