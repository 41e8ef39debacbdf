"""The pod that runs `migrate`, as far as its cluster must know it: its account, whom it may reach.

The pod is made by whoever migrates, in the stack's namespace, with these labels and this account.
Values only.
"""

from __future__ import annotations

from collections.abc import Mapping

from components.network.policies import MIGRATION
from components.targets import restarting
from components.workload import Member, Program, Shape, Workload

NAME = MIGRATION
"""Of the account, its Role and its policy, and what the pod's labels say."""


def workload(masters: Mapping[str, int]) -> Workload:
    """What stands for the pod where accounts and policies are declared; nothing runs it.

    `masters` are the sizes of all groups that may be restarted, by the names of their workloads.
    """
    return Workload(
        name=NAME,
        tier=MIGRATION,
        color=None,
        shape=Shape.STATELESS,
        program=Program(("migrate",)),
        members=(Member(f"{NAME}-0", 0, ""),),
        config_suffix="",
        api_rules=restarting.rules(masters),
    )
