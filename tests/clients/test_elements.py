"""A document taken apart while it arrives holds what the whole one holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.mesos import ProtocolError
from clients.mesos.elements import Decode, Elements
from clients.mesos.inventory import Inventory
from clients.mesos.recordio import Decoder
from tests.fixtures.mesos import FOLDER, load

LISTS: dict[tuple[str, ...], Decode | None] = {("a", "items"): None, ("a", "more"): None}
# Infinity is no JSON, though the standard library writes it.
FLOATS: Any = st.floats(allow_nan=False, allow_infinity=False)
LEAVES: Any = st.none() | st.booleans() | st.integers() | st.text() | FLOATS
VALUES: Any = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)
PARTS: Any = {"items": st.lists(VALUES), "other": VALUES}
MORE: Any = {"more": st.lists(VALUES)}
FIELDS: Any = {"type": st.text(), "a": st.fixed_dictionaries(PARTS, optional=MORE)}
DOCUMENTS: Any = st.fixed_dictionaries(FIELDS)


def take(
    data: bytes, size: int, lists: Mapping[tuple[str, ...], Decode | None] = LISTS
) -> list[Any]:
    elements = Elements(lists)
    found: list[Any] = []
    for start in range(0, len(data), size):
        found += elements.feed(data[start : start + size])
    return found + elements.close()


@settings(deadline=None)
@given(DOCUMENTS, st.integers(1, 40), st.booleans(), st.sampled_from([None, 1]))
def test_pieces_of_any_size_give_the_same(
    document: dict[str, Any], size: int, is_ascii: bool, indent: int | None
) -> None:
    text = json.dumps(document, ensure_ascii=is_ascii, indent=indent)
    found = take(text.encode(), size)
    assert [v for p, v in found if p == ("a", "items")] == document["a"]["items"]
    assert [v for p, v in found if p == ("a", "more")] == document["a"].get("more", [])
    assert [v for p, v in found if p == ("a", "other")] == [document["a"]["other"]]
    assert [v for p, v in found if p == ("type",)] == [document["type"]]


# Much alike and of different lengths, with what stands between them within them too.
ALIKE: Any = st.fixed_dictionaries(
    {"id": st.text(), "parts": st.lists(st.fixed_dictionaries({"n": st.integers(0, 9)}))}
)


@given(
    st.lists(ALIKE | ALIKE | VALUES, max_size=20),
    st.integers(1, 400),
    st.sampled_from([(",", ":"), (", ", ": ")]),
)
def test_a_decoder_of_a_list_gives_the_same(
    items: list[Any], size: int, separators: tuple[str, str]
) -> None:
    text = json.dumps({"a": {"items": items}}, separators=separators)
    found = take(text.encode(), size, {("a", "items"): msgspec.json.decode})
    assert [value for _, value in found] == items


def test_a_task_of_another_shape_is_told() -> None:
    (record, *_) = Decoder().feed((FOLDER / "subscribe.recordio").read_bytes())
    good = json.loads(record)["subscribed"]["get_state"]["get_tasks"]["tasks"][0]
    tasks = [good, good, {**good, "framework_id": {"id": "f"}}, good]
    answer = {"type": "GET_TASKS", "get_tasks": {"tasks": tasks}}
    inventory = Inventory("GET_TASKS")
    with pytest.raises(
        ProtocolError, match=r"get_tasks.tasks in their known form.*`value` - at `\$.framework"
    ):
        inventory.feed(json.dumps(answer).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"<html>hello</html>",
        b"[1]",
        b'{"a": {"items": [1, 2',
        b'{"a": {"items": [1 2]}}',
        b'{"a": nul}',
        b'{"a": {"items": ["\xff"]}}',
        b"",
    ],
)
def test_what_is_no_such_document_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="expected"):
        take(data, 3)


def test_an_element_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clients.mesos.elements.ELEMENT_CHARS_MAX", 1000)
    elements = Elements(LISTS)
    elements.feed(b'{"a": {"items": ["' + b"x" * 900)
    with pytest.raises(ProtocolError, match="expected JSON"):
        elements.feed(b"x" * 400)


def test_a_recorded_state_arrives_in_any_pieces() -> None:
    (record, *_) = Decoder().feed((FOLDER / "subscribe.recordio").read_bytes())
    whole = Inventory("SUBSCRIBED")
    whole.feed(record)
    whole.close()
    for size in (1, 7, 300):
        inventory = Inventory("SUBSCRIBED")
        for start in range(0, len(record), size):
            inventory.feed(record[start : start + size])
        inventory.close()
        assert inventory.state == whole.state
    assert len(whole.state.tasks.live) == 4


def test_an_answer_to_another_call_is_refused() -> None:
    inventory = Inventory("GET_TASKS")
    inventory.feed(load("health").body.encode())
    with pytest.raises(ProtocolError, match="answer to GET_TASKS, saw GET_HEALTH"):
        inventory.close()
