"""The JSON serde goes past most of Python's json module: it must read and write what that does."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.streams import Serdes

JSON = Serdes.json()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_values_are_written_and_read_as_json_does(value: Any) -> None:
    try:
        wanted = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        with pytest.raises(UnicodeEncodeError):
            JSON.serialize(value)
        return
    assert JSON.serialize(value) == wanted
    assert JSON.deserialize(wanted) == value


@pytest.mark.parametrize(
    "data", [b' {"a": 1}\n', b"\xef\xbb\xbf[1]", '{"ä": 1}'.encode("utf-16"), b"1\x002\x00", b"NaN"]
)
def test_what_is_not_plain_is_read_too(data: bytes) -> None:
    read, wanted = JSON.deserialize(data), json.loads(data)
    assert read == wanted or (math.isnan(read) and math.isnan(wanted))


@pytest.mark.parametrize("data", [b"", b"{", b"1 2", b"\xff", b'{"a":1}x'])
def test_what_is_no_json_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        JSON.deserialize(data)


def test_what_json_cannot_write_is_an_error_each_time() -> None:
    endless: list[Any] = []
    endless.append(endless)
    for _ in range(2):
        with pytest.raises(TypeError, match="set"):
            JSON.serialize([{1}])
        with pytest.raises(ValueError, match="Circular"):
            JSON.serialize(endless)
    assert JSON.serialize([1]) == b"[1]"
