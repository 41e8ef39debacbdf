"""Processes: who they are, and what they use.

One file a process stays open, `/proc/PID/stat`. It answers for the process that it was opened for
and for no other: once that has ended, reading it is an error, even if its pid was given out again.
What has not moved since the last look is the same bytes, and costs no more than comparing them.
Processes that live shorter than a look are counted by the host (`processes_started`).
"""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass
from typing import ClassVar

from probe.agent.collector import Capability, Miss, State
from probe.agent.collectors.host import boot_wall_s
from probe.agent.errors import StuckError
from probe.agent.files import CounterFile, read_or_empty
from probe.agent.redaction import READ_CHARS_MAX, REDACTED, command_line
from probe.agent.site import KnownProcess, Site
from probe.agent.text import TEXT_CHARS_MAX, clean

_SLOW_LOOKS = 5
# Whether a line is longer than is read of one shows, then, whatever its characters take.
_COMMAND_BYTES_MAX = 4 * (READ_CHARS_MAX + 1)
# The watchdog lets each take seconds, in which the agent does nothing else.
_STUCK_MAX = 3
# Judging a line takes 2 us a character, and ten times as much where it was made to. Others have
# their turn when so many are judged, and a look leaves what is more than it may to the next one.
_TURN_CHARS = 4096
_LOOK_CHARS_MAX = 512 * 1024
_MOUNTS_BYTES_MAX = 1024 * 1024
_HIDEPID = re.compile(rb"(?:^|,)hidepid=(?!0|off)")
_CGROUP_ID = re.compile(rb"(?<![0-9a-f])([0-9a-f]{64})(?![0-9a-f])")
# Guards against a loop of parents, which a pid that is reused between two reads can make.
_ANCESTORS_MAX = 64


@dataclass(slots=True)
class _Process:
    """One process. `row` is its row in the table; `shared` is what others are told of it."""

    id: str
    row: int
    shared: KnownProcess
    file: CounterFile
    raw: bytes
    program: tuple[bytes, bytes]
    ticks: int
    seen_at: float
    is_moving: bool


class ProcessCollector:
    """Looks at all processes."""

    name: ClassVar[str] = "process"
    interval_s: ClassVar[float] = 3.0

    def __init__(self, site: Site) -> None:
        self._site = site
        self._table = site.ledger["process"]
        self._known: dict[int, _Process] = {}
        self._ticks_per_s = os.sysconf("SC_CLK_TCK")
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")
        self._looks = 0
        self._containers_version = -1
        self._unlinked: set[int] = set()
        self._hidden_files = 0
        # Of processes that could not be described, what went wrong.
        self._undescribed: dict[int, str] = {}
        # Processes whose command line is to be judged by a later look.
        self._deferred: set[int] = set()
        self._judged_chars = 0
        self._stuck = 0
        self._boot_s = boot_wall_s()
        self._counts_files = False
        self._is_hidden = False

    async def start(self) -> None:
        """Find out what this kernel tells, and to whom."""
        # The number of open files is the size of their folder, since 6.2, and no secret then.
        self._counts_files = _size(f"{self._site.proc}/self/fd") > 0
        self._is_hidden = _hides_processes(self._site.proc)
        self._table.keep(set())
        self._site.processes.clear()

    async def collect(self) -> None:
        """Look at all processes once."""
        now = self._site.clock()
        self._stuck = self._judged_chars = 0
        turn_at = _TURN_CHARS
        listed = {int(name) for name in os.listdir(self._site.proc) if name.isdigit()}  # noqa: PTH208 - a Path a process costs more than the look
        for pid in [pid for pid in self._known if pid not in listed]:
            self._forget(pid)
        for pid in listed:
            process = self._known.get(pid)
            if process is not None and not self._look(process, now):
                self._forget(pid)
                process = None
            if process is None:
                self._meet(pid, now)
            elif pid in self._deferred:
                self._describe(process, process.raw)
            if self._judged_chars >= turn_at:
                turn_at = self._judged_chars + _TURN_CHARS
                await asyncio.sleep(0)
                now = self._site.clock()
        self._link_containers()
        if self._looks % _SLOW_LOOKS == 0:
            self._count_files()
        self._looks += 1

    def capability(self) -> Capability:
        """Open files of others may need a privilege, and so may others' processes altogether."""
        misses: list[Miss] = []
        if self._hidden_files:
            what = f"open files of {self._hidden_files} processes of other users"
            grant = "run as root, or with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
            misses.append(Miss(what, grant))
        if self._undescribed:
            kinds = ", ".join(sorted(set(self._undescribed.values())))
            what = f"command lines of {len(self._undescribed)} processes, which failed: {kinds}"
            misses.append(Miss(what, "report it as a defect; they are shown as hidden"))
        if self._is_hidden:
            what = f"processes of other users: {self._site.proc} is mounted with hidepid"
            misses.append(Miss(what, "CAP_SYS_PTRACE, or the group that its option `gid` names"))
        return Capability(State.PARTIAL if misses else State.FULL, "proc", tuple(misses))

    async def close(self) -> None:
        """Close files."""
        for process in self._known.values():
            process.file.close()
        self._known.clear()

    def _look(self, process: _Process, now: float) -> bool:
        """Read one process again; False when it has ended."""
        try:
            raw = process.file.read()
        except OSError:
            return False
        if raw == process.raw:
            if process.is_moving:
                process.is_moving = False
                self._table.set(process.row, "cpu_percent", 0.0)
            process.seen_at = now
            return True
        words = raw[raw.rindex(b")") + 2 :].split()
        if (program := _program(raw, words)) != process.program:
            process.program = program
            self._describe(process, raw)
        process.raw = raw
        ticks = int(words[11]) + int(words[12])
        elapsed = now - process.seen_at
        if elapsed > 0:
            used = 100 * (ticks - process.ticks) / self._ticks_per_s / elapsed
            process.is_moving = used > 0
            self._table.set(process.row, "cpu_percent", round(max(0.0, used), 1))
        process.ticks, process.seen_at = ticks, now
        self._tell_stat(process, words)
        return True

    def _tell_stat(self, process: _Process, words: list[bytes]) -> None:
        table, row = self._table, process.row
        # Who outlives a parent has another then; the old one's pid may be given out again.
        process.shared.ppid = int(words[1])
        table.set(row, "ppid", process.shared.ppid)
        table.set(row, "threads", int(words[17]))
        table.set(row, "rss_bytes", int(words[21]) * self._page_bytes)

    def _meet(self, pid: int, now: float) -> None:
        path = f"{self._site.proc}/{pid}"
        try:
            file = self._site.files.open(f"{path}/stat")
        except OSError:  # It ended between the list and now.
            return
        try:
            raw = file.read()
            words = raw[raw.rindex(b")") + 2 :].split()
            start = int(words[19])
            id_ = f"{self._site.host};{pid};{start}"
            user = os.stat(path).st_uid  # noqa: PTH116 - a Path a process costs more than the look
        except (OSError, ValueError, IndexError):
            file.close()
            return
        ticks = int(words[11]) + int(words[12])
        row = self._table.put(
            id_,
            host=self._site.host,
            pid=pid,
            user=str(user),
            started_ms=round((self._boot_s + start / self._ticks_per_s) * 1000),
            open_files_max=_open_files_max(path),
        )
        program = _program(raw, words)
        shared = self._site.processes[pid] = KnownProcess(id_, int(words[1]))
        process = _Process(id_, row, shared, file, raw, program, ticks, now, is_moving=False)
        self._known[pid] = process
        self._tell_stat(process, words)
        self._describe(process, raw)
        self._unlinked.add(pid)

    def _describe(self, process: _Process, raw: bytes) -> None:
        pid = int(process.id.split(";")[-2])
        self._table.set(process.row, "name", clean(_name(raw)))
        if self._judged_chars >= _LOOK_CHARS_MAX:
            self._deferred.add(pid)
            self._table.set(process.row, "command_line", REDACTED)
            return
        self._deferred.discard(pid)
        try:
            shown = self._command_line(pid)
            self._undescribed.pop(pid, None)
        except (StuckError, ValueError, LookupError, RecursionError) as error:
            # Whoever runs a process chooses its arguments, and must not hide the others with them.
            self._stuck += isinstance(error, StuckError)
            if self._stuck > _STUCK_MAX:
                raise
            # The error's text may hold what the line does.
            self._undescribed[pid] = type(error).__name__
            shown = REDACTED
        self._table.set(process.row, "command_line", shown or None)

    def _command_line(self, pid: int) -> str:
        line = read_or_empty(f"{self._site.proc}/{pid}/cmdline", _COMMAND_BYTES_MAX)
        arguments = line.rstrip(b"\0").decode("utf-8", "replace").split("\0")
        if not self._site.redact:
            return clean(" ".join(arguments), TEXT_CHARS_MAX)
        self._judged_chars += min(len(line), READ_CHARS_MAX)
        return clean(command_line(arguments), TEXT_CHARS_MAX)

    def _forget(self, pid: int) -> None:
        process = self._known.pop(pid)
        process.file.close()
        self._unlinked.discard(pid)
        self._undescribed.pop(pid, None)
        self._deferred.discard(pid)
        self._table.remove(process.id)
        self._site.processes.pop(pid, None)

    def _link_containers(self) -> None:
        """Say which container each process runs in: of new processes, and of all that are in none
        when containers have changed."""
        pids = self._unlinked
        if self._containers_version != self._site.containers_version:
            self._containers_version = self._site.containers_version
            pids = {
                pid
                for pid, process in self._known.items()
                if self._table.get(process.id, "container") is None
            }
        firsts = {one.pid: one.id for one in self._site.containers.values() if one.pid}
        for pid in pids if firsts else ():
            self._table.set(self._known[pid].row, "container", self._container_of(pid, firsts))
        self._unlinked = set()

    def _container_of(self, pid: int, firsts: dict[int, str]) -> str | None:
        ancestor = pid
        for _ in range(_ANCESTORS_MAX):
            if ancestor in firsts:
                return firsts[ancestor]
            known = self._site.processes.get(ancestor)
            if known is None or known.ppid <= 1:
                break
            ancestor = known.ppid
        # A process that was put into it from outside (`docker exec`) is nobody's descendant.
        found = _CGROUP_ID.search(read_or_empty(f"{self._site.proc}/{pid}/cgroup"))
        id_ = found[1].decode() if found else None
        return id_ if id_ in self._site.containers else None

    def _count_files(self) -> None:
        hidden = 0
        for pid, process in self._known.items():
            try:
                path = f"{self._site.proc}/{pid}/fd"
                count = os.stat(path).st_size if self._counts_files else len(os.listdir(path))  # noqa: PTH116, PTH208 - a Path a process costs more than the look
            except PermissionError:
                hidden += 1
                continue
            except OSError:
                continue
            self._table.set(process.row, "open_files", count)
        self._hidden_files = hidden


def _name(raw: bytes) -> bytes:
    return raw[raw.index(b"(") + 1 : raw.rindex(b")")]


def _program(raw: bytes, words: list[bytes]) -> tuple[bytes, bytes]:
    """What differs when a process has become another program: its name, and where its arguments
    begin and end (the 48th and 49th field; the end is noted a moment after the beginning, and until
    then there are none). A fork of an interpreter that becomes another one keeps the name; of other
    users' processes only the name is told without privileges."""
    return _name(raw), b" ".join(words[45:47])


def _open_files_max(path: str) -> int | None:
    for line in read_or_empty(f"{path}/limits").splitlines():
        if line.startswith(b"Max open files"):
            soft = line.split()[3]
            return int(soft) if soft.isdigit() else None
    return None


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - of /proc
    except OSError:
        return 0


def _hides_processes(proc: str) -> bool:
    """Whether others' processes are left out of this /proc, for us."""
    for line in read_or_empty(f"{proc}/self/mountinfo", _MOUNTS_BYTES_MAX).splitlines():
        words = line.split()
        if len(words) > 4 and words[4] == proc.encode() and _HIDEPID.search(words[-1]):  # noqa: PLR2004 - the fifth is the mount point
            return not os.access(f"{proc}/1/stat", os.R_OK)
    return False
