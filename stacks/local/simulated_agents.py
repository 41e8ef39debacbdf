"""Start many stand-in agents in one process, with simulated tasks: no process runs in them.

For masters and frameworks at size. They are lost with this process: nothing is checkpointed.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from stacks.local.errors import ElectionError, StartError
from stacks.local.process import Listener, config_file, configure_logs, end, run
from stacks.local.settings import Listener as Address
from stacks.local.settings import SettingsError
from stacks.local.simulated_settings import SimulatedAgentsSettings

# Registrations are spread over this long for every thousand agents, as Mesos' backoff does it.
_SPREAD_S = 2.0
_MESSAGES_TIMEOUT_S = 60.0
_PAGE = """<!doctype html><title>Stand-ins for Mesos agents</title>
<h1>Stand-ins for Mesos agents</h1>
<p>This is not Apache Mesos, and no task is a process. See <a href="/state">/state</a>.</p>"""


async def _serve(settings: SimulatedAgentsSettings, stop: asyncio.Event) -> None:
    import httpx
    import structlog
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, JSONResponse, Response
    from starlette.routing import Route

    from stacks.local.mesos.election import Detector, Leader
    from stacks.local.mesos.follower import CONNECT_TIMEOUT_S, SILENCE_S
    from stacks.local.mesos.outbox import Outbox
    from stacks.local.mesos.simulated import make_agent
    from stacks.local.session import Session

    log = structlog.get_logger()
    log.info(
        "agents.starting",
        note="simulated agents: stand-ins for mesos-agent whose tasks are only numbers",
        agents=settings.agents,
    )
    numbers = range(settings.first, settings.first + settings.agents)
    lost: list[str] = []
    agents = [make_agent(settings, number, lost.append) for number in numbers]

    async def state(_: Request) -> Response:
        states = Counter(task.state for a in agents for task in a.tasks.records.values())
        return JSONResponse(
            {
                "simulated": True,
                "agents": len(agents),
                "registered": sum(1 for a in agents if a.registered_with is not None),
                "tasks": dict(states),
                "lost": len(lost),
            }
        )

    async def page(_: Request) -> Response:
        return HTMLResponse(_PAGE)

    address = Address.parse(settings.listen)
    routes = [Route("/state", state), Route("/", page)]
    listener = Listener(Starlette(routes=routes), address.host, address.port)
    await listener.start()
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=settings.agents)
    timeout = httpx.Timeout(CONNECT_TIMEOUT_S * 6, read=SILENCE_S)
    client = httpx.AsyncClient(timeout=timeout, limits=limits)
    messages = Outbox(httpx.AsyncClient(timeout=_MESSAGES_TIMEOUT_S))
    session = Session(settings.election.hosts, timeout_s=settings.zk_session_timeout_s)
    loop = asyncio.get_running_loop()

    def note(leader: Leader | None) -> None:
        log.info("leader.detected", leader=leader and leader.address)
        for index, agent in enumerate(agents):
            loop.call_later(index * _SPREAD_S / 1000, agent.note_leader, leader)

    work: list[asyncio.Future[None]] = []
    for agent in agents:
        agent.connect(client, messages)
        work.append(asyncio.ensure_future(agent.follow()))
    await session.start()
    detect = asyncio.ensure_future(Detector(session, settings.election.path).run(note))
    waiting = asyncio.ensure_future(stop.wait())
    done, _ = await asyncio.wait({detect, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if detect in done:
        try:
            await detect
        except ElectionError as error:
            end(str(error))
    # As an agent that is stopped: at once, for its master to notice.
    end("Stopped; the simulated tasks are gone with their agents", status=0)


def main() -> None:
    """Start them from a configuration file."""
    try:
        settings = SimulatedAgentsSettings.read(config_file(__doc__ or ""))
    except (SettingsError, StartError) as error:
        end(str(error))
    configure_logs()
    run(lambda stop: _serve(settings, stop))


if __name__ == "__main__":
    main()
