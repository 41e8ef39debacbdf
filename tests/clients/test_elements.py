"""A document taken apart while it arrives holds what the whole one holds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.mesos import ProtocolError
from clients.mesos.elements import Elements
from clients.mesos.inventory import Inventory
from clients.mesos.recordio import Decoder
from tests.fixtures.mesos import FOLDER, load

LISTS = [("a", "items"), ("a", "more")]
LEAVES: Any = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)
VALUES: Any = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)
PARTS: Any = {"items": st.lists(VALUES), "other": VALUES}
MORE: Any = {"more": st.lists(VALUES)}
FIELDS: Any = {"type": st.text(), "a": st.fixed_dictionaries(PARTS, optional=MORE)}
DOCUMENTS: Any = st.fixed_dictionaries(FIELDS)


def take(data: bytes, size: int) -> list[Any]:
    elements = Elements(LISTS)
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
