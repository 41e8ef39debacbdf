"""What is known of ACLs that were about to be sent when the engine died."""

from __future__ import annotations

from pathlib import Path

from sync_engine.base import Base, BaseStore
from sync_engine.direction import Roots, Side
from sync_engine.znode import PERM_ALL, PERM_READ, WORLD_ALL, Acl
from tests.sync_engine.rig import until_equal
from tests.sync_engine.servers import Server
from tests.sync_engine.test_two_way import rig_of
from tests.waiting import until


async def test_an_acl_that_was_noted_and_not_sent_is_not_undone_where_it_came_from(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    rig = rig_of(pair, tmp_path, {"direction": "both"})
    new = (Acl(PERM_ALL, "digest", "app:hash="), Acl(PERM_READ, "world", "anyone"))
    async with rig.lanes() as (a, b):
        await a.create(f"{rig.a}/x", b"1", WORLD_ALL)
        async with rig.engine():
            await until_equal(rig, a, b)
        await b.set_acl(f"{rig.b}/x", new, -1)
        # What an engine leaves that dies between noting the copy's ACL and sending it.
        store = BaseStore(rig.state_dir / "base.sqlite")
        Base(store, rig.name, Roots(rig.a, rig.b)).note_acl_writes(Side.A, {"/x": new})
        store.close()
        async with rig.engine():

            async def has_arrived() -> bool:
                acl, _ = await a.get_acl(f"{rig.a}/x")
                return set(acl) == set(new)

            await until(has_arrived, "side b's ACL on side a")
        acl, _ = await b.get_acl(f"{rig.b}/x")
        assert set(acl) == set(new)
