"""Quota calls: limits and guarantees by role, checked in the order and words of a real master."""

from __future__ import annotations

from stacks.local.errors import CallError
from stacks.local.mesos import registry, values
from stacks.local.mesos.core import Core
from stacks.local.mesos.registry import Document
from stacks.local.mesos.values import Json, Scalars


def status(document: Document) -> Json:
    """Every role that ever had a quota; a cleared one is only its name."""
    quota = registry.section(document, "quota")
    return {
        "infos": [_info(config) for config in quota.values()],
        "configs": list(quota.values()),
    }


def _info(config: Json) -> Json:
    info: Json = {"role": config["role"]}
    guarantees = {k: float(v["value"]) for k, v in config.get("guarantees", {}).items()}
    if guarantees:
        info["guarantee"] = values.scalar_list(guarantees)
    return info


def _quantities(config: Json, name: str) -> Scalars:
    return {key: float(value["value"]) for key, value in values.part(config, name).items()}


def _plain(quantities: Scalars) -> str:
    return ", ".join(f"{name}: {values.number(quantities[name])}" for name in sorted(quantities))


def _normalised(config: Json) -> Json:
    result: Json = {"role": str(config["role"])}
    for name in ("guarantees", "limits"):
        quantities = _quantities(config, name)
        if quantities:
            result[name] = {key: {"value": value} for key, value in quantities.items()}
    return result


def _validate(config: Json) -> None:
    role = str(config["role"])
    if "/" in role:
        raise CallError(400, f"Updating quota on nested role '{role}' is not supported yet")
    guarantees, limits = _quantities(config, "guarantees"), _quantities(config, "limits")
    for name, quantities in (("guarantee", guarantees), ("limit", limits)):
        if any(value < 0 for value in quantities.values()):
            shown = ", ".join(f"'{k}': {values.number(v)}" for k, v in sorted(quantities.items()))
            raise CallError(
                400,
                f"Invalid QuotaConfig: Invalid {name} configuration {{{shown}}}: Negative values "
                "not supported",
            )
    if any(name in limits and value > limits[name] for name, value in guarantees.items()):
        raise CallError(
            400,
            f"Invalid QuotaConfig: 'QuotaConfig.guarantees' {{ {_plain(guarantees)} }} is not "
            f"contained within the 'QuotaConfig.limits' {{ {_plain(limits)} }}",
        )


def _check_capacity(core: Core, configs: list[Json]) -> None:
    after = registry.section(registry.set_quota(configs)(core.document), "quota")
    promised = values.total(_quantities(config, "guarantees") for config in after.values())
    capacity = core.cluster.capacity
    if not values.contains(capacity, promised):
        raise CallError(
            400,
            f"Invalid QuotaConfig: total quota guarantees '{values.text(promised)}' exceed cluster "
            f"capacity '{values.text(capacity)}' (use 'force' flag to bypass this check)",
        )
    for config in configs:
        consumed, limits = (
            core.cluster.consumed_below(str(config["role"])),
            _quantities(config, "limits"),
        )
        if any(consumed.get(name, 0.0) > limit for name, limit in limits.items()):
            raise CallError(
                400,
                f"Invalid QuotaConfig: Role '{config['role']}' is already consuming "
                f"'{values.text(consumed)}'; this is more than the requested limits "
                f"'{values.text(limits)}' (use 'force' flag to bypass this check)",
            )


async def update(core: Core, body: Json) -> None:
    """UPDATE_QUOTA: all of it or nothing. Two entries of one role are accepted; the last holds.

    Raises:
        CallError: a wrong entry, or one that the cluster cannot keep.
    """
    configs: list[Json] = list(body.get("quota_configs") or ())
    for config in configs:
        _validate(config)
    if not body.get("force"):
        _check_capacity(core, configs)
    await core.store(registry.set_quota([_normalised(config) for config in configs]))
    core.candidates.add_all()
