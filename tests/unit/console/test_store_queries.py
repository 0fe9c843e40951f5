"""What is typed to ask a store, and what comes back."""

from __future__ import annotations

import pytest

from console.viewmodel.cells import plain
from console.viewmodel.store_queries import (
    STORE_COLUMNS,
    QueryError,
    StoreQuery,
    StoreRow,
    entries_told,
    entry_columns,
    moment_words,
    parse_query,
    shown,
    store_rows,
    store_told,
)

NOW_MS = 1_764_000_000_000
COUNTS = StoreRow("counts", "timestamped-key-value", "1", (), 0, "string", "long", None, None, None)
ORDERS = COUNTS._replace(name="orders", key_serde="JsonSerde")
PRICES = COUNTS._replace(name="prices", kind="versioned-key-value")
WINDOWS = COUNTS._replace(name="by-minute", kind="timestamped-window")
SESSIONS = COUNTS._replace(name="visits", kind="session")


@pytest.mark.parametrize(
    ("line", "path", "parameters"),
    [
        ("", "range", {"limit": "200"}),
        ("all limit=5 reverse", "range", {"limit": "5", "reverse": "true"}),
        ("limit=7", "range", {"limit": "7"}),
        ("cart", "key", {"key": "cart"}),
        ("get all", "key", {"key": "all"}),
        ('"all"', "key", {"key": "all"}),
        ('"two words" stale', "key", {"key": "two words", "stale": "true"}),
        ("reverse", "key", {"key": "reverse"}),
        ('"limit=5"', "key", {"key": "limit=5"}),
        ("range a m", "range", {"from": "a", "to": "m", "limit": "200"}),
        ("range .. m partial", "range", {"to": "m", "limit": "200", "partial": "true"}),
        ("range a", "range", {"from": "a", "limit": "200"}),
        ("prefix user-", "range", {"prefix": "user-", "limit": "200"}),
    ],
)
def test_lines_become_requests(line: str, path: str, parameters: dict[str, str]) -> None:
    query = parse_query(line, COUNTS, NOW_MS)
    assert (query.path, query.parameters) == (("v1", "stores", "counts", path), parameters)


def test_keys_in_json_are_sent_as_json_and_text_in_quotes_without_them() -> None:
    assert parse_query('{"id": 7}', ORDERS, NOW_MS).key == '{"id": 7}'
    assert parse_query('"a b"', ORDERS, NOW_MS).key == '"a b"'
    assert parse_query("range [1, 2] [3]", ORDERS, NOW_MS)[3:5] == ("[1, 2]", "[3]")
    assert parse_query('"a \\"b"', COUNTS, NOW_MS).key == 'a "b'


def test_windows_and_sessions_are_asked_by_key_and_time() -> None:
    query = parse_query("cart -5m now limit=9", WINDOWS, NOW_MS)
    assert query == StoreQuery("by-minute", "window", "cart", from_ms=NOW_MS - 300_000, to_ms=NOW_MS, limit=9)
    assert query.parameters["from_ms"] == str(NOW_MS - 300_000)
    assert parse_query("all .. -1h", SESSIONS, NOW_MS)[1:8] == (
        "session",
        None,
        None,
        None,
        None,
        None,
        NOW_MS - 3_600_000,
    )
    dated = parse_query("cart 2025-11-24 10:00 2025-11-24 11:00", WINDOWS, NOW_MS)
    assert dated.to_ms is not None and dated.from_ms is not None and dated.to_ms - dated.from_ms == 3_600_000


def test_a_versioned_store_is_asked_for_what_a_key_had() -> None:
    query = parse_query("tea -5m stale", PRICES, NOW_MS)
    assert (query.kind, query.parameters) == (
        "key",
        {"key": "tea", "as_of": str(NOW_MS - 300_000), "stale": "true"},
    )
    assert parse_query("get all now", PRICES, NOW_MS).parameters == {"key": "all", "as_of": str(NOW_MS)}
    assert parse_query("tea 2025-11-24 14:03", PRICES, NOW_MS).as_of_ms is not None
    assert parse_query("tea", PRICES, NOW_MS).parameters == {"key": "tea"}
    (row,) = entries_told({"found": True, "key": "tea", "value": 3, "timestamp": 1, "valid_to": NOW_MS}).rows
    until = next(each for each in entry_columns(PRICES) if each.key == "until")
    assert plain(until.cell(row)) == moment_words(NOW_MS)
    assert plain(until.cell(row._replace(valid_to_ms=None))) == "newest"


@pytest.mark.parametrize(
    ("line", "store", "said"),
    [
        ("two words", COUNTS, "double quotes"),
        ("get", COUNTS, "needs a key"),
        ("range", COUNTS, "range a m"),
        ("range a b c", COUNTS, "range a m"),
        ("prefix", COUNTS, "prefix user-"),
        ("all a", COUNTS, "nothing stands after all"),
        ("all limit=0", COUNTS, "from 1 to 5,000"),
        ("all limit=x", COUNTS, "from 1 to 5,000"),
        ('{"id": ', ORDERS, "not closed"),
        ('"a"b', COUNTS, "a blank is missing"),
        ("range a b", WINDOWS, "has windows"),
        ("cart yesterday", WINDOWS, "no moment"),
        ("cart -5m now now", WINDOWS, "a time, or two"),
    ],
)
def test_lines_that_ask_nothing_say_what_would(line: str, store: StoreRow, said: str) -> None:
    with pytest.raises(QueryError, match=said):
        parse_query(line, store, NOW_MS)


def test_entries_are_read_with_windows_bytes_and_what_is_missing() -> None:
    found = entries_told(
        {
            "entries": [
                {"key": "a", "value": {"n": 1}, "timestamp": 5, "partition": 2},
                {"key": {"base64": "YWI="}, "value": {"base64": "//8="}, "window": {"start": 0, "end": 60_000}},
            ],
            "truncated": True,
            "missing": [{"partition": 1, "state": "RESTORING"}],
        }
    )
    assert (found.truncated, found.missing) == (True, ("partition 1 RESTORING",))
    first, second = found.rows
    assert (shown(first.entry_key), shown(first.value), first.timestamp_ms, first.partition) == ("a", '{"n": 1}', 5, 2)
    assert (shown(second.entry_key), shown(second.value), second.window) == ("ab", "0xffff", (0, 60_000))
    columns = {column.key: plain(column.cell(second)) for column in entry_columns(WINDOWS)}
    assert columns["window"].endswith("00:00 +60s") and columns["timestamp"] == "–"
    forever = second._replace(window=(0, 2**63 - 1), timestamp_ms=2**62)
    columns = {column.key: plain(column.cell(forever)) for column in entry_columns(WINDOWS)}
    assert columns["window"].endswith("00:00 on") and columns["timestamp"] == str(2**62)
    assert moment_words(2**63 - 1) == "no end"
    assert "window" not in [column.key for column in entry_columns(COUNTS)]
    assert entries_told({"found": False, "key": "a"}).rows == ()
    assert entries_told({"found": True, "key": "a", "value": None, "partition": 0}).rows[0].value is None
    with pytest.raises(ValueError, match="no entries"):
        entries_told({"message": "?"})
    with pytest.raises(ValueError, match="no entries"):
        entries_told({"entries": [{"key": 1, "timestamp": float("inf")}]})
    assert len({row.key for row in found.rows}) == 2


def test_one_store_is_one_row_whichever_workers_have_its_partitions() -> None:
    def told(partitions: list[int], entries: int | None, *, is_global: bool = False):
        return store_told(
            {
                "name": "counts",
                "kind": "window",
                "sub_topology": 1,
                "is_global": is_global,
                "partitions": partitions,
                "standby_partitions": [9],
                "key_serde": "string",
                "value_serde": None,
                "retention_ms": 86_400_000,
                "window_size_ms": 500,
                "entries": entries,
            }
        )

    (row,) = store_rows({"h:2": [told([1], 30)], "h:1": [told([2, 0], 12)]})
    assert (row.partitions, row.standbys, row.entries) == (((0, "h:1"), (1, "h:2"), (2, "h:1")), 2, 42)
    cells = {column.key: plain(column.cell(row)) for column in STORE_COLUMNS}
    assert (cells["serdes"], cells["window"], cells["retention"]) == ("string → ?", "500 ms", "24h")
    (row,) = store_rows({"h:1": [told([], 7, is_global=True)], "h:2": [told([], 6, is_global=True)]})
    assert (row.entries, plain(STORE_COLUMNS[1].cell(row))) == (7, "global window")
    with pytest.raises(ValueError, match="list of stores"):
        store_told({"name": "x"})
