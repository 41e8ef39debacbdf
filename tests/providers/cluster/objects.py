"""What is declared of an object, what of it is so on the server, and how the two differ.

An object on the server has more fields than anybody declared: defaults, what controllers write,
what admission adds. Only declared fields are ours, so a live object is looked at through the shape
of the declared one; lists whose entries have a key are matched by it, as the server does.

Pure values: no calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

from pulumi.provider.experimental.property_value import Computed, PropertyValue, PropertyValueType
from pulumi.provider.experimental.provider import PropertyDiff, PropertyDiffKind

Object = dict[str, Any]
Properties = dict[str, PropertyValue]
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""Stands where a value is not known yet; the engine's own word for it."""
_KEYS = ("name", "mountPath", "containerPort", "topologyKey", "key", "ip")
# Of each kind, what no update can change: another value is another object.
_FIXED: Mapping[str, tuple[str, ...]] = {
    "StatefulSet": (
        "spec.podManagementPolicy",
        "spec.selector",
        "spec.serviceName",
        "spec.volumeClaimTemplates",
    ),
    "Deployment": ("spec.selector",),
    "DaemonSet": ("spec.selector",),
    "Service": ("spec.clusterIP",),
    "StorageClass": ("provisioner", "parameters", "volumeBindingMode", "reclaimPolicy"),
    "PersistentVolumeClaim": ("spec.accessModes", "spec.storageClassName", "spec.volumeName"),
    "RoleBinding": ("roleRef",),
    "ClusterRoleBinding": ("roleRef",),
}
_AMOUNTS = ("requests", "limits")
_UNITS = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGTP", 1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTP", 1)},
}
_QUANTITY = re.compile(rf"(?P<number>\d+(\.\d+)?)(?P<unit>{'|'.join(sorted(_UNITS))})")
_IDENTITY = ("apiVersion", "kind", "metadata.name", "metadata.namespace")
_MUTABLE_BY_OPTION = ("ConfigMap", "Secret")


def to_object(properties: Mapping[str, PropertyValue]) -> Object:
    """The JSON document that properties of the engine stand for; what is null is not there."""
    return {k: _plain(v) for k, v in properties.items() if v.type != PropertyValueType.NULL}


def _plain(value: PropertyValue) -> Any:
    held = value.value
    if isinstance(held, Computed):
        return UNKNOWN
    if isinstance(held, Mapping):
        return to_object(held)
    if isinstance(held, Sequence) and not isinstance(held, str):
        return [_plain(each) for each in held]
    # The engine knows one kind of number; the server tells them apart.
    return int(held) if isinstance(held, float) and held.is_integer() else held


def to_properties(document: Mapping[str, Any]) -> Properties:
    """Properties of the engine for a JSON document."""
    return {key: _property(value) for key, value in document.items()}


def _property(value: Any) -> PropertyValue:
    if isinstance(value, Mapping):
        return PropertyValue(to_properties(cast("Mapping[str, Any]", value)))
    if isinstance(value, list):
        return PropertyValue([_property(each) for each in cast("list[Any]", value)])
    if value == UNKNOWN:
        return PropertyValue.computed()
    return PropertyValue(float(value) if type(value) is int else value)


def is_known(value: Any) -> bool:
    """Whether every part of a document is known already."""
    if isinstance(value, Mapping):
        return all(map(is_known, cast("Mapping[str, Any]", value).values()))
    if isinstance(value, list):
        return all(map(is_known, cast("list[Any]", value)))
    return value != UNKNOWN


def seen(declared: Any, live: Any) -> Any:
    """What of the declared fields is so in a live object, with the live values."""
    if isinstance(declared, Mapping) and isinstance(live, Mapping):
        shape, found = cast("Object", declared), cast("Object", live)
        found = {**found, **_quantities(shape, found)}
        # The server leaves out what is empty.
        return {
            key: seen(part, found[key]) if key in found else part
            for key, part in shape.items()
            if key in found or part in ({}, [])
        }
    if isinstance(declared, list) and isinstance(live, list):
        return _seen_list(cast("list[Any]", declared), cast("list[Any]", live))
    return live


def _quantities(declared: Object, live: Object) -> Object:
    """Amounts as they were declared, where the server writes the same ones otherwise."""
    return {
        key: {
            name: declared[key][name]
            if _amount(declared[key].get(name)) == _amount(value)
            else value
            for name, value in live[key].items()
        }
        for key in _AMOUNTS
        if isinstance(declared.get(key), Mapping) and isinstance(live.get(key), Mapping)
    }


def _amount(text: Any) -> Decimal | None:
    found = _QUANTITY.fullmatch(str(text))
    return None if found is None else Decimal(found["number"]) * _UNITS[found["unit"]]


def _seen_list(declared: list[Any], live: list[Any]) -> list[Any]:
    key = next((key for key in _KEYS if _all_have(key, declared) and _all_have(key, live)), None)
    if key is not None:
        found = {each[key]: each for each in live}
        return [seen(each, found[each[key]]) for each in declared if each[key] in found]
    if len(declared) != len(live):
        return live
    return [seen(part, found) for part, found in zip(declared, live, strict=True)]


def _all_have(key: str, entries: list[Any]) -> bool:
    return bool(entries) and all(isinstance(each, Mapping) and key in each for each in entries)


def differences(old: Object, new: Object) -> dict[str, PropertyDiffKind]:
    """Paths at which two documents differ, as the engine shows them, and how."""
    return dict(_differences(old, new, ""))


def _differences(old: Any, new: Any, path: str) -> Iterator[tuple[str, PropertyDiffKind]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        before, after = cast("Object", old), cast("Object", new)
        for key in sorted({*before, *after}):
            step = f"{path}.{key}" if path else key
            place = f'{path}["{key}"]' if "." in key or "/" in key else step
            if key not in before:
                yield place, PropertyDiffKind.ADD
            elif key not in after:
                yield place, PropertyDiffKind.DELETE
            else:
                yield from _differences(before[key], after[key], place)
    elif (
        isinstance(old, list)
        and isinstance(new, list)
        and len(cast("Object", old)) == len(cast("Object", new))
    ):
        for index, pair in enumerate(zip(cast("Object", old), cast("Object", new), strict=True)):
            yield from _differences(*pair, f"{path}[{index}]")
    elif old != new:
        yield path, PropertyDiffKind.UPDATE


def replacing(kind: str, paths: Sequence[str], *, mutable_config: bool) -> list[str]:
    """Those of the differing paths for which an update will not do."""
    fixed = (*_IDENTITY, *_FIXED.get(kind, ()))
    if kind in _MUTABLE_BY_OPTION and not mutable_config:
        fixed = (*fixed, "data", "binaryData", "stringData")
    return [path for path in paths if any(_lies_in(path, part) for part in fixed)]


def _lies_in(path: str, part: str) -> bool:
    return path == part or path.startswith((f"{part}.", f"{part}["))


def detailed(
    found: Mapping[str, PropertyDiffKind], replaces: Sequence[str]
) -> dict[str, PropertyDiff]:
    """Differences in the engine's form."""
    return {
        path: PropertyDiff(
            PropertyDiffKind[f"{kind.name}_REPLACE"] if path in replaces else kind,
            input_diff=True,
        )
        for path, kind in found.items()
    }
