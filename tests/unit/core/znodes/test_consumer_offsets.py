"""Znodes of committed offsets: their names, what is in them, and what a write is made of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.znodes.consumer_offsets import (
    KeptOffset,
    KnownZnodes,
    ZnodeNotUnderstood,
    decode_detail,
    decode_offset,
    detail_path,
    encode_detail,
    encode_offset,
    kept_offset,
    name_of,
    offset_path,
    text_of,
)
from engine.core.znodes.operations import Create, Delete, SetData, Znode

KEPT = KeptOffset(7, 2, "m\u00e9", 123, -1, bytes(range(16)), 41)


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_any_text_is_a_name_and_comes_back(text: str) -> None:
    name = name_of(text)
    assert text_of(name) == text
    # PathUtils.validatePath
    assert name not in ("", ".", "..")
    assert all(ord(each) >= 0x20 and not 0x7F <= ord(each) <= 0x9F and each != "/" for each in name)
    assert all(not 0xD800 <= ord(each) <= 0xF8FF and ord(each) < 0xFFF0 for each in name)


def test_ids_of_kafka_0_8_are_names_as_they_are() -> None:
    assert offset_path("my_group-1.x", "orders", 3) == "/consumers/my_group-1.x/offsets/orders/3"
    assert detail_path("my_group-1.x", "orders", 3) == "/kconsole/offsets/my_group-1.x/orders/3"
    assert [name_of(each) for each in ("a/b", "100%", "..", "")] == ["a%2Fb", "100%25", "%2E%2E", "%"]


def test_what_is_written_is_read() -> None:
    assert decode_offset("/p", encode_offset(2**63 - 1)) == 2**63 - 1
    assert decode_detail("/p", encode_detail(KEPT)) == KEPT
    for data in (b"", b"x", b"1e3", str(2**63).encode()):
        with pytest.raises(ZnodeNotUnderstood, match="/p has"):
            decode_offset("/p", data)
    with pytest.raises(ZnodeNotUnderstood, match="/p is not to be understood"):
        decode_detail("/p", b'{"version":1}')


def znode(data: bytes, mzxid: int) -> Znode:
    return Znode(data, 0, 1, mzxid, 0)


@pytest.mark.parametrize(
    ("offset", "detail", "found"),
    [
        (znode(b"7", 9), znode(encode_detail(KEPT), 9), (KEPT, True)),
        # Set by somebody else: later than what it replaced, and nothing more is known of it.
        (znode(b"7", 10), znode(encode_detail(KEPT), 9), (KeptOffset(7, log_offset=41), False)),
        (znode(b"8", 9), znode(encode_detail(KEPT), 9), (KeptOffset(8, log_offset=41), False)),
        (znode(b"8", 9), None, (KeptOffset(8), False)),
        (znode(b"8", 9), znode(b"broken", 9), (KeptOffset(8), False)),
    ],
)
def test_an_offset_has_its_detail_if_both_were_written_at_once(
    offset: Znode, detail: Znode | None, found: tuple[KeptOffset, bool]
) -> None:
    assert kept_offset("/offset", offset, "/detail", detail) == found


def test_a_write_makes_what_is_missing_and_knows_it_then() -> None:
    known = KnownZnodes("g")
    for path in ("/consumers", "/kconsole/offsets"):
        known.found(path, exists=True)
    made = known.operations("t", 0, KEPT)
    assert [each.path for each in made] == [
        "/consumers/g",
        "/consumers/g/offsets",
        "/consumers/g/offsets/t",
        "/consumers/g/offsets/t/0",
        "/kconsole/offsets/g",
        "/kconsole/offsets/g/t",
        "/kconsole/offsets/g/t/0",
    ]
    assert all(isinstance(each, Create) for each in made)
    assert [type(each) for each in known.operations("t", 0, KEPT)] == [SetData, SetData]
    assert len(known.operations("t", 1, KEPT)) == 2
    assert known.emptied() == []
    # Somebody else has deleted one of the two.
    known.found("/consumers/g/offsets/t/0", exists=False)
    assert known.operations("t", 0, None) == [Delete("/kconsole/offsets/g/t/0")]
    assert len(known.operations("t", 1, None)) == 2
    assert known.emptied() == [
        "/consumers/g/offsets/t",
        "/kconsole/offsets/g/t",
        "/consumers/g/offsets",
        "/kconsole/offsets/g",
        "/consumers/g",
    ]
    assert len(known.operations("t", 0, KEPT)) == 7
