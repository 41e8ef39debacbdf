"""For tests of plugins: what an agent would show of one. The real protocol and collector are used.

::

    async def test_days_are_told(tmp_path: Path) -> None:
        shown = await testing.shown(Certificates(hooks.NoSettings()), {"host": [testing.HOST]})
        assert shown["host"][testing.HOST]["days_left"] == 12.5
"""

from __future__ import annotations

import asyncio
import io
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from probe.agent.collectors.plugins import PluginsCollector
from probe.agent.files import OpenFiles
from probe.agent.log import Log
from probe.agent.site import KnownProcess, Site
from probe.agent.unix_http import SocketServer
from probe.plugins import document, installed
from probe.plugins.errors import LookError
from probe.plugins.hooks import Plugin, Told
from probe.plugins.keeper import Keeper
from probe.report.ledger import Ledger
from probe.report.schema import EXTRA, Value
from probe.report.scope import plugin as protocol

HOST = "node"
"""The name of the host in tests."""
Shown = dict[str, dict[str, dict[str, Value]]]
_BOUND_S = 5.0


def look(plugin: Plugin, again_after_s: float | None = None) -> Told:
    """Call the hooks once, in order, and return what was told; errors come through.

    With `again_after_s` it looks twice: rates take two.

    Raises:
        DefinitionError: the plugin is none.
        ColumnError: it told something that it has not declared.
        LookError: an agent would not take all of it.
    """
    installed.check(type(plugin))
    told = Told(plugin.columns, HOST)
    plugin.start()
    try:
        plugin.look(told)
        if again_after_s is not None:
            time.sleep(again_after_s)
            told = Told(plugin.columns, HOST)
            plugin.look(told)
    finally:
        plugin.close()
    read = protocol.read(document.write(plugin, told, time.time()), plugin.id)
    if read.left_out or told.left_out:
        count = read.left_out + told.left_out
        msg = f"expected a look that an agent takes whole, saw {count} values or nodes too many"
        raise LookError(msg)
    return told


async def shown(plugin: Plugin, nodes: Mapping[str, Iterable[str]]) -> Shown:
    """What an agent shows of a plugin beside nodes that it sees: topology → id → column → value.

    `nodes` holds their ids by topology; a process is named by its pid. The plugin's own columns
    come under their bare names; topology `plugin` says how the agent found it.

    Raises:
        LookError: the look failed.
    """
    installed.check(type(plugin))
    site = _site(nodes)
    keeper = Keeper(plugin, Log(io.StringIO()), host=HOST)
    await asyncio.to_thread(keeper.look)
    with tempfile.TemporaryDirectory(prefix="probe-plugin-") as name:
        server = SocketServer(Path(name) / f"{plugin.id}.sock", keeper.answer)
        serving = asyncio.create_task(server.run())
        try:
            async with asyncio.timeout(_BOUND_S):
                await server.listening.wait()
            collector = PluginsCollector(site, name)
            await collector.start()
            await collector.collect()
            found = _shown(site, plugin.id)
            await collector.close()
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            plugin.close()
    (said,) = found["plugin"].values()
    if said.get("problem"):
        msg = f"expected {plugin.id} to tell something, saw: {said['problem']}"
        raise LookError(msg)
    return found


def _site(nodes: Mapping[str, Iterable[str]]) -> Site:
    site = Site(HOST, Ledger(HOST, 1), OpenFiles())
    for topology, ids in nodes.items():
        for id_ in ids:
            if topology == "process":
                site.processes[int(id_)] = KnownProcess(f"{HOST};{id_};0", 1)
                site.ledger[topology].put(f"{HOST};{id_};0", pid=int(id_))
            else:
                site.ledger[topology].put(id_)
    return site


def _shown(site: Site, plugin: str) -> Shown:
    prefix = f"{EXTRA}{plugin}:"
    return {
        topology: {
            id_: {name.removeprefix(prefix): value for name, value in values.items()}
            for id_, values in table
        }
        for topology, table in site.ledger.tables.items()
        if len(table)
    }
