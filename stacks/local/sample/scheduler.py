"""The sample framework's decisions: keep so many tasks, replace one when asked, run canaries.

States that end a task (and, as frameworks of the field do, TASK_UNKNOWN: the masters have never
heard of it) are followed by a relaunch; TASK_UNREACHABLE is waited out. A running task that nobody
remembers is adopted while tasks are missing, and killed otherwise. Every status is logged and
counted before it is acknowledged.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections import Counter
from typing import Any

import structlog

from stacks.local.mesos.election import Leader
from stacks.local.mesos.values import TERMINAL_STATES, contains, part, scalars, subtract, value
from stacks.local.process import make_folder, read_secret
from stacks.local.sample import limits
from stacks.local.sample.launch import Canary, Reports, matches, task_info
from stacks.local.sample.link import Json, Link
from stacks.local.sample.roster import Replacement, Roster, SampleTask, Step
from stacks.local.session import Session
from stacks.local.settings import FrameworkSettings

_ENDED = TERMINAL_STATES | {"TASK_UNKNOWN"}
# What masters know of by themselves may be asked for at once, and as agents come back.
_LISTEN_SOON_S = (0.0, 1.0, 2.0)
_TICK_S = 1.0
_KILL_AGAIN_S = 5.0
_REFUSE_S = 3600.0
_REFUSE_SHORT_S = 0.5
_CANARY = "canary"
_log = structlog.get_logger()


class Scheduler:
    """The framework."""

    def __init__(self, settings: FrameworkSettings, session: Session) -> None:
        self.settings = settings
        self.roster = Roster(session, settings.subtree)
        self.credential = read_secret(settings.credential_file)
        self.link = Link(info=self._info, handle=self._handle, credential=self.credential)
        make_folder(settings.work_dir)
        self._log_file = (settings.work_dir / "updates.jsonl").open("a", buffering=1)
        self.counts: Counter[str] = Counter()
        self.subscribed_at: float | None = None
        self.subscriptions: list[Json] = []
        self.leader: Leader | None = None
        self._canaries: dict[str, Canary] = {}
        self.reports = Reports()
        self._suppressed = False
        self._listen_at: list[float] = []
        self._reconcile_at = 0.0
        self._killed_at: dict[str, float] = {}

    def note_leader(self, leader: Leader | None) -> None:
        """ZooKeeper names another leader."""
        self.leader = leader
        _log.info("leader.detected", leader=leader and leader.address)
        self.link.note_leader(leader)

    def _info(self) -> Json:
        settings = self.settings
        info: Json = {
            "user": "root",
            "name": settings.name,
            "failover_timeout": settings.failover_timeout_s,
            "checkpoint": True,
            "webui_url": f"http://{settings.listen}",
            "roles": [settings.role],
            "capabilities": [{"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"}],
        }
        if self.roster.framework_id is not None:
            info["id"] = {"value": self.roster.framework_id}
        return info

    async def _call(self, kind: str, body: Json | None = None) -> bool:
        if self.roster.framework_id is None:
            return False
        return await self.link.call(kind, self.roster.framework_id, body)

    # Events

    async def _handle(self, event: Json) -> None:
        match event["type"]:
            case "SUBSCRIBED":
                await self._note_subscribed(event["subscribed"])
            case "OFFERS":
                await self._note_offers(event["offers"]["offers"])
            case "UPDATE":
                await self._note_update(event["update"]["status"])
            case "ERROR":
                _log.warning("master.error", message=event["error"]["message"])
            case _:
                pass

    async def _note_subscribed(self, body: Json) -> None:
        await self.roster.keep_framework_id(str(body["framework_id"]["value"]))
        self.subscribed_at = time.time()
        self._suppressed = False
        entry = {"at": self.subscribed_at, "master": self.link.connected_to}
        self.subscriptions = [*self.subscriptions[-99:], entry]
        _log.info("framework.subscribed", id=self.roster.framework_id, **entry)
        now = time.monotonic()
        self._listen_at = [now + pause for pause in _LISTEN_SOON_S]
        self._reconcile_at = now + self.settings.reconcile_delay_s
        await self.tick()

    async def _note_update(self, status: Json) -> None:
        task_id, state = str(status["task_id"]["value"]), str(status["state"])
        self.counts[state] += 1
        entry: Json = {
            "at": round(time.time(), 6),
            "task_id": task_id,
            "state": state,
            "reason": status.get("reason"),
            "source": status.get("source"),
            "agent_id": value(status, "agent_id"),
            "message": status.get("message"),
            "master": self.link.connected_to,
        }
        self._log_file.write(json.dumps(entry) + "\n")
        if task_id in self._canaries:
            self._note_canary(self._canaries[task_id], state)
        elif task_id.startswith(f"{_CANARY}-"):
            pass  # Of an earlier process; it ends by itself.
        else:
            await self._note_task(task_id, state, status)
        if status.get("uuid") is not None:
            await self._call(
                "ACKNOWLEDGE",
                {
                    "agent_id": status["agent_id"],
                    "task_id": status["task_id"],
                    "uuid": status["uuid"],
                },
            )

    async def _note_task(self, task_id: str, state: str, status: Json) -> None:
        task = self.roster.tasks.get(task_id)
        if task is None:
            if state == "TASK_RUNNING":
                await self._take_unknown(task_id, status)
            return
        if state in _ENDED:
            self._killed_at.pop(task_id, None)
            await self.roster.remove(task_id)
            _log.info("task.ended", task=task_id, state=state, reason=status.get("reason"))
        else:
            task.state = state
            pid = part(status, "container_status").get("executor_pid")
            if pid:
                task.pid = int(pid)
            if state == "TASK_RUNNING" and task.started_at is None:
                task.started_at = float(status.get("timestamp", time.time()))
        await self._advance(task_id)
        await self._ask_for_offers()

    async def _take_unknown(self, task_id: str, status: Json) -> None:
        """A task of ours that we do not remember: of use while one is missing."""
        if self.roster.deficit(self.settings.tasks) <= 0:
            _log.warning("task.unknown_killed", task=task_id)
            await self._kill(task_id, value(status, "agent_id"))
            return
        agent_id = value(status, "agent_id") or ""
        task = SampleTask(task_id, agent_id, "", time.time(), state="TASK_RUNNING")
        pid = part(status, "container_status").get("executor_pid")
        task.pid = int(pid) if pid else None
        await self.roster.add(task)
        _log.warning("task.adopted", task=task_id, agent=agent_id)

    # Replacements

    async def replace(self, task_id: str) -> Replacement | None:
        """Move a task off its agent; asking again is the same request. None: no such task."""
        known = self.roster.replacements.get(task_id)
        if known is not None:
            return known
        task = self.roster.tasks.get(task_id)
        if task is None:
            return None
        replacement = Replacement(task_id, task.agent_id)
        await self.roster.keep(replacement)
        _log.info("replacement.asked", task=task_id, agent=task.agent_id)
        await self._ask_for_offers()
        return replacement

    async def _advance(self, task_id: str) -> None:
        """Take every intent that concerns a task one step on."""
        for replacement in list(self.roster.replacements.values()):
            if replacement.step is Step.DONE:
                continue
            if task_id in {replacement.task, replacement.replacement}:
                await self._advance_one(replacement)

    async def _advance_one(self, replacement: Replacement) -> None:
        tasks = self.roster.tasks
        new = tasks.get(replacement.replacement) if replacement.replacement else None
        step = replacement.step
        if replacement.task not in tasks:
            # Gone, killed by us or not. Without a new task the ordinary relaunch fills the gap.
            step = Step.DONE
        elif new is None and replacement.step is not Step.KILLING:
            replacement.replacement, step = None, Step.WAITING
        elif new is not None and new.is_healthy:
            step = Step.KILLING
        if step is not replacement.step:
            replacement.step = step
            await self.roster.keep(replacement)
            _log.info("replacement.step", task=replacement.task, step=step)
        if step is Step.KILLING:
            await self._kill(replacement.task, replacement.agent_id)

    async def _kill(self, task_id: str, agent_id: str | None) -> None:
        now = time.monotonic()
        if now - self._killed_at.get(task_id, -_KILL_AGAIN_S) < _KILL_AGAIN_S:
            return
        self._killed_at[task_id] = now
        body: Json = {"task_id": {"value": task_id}}
        if agent_id:
            body["agent_id"] = {"value": agent_id}
        if not await self._call("KILL", body):
            self._killed_at.pop(task_id, None)

    # Offers

    def _needs(self) -> bool:
        return (
            self.roster.deficit(self.settings.tasks) > 0
            or bool(self.roster.waiting())
            or any(canary.agent_id is None for canary in self._canaries.values())
        )

    async def _ask_for_offers(self) -> None:
        if self._needs():
            if await self._call("REVIVE"):
                self._suppressed = False
        elif not self._suppressed and await self._call("SUPPRESS"):
            self._suppressed = True

    async def _note_offers(self, offers: list[Json]) -> None:
        plan = await self._plan(offers)
        for offer in offers:
            launches = plan.get(str(offer["id"]["value"]), [])
            ids = [offer["id"]]
            if launches:
                operation = {"type": "LAUNCH", "launch": {"task_infos": launches}}
                filters = {"refuse_seconds": _REFUSE_SHORT_S}
                body: Json = {"offer_ids": ids, "operations": [operation], "filters": filters}
                await self._call("ACCEPT", body)
            else:
                refuse_s = _REFUSE_SHORT_S if self._needs() else _REFUSE_S
                filters = {"refuse_seconds": refuse_s}
                await self._call("DECLINE", {"offer_ids": ids, "filters": filters})

    async def _plan(self, offers: list[Json]) -> dict[str, list[Json]]:
        """Decide what to launch on which offer; writes each task down first."""
        left = {str(o["id"]["value"]): scalars(o["resources"]) for o in offers}
        load = self.roster.on_agents(str(o["agent_id"]["value"]) for o in offers)
        need = {"cpus": self.settings.task_cpus, "mem": self.settings.task_mem}
        plan: dict[str, list[Json]] = {}

        def choose(avoid: str | None = None, wanted: Json | None = None) -> Json | None:
            fitting = [
                offer
                for offer in offers
                if contains(left[str(offer["id"]["value"])], need)
                and str(offer["agent_id"]["value"]) != avoid
                and matches(offer, wanted or {})
            ]
            return min(fitting, key=lambda o: load[str(o["agent_id"]["value"])], default=None)

        def launch(offer: Json, task_id: str, command: str) -> None:
            offer_id, agent_id = str(offer["id"]["value"]), str(offer["agent_id"]["value"])
            left[offer_id] = subtract(left[offer_id], need)
            load[agent_id] += 1
            info = task_info(self.settings, offer, task_id, command)
            plan.setdefault(offer_id, []).append(info)

        for canary in self._canaries.values():
            offer = choose(wanted=canary.wanted) if canary.agent_id is None else None
            if offer is not None:
                canary.agent_id = str(offer["agent_id"]["value"])
                canary.agent_hostname = str(offer["hostname"])
                self.reports.note(canary)
                launch(offer, canary.id, canary.command)
        for replacement in self.roster.waiting():
            offer = choose(avoid=replacement.agent_id)
            if offer is not None:
                task = await self._enter(offer)
                replacement.replacement, replacement.step = task.id, Step.LAUNCHING
                await self.roster.keep(replacement)
                launch(offer, task.id, self.settings.command)
        while self.roster.deficit(self.settings.tasks) > 0:
            offer = choose()
            if offer is None:
                break
            task = await self._enter(offer)
            launch(offer, task.id, self.settings.command)
        return plan

    async def _enter(self, offer: Json) -> SampleTask:
        task = SampleTask(
            id=f"{self.settings.name}-{uuid.uuid4().hex[:12]}",
            agent_id=str(offer["agent_id"]["value"]),
            agent_hostname=str(offer["hostname"]),
            launched_at=round(time.time(), 6),
        )
        await self.roster.add(task)
        return task

    # Canaries

    async def canary(self, wanted: Json, timeout_s: float, *, limited: bool = False) -> Json:
        """Run a short task on a named agent (`agent_id`, `agent_hostname`, `agent_port`); a limited
        one ends well within the limits of its resources alone."""
        started = time.monotonic()
        future: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        name = f"{_CANARY}-{uuid.uuid4().hex[:12]}"
        canary = Canary(name, wanted, future, limited=limited)
        if limited:
            canary.command = limits.command(self.settings.task_cpus, self.settings.task_mem)
        self._canaries[canary.id] = canary
        try:
            await self._ask_for_offers()
            async with asyncio.timeout(timeout_s):
                result = await future
        except TimeoutError:
            problem = "no offer of that agent" if canary.agent_id is None else "no final status"
            result = {"ok": False, "problem": f"{problem} within {timeout_s:g} s"}
        finally:
            del self._canaries[canary.id]
        return {
            "task_id": canary.id,
            "agent_id": canary.agent_id,
            "agent_hostname": canary.agent_hostname,
            "states": canary.states,
            "seconds": round(time.monotonic() - started, 3),
            **result,
        }

    def _note_canary(self, canary: Canary, state: str) -> None:
        canary.states.append(state)
        if state in _ENDED and not canary.done.done():
            canary.done.set_result({"ok": state == "TASK_FINISHED"})

    # Time

    async def keep_time(self) -> None:
        """Reconcile, and repeat what may have been lost on the way; never returns."""
        while True:
            await asyncio.sleep(_TICK_S)
            await self.tick()

    async def tick(self) -> None:
        """One look at the clock."""
        if self.link.connected_to is None:
            return
        now = time.monotonic()
        if self._listen_at and now >= self._listen_at[0]:
            self._listen_at.pop(0)
            await self._call("RECONCILE", {"tasks": []})
        if now >= self._reconcile_at:
            self._reconcile_at = now + self.settings.reconcile_interval_s
            await self._reconcile()
        for replacement in list(self.roster.replacements.values()):
            if replacement.step is not Step.DONE:
                await self._advance_one(replacement)
        if self._needs():
            await self._ask_for_offers()

    async def _reconcile(self) -> None:
        asked: list[Any] = [
            {"task_id": {"value": task.id}, "agent_id": {"value": task.agent_id}}
            for task in self.roster.tasks.values()
        ]
        if asked:
            await self._call("RECONCILE", {"tasks": asked})
        await self._call("RECONCILE", {"tasks": []})

    def close(self) -> None:
        """Close the log."""
        self._log_file.close()
