"""Which guards each edge has: before it begins, on the way, before it removes, and as its proof.

Pure data. Keys are an edge and a direction; None stands for a client group.
"""

from __future__ import annotations

from collections.abc import Mapping

from stacks.migration.guards import Guard
from stacks.migration.guards.agents import (
    clocks_agree,
    cluster_followed,
    nothing_in_motion,
    registered_source_agents,
    registered_target_agents,
    room_on_source,
    room_on_target,
    source_agents_empty,
    target_agents_empty,
)
from stacks.migration.guards.ensembles import (
    audit_equal,
    engine_live,
    ensembles_apart,
    owned_by_source,
    owned_by_target,
    source_quiet,
    source_serves,
    target_serves,
    versions_known,
)
from stacks.migration.guards.frameworks import (
    apps_movable,
    clients_write,
    frameworks_on_target,
    frameworks_survive,
    groups_on_target,
    movers_known,
    movers_known_back,
    no_deployment,
    tasks_healthy,
)
from stacks.migration.guards.masters import (
    access_equal,
    masters_restartable,
    projection_kept,
    projection_off,
    registry_equal,
    source_leads,
    target_leads,
    target_masters_apart,
    target_masters_resettable,
)
from stacks.migration.phases import Direction

_F, _B = Direction.FORWARD, Direction.BACK
_SYNC = (engine_live, source_serves, target_serves, ensembles_apart)

OPENING: Mapping[tuple[int | None, Direction], tuple[Guard, ...]] = {
    (0, _F): (
        source_serves, source_leads, versions_known, clocks_agree, frameworks_survive,
        nothing_in_motion, tasks_healthy, clients_write,
    ),
    (1, _F): (*_SYNC, audit_equal, source_leads, nothing_in_motion, tasks_healthy),
    (2, _F): (
        *_SYNC, audit_equal, owned_by_source, source_leads, clocks_agree, frameworks_survive,
        nothing_in_motion, no_deployment, target_masters_apart, access_equal, masters_restartable,
        tasks_healthy,
    ),
    (3, _F): (*_SYNC, audit_equal, target_leads, projection_kept, nothing_in_motion, tasks_healthy),
    (4, _F): (
        *_SYNC, audit_equal, target_leads, projection_kept, registered_target_agents,
        nothing_in_motion, no_deployment, room_on_target, movers_known, apps_movable,
        tasks_healthy,
    ),
    (5, _F): (
        *_SYNC, audit_equal, target_leads, groups_on_target, owned_by_target, frameworks_on_target,
        tasks_healthy,
    ),
    (0, _B): (source_serves, source_leads),
    (1, _B): (source_serves, source_leads, projection_off, owned_by_source),
    (2, _B): (
        *_SYNC, audit_equal, target_leads, target_masters_resettable, no_deployment, tasks_healthy,
    ),
    (3, _B): (
        *_SYNC, target_leads, registered_source_agents, no_deployment, room_on_source,
        movers_known_back, apps_movable, tasks_healthy,
    ),
    (4, _B): (*_SYNC, target_leads, tasks_healthy),
    (5, _B): (),
    (None, _F): (*_SYNC, audit_equal),
    (None, _B): (*_SYNC, audit_equal),
}  # fmt: skip

# On the way, where some of the above can no longer hold, and must not be asked for.
ON_THE_WAY: Mapping[tuple[int | None, Direction], tuple[Guard, ...]] = {
    **dict.fromkeys(OPENING, _SYNC),
    (0, _F): (source_serves,),
    (0, _B): (source_serves,),
    (1, _B): (source_serves,),
    (5, _B): (),
}

REMOVAL: Mapping[tuple[int | None, Direction], tuple[Guard, ...]] = {
    (2, _F): (
        engine_live, audit_equal, target_leads, projection_kept, cluster_followed,
        frameworks_on_target, tasks_healthy,
    ),
    (4, _F): (target_leads, source_agents_empty, tasks_healthy),
    (5, _F): (
        groups_on_target, owned_by_target, frameworks_on_target, target_serves, tasks_healthy,
        source_quiet,
    ),
    (0, _B): (source_serves, source_leads, tasks_healthy),
    (1, _B): (source_leads, projection_off, tasks_healthy),
    (3, _B): (target_leads, target_agents_empty, tasks_healthy),
}  # fmt: skip

# After the last update of a walk.
PROOFS: Mapping[tuple[int | None, Direction], tuple[Guard, ...]] = {
    (0, _F): (*_SYNC, audit_equal, owned_by_source, tasks_healthy, clients_write),
    (1, _F): (engine_live, audit_equal, target_masters_apart, registry_equal, tasks_healthy),
    (2, _F): (
        *_SYNC, audit_equal, projection_kept, cluster_followed, frameworks_on_target, tasks_healthy,
    ),
    (3, _F): (engine_live, audit_equal, registered_target_agents, tasks_healthy),
    (4, _F): (engine_live, audit_equal, registered_target_agents, tasks_healthy),
    (5, _F): (
        target_serves, target_leads, registered_target_agents, frameworks_on_target, tasks_healthy,
        clients_write,
    ),
    (0, _B): (source_serves, source_leads, registered_source_agents, tasks_healthy, clients_write),
    (1, _B): (engine_live, audit_equal, source_leads, tasks_healthy),
    (2, _B): (
        *_SYNC, audit_equal, owned_by_source, projection_off, source_leads, target_masters_apart,
        registry_equal, registered_source_agents, tasks_healthy,
    ),
    (3, _B): (engine_live, audit_equal, registered_source_agents, tasks_healthy),
    (4, _B): (engine_live, audit_equal, registered_source_agents, tasks_healthy),
    (5, _B): (engine_live, audit_equal, tasks_healthy),
    (None, _F): (engine_live, audit_equal, clients_write),
    (None, _B): (engine_live, audit_equal, clients_write),
}  # fmt: skip
