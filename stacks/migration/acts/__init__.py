"""What a transition does at run time, one function a name in the table of phases.

Every act is idempotent: it finds out what already holds and does the rest, waits with a bound,
tells what it waits for, and returns evidence.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from stacks.migration.acts import agents, apps, election, ensembles, frameworks, masters, registry
from stacks.migration.evidence import Findings
from stacks.migration.executor import Situation
from stacks.migration.updates import Tell
from stacks.migration.world import World

Act = Callable[[World, Situation, Tell], Awaitable[Findings]]

ACTS: Mapping[str, Act] = {
    "choose target epoch": ensembles.choose_target_epoch,
    "first copy": ensembles.first_copy,
    "audit": ensembles.audit,
    "soak": ensembles.soak,
    "await target masters": masters.await_target_masters,
    "replay registry": registry.replay_registry,
    "raise election numbers": election.raise_election_numbers,
    "inventory": agents.take_inventory,
    "inventory at rest": agents.take_inventory_at_rest,
    "last replay": registry.replay_registry,
    "flip framework subtrees": ensembles.flip_frameworks,
    masters.PROJECT: election.project_leader,
    "await agents on target": agents.await_agents_on_target,
    "replay deactivations": agents.replay_deactivations,
    "persist projection": election.persist_projection,
    "fence election path": election.fence_election,
    "keep election path fenced": election.keep_fenced,
    "await frameworks on target": frameworks.await_frameworks_on_target,
    "await target agents": agents.await_target_agents,
    "reactivate target agents": agents.reactivate_target,
    "restore app sizes": apps.restore_sizes,
    "canary": frameworks.canary,
    "deactivate source agents": agents.deactivate_source,
    "move tasks to target": frameworks.move_to_target,
    "drain source agents": agents.drain_source,
    "await no foreign session": ensembles.await_quiet,
    "final digest": ensembles.final_digest,
    "lift fence": election.lift_fence,
    "await source masters": masters.await_source_masters,
    "flip framework subtrees back": ensembles.flip_frameworks_back,
    "drop projection": election.drop_projection,
    "return registry": registry.return_registry,
    "await agents on source": agents.await_agents_on_source,
    "return deactivations": agents.return_deactivations,
    "await frameworks on source": frameworks.await_frameworks_on_source,
    masters.RESET: masters.reset_target_masters,
    "deactivate target agents": agents.deactivate_target,
    "move tasks to source": frameworks.move_to_source,
    "drain target agents": agents.drain_target,
    "await source agents": agents.await_source_agents,
    "reactivate source agents": agents.reactivate_source,
    "flip group subtrees": ensembles.flip_group,
    "flip group subtrees back": ensembles.flip_group_back,
    "await group": frameworks.await_group,
}
