"""Requests and connections as rows, and a request decoded whole."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.gateway import GatewayError
from console.gateway.inspecting import BrokerInspector, decoded_lines
from console.viewmodel.cells import plain
from console.viewmodel.connections import ConnectionRow, members_as_rows, role_of, summary
from console.viewmodel.wire import WIRE_COLUMNS, WireRow, facts, message_cells, micros
from engine.record.builder import NewRecord, build_batch
from engine.supervisor.snapshot import ClusterSnapshot, GroupState, MemberState, Source
from engine.wire import apis, codec
from engine.wire.messages.produce_request import PartitionProduceData, ProduceRequest, TopicProduceData
from engine.wire.messages.request_header import RequestHeader
from engine.wire.redaction import redacted

ROW = WireRow(
    1, 1, 9, 1_795_521_600_000, 17, "127.0.0.1:5000", "PLAINTEXT", "billing", "Fetch", 17, 42, 120, 359, 79, 12_300,
    None, 0, (),
)  # fmt: skip


def test_times_are_short() -> None:
    assert [micros(each) for each in (None, 0, 850, 1_250, 12_300, 1_204_000)] == [
        "–", "0µs", "850µs", "1.2ms", "12ms", "1.20s"
    ]  # fmt: skip


def test_a_row_tells_what_went_wrong() -> None:
    outcome = next(each for each in WIRE_COLUMNS if each.key == "outcome")
    assert plain(outcome.cell(ROW)) == "–" and ROW.is_healthy
    failed = ROW._replace(errors=("NOT_LEADER_OR_FOLLOWER",), throttle_ms=30)
    assert plain(outcome.cell(failed)) == "NOT_LEADER_OR_FOLLOWER, throttled 30 ms" and not failed.is_healthy
    assert not ROW._replace(note="the connection was closed: no").is_healthy
    assert ROW._replace(note="needs no answer").is_healthy
    said = "\n".join(map(plain, facts(failed)))
    assert "Fetch version 17, correlation id 42" in said and "queued 79µs, handled 12ms, sent –" in said


def test_brokers_consoles_and_clients_are_told_apart() -> None:
    assert role_of("broker-2-fetcher-1", "PLAINTEXT") == "broker"
    assert role_of("", "CONTROLLER") == "broker"
    assert role_of("kconsole-observer", "PLAINTEXT") == "console"
    assert role_of("kconsole-workload", "PLAINTEXT") == "client"
    assert ROW.is_of_clients and not ROW._replace(client_id="broker-1-fetcher-2").is_of_clients
    # What a console sees of itself is all that it sees.
    assert ROW._replace(broker_id=None, client_id="kconsole-admin").is_of_clients


def test_connections_are_counted_by_clients() -> None:
    rows = [
        ConnectionRow(1, 1, "10.0.0.1:5000", "PLAINTEXT", "a", role="client", in_flight=2),
        ConnectionRow(2, 1, "10.0.0.1:5001", "PLAINTEXT", "a", role="client"),
        ConnectionRow(2, 2, "10.0.0.9:1", "CONTROLLER", "broker-1", role="broker"),
    ]
    assert summary(rows) == "3 connections · 1 client · 2 in flight"
    members = (MemberState("m", None, "reader", "/10.0.0.7"),)
    snapshot = ClusterSnapshot(0, Source.ATTACHED)
    snapshot = replace(snapshot, groups=(GroupState("billing", "Stable", coordinator=3, members=members),))
    (row,) = members_as_rows(snapshot)
    assert (row.broker_id, row.address, row.client_id, row.role) == (3, "10.0.0.7", "reader", "member of billing")


def test_a_request_is_decoded_whole_but_for_contents() -> None:
    records = build_batch([NewRecord(b"k", b"hunter2")] * 2, timestamp=5)
    topics = [TopicProduceData(name="orders", partition_data=[PartitionProduceData(index=3, records=records)])]
    request = redacted(ProduceRequest(acks=-1, timeout_ms=100, topic_data=topics))
    header = RequestHeader(request_api_key=0, request_api_version=9, correlation_id=42, client_id="billing")
    frame = codec.encode(header, apis.request_header_version(0, 9)) + codec.encode(request, 9)
    lines = decoded_lines(0, 9, frame, b"", {})
    assert lines[0] == "HEADER" and "client_id: billing" in lines and "acks: -1" in lines
    at = next(number for number, line in enumerate(lines) if "records:" in line)
    assert lines[at].endswith("records: contents are not kept")
    assert lines[at + 1].strip() == f"batch at 0: 2 records, {len(records)} bytes"
    assert lines[-2:] == ["RESPONSE", "(not kept)"] and "hunter2" not in "\n".join(lines)
    assert [plain(each) for each in message_cells(["HEADER", "acks: -1"])] == ["", "HEADER", "acks: -1"]
    assert any("does not parse" in each for each in decoded_lines(0, 9, frame, b"\x7f", {}))


async def test_a_broker_that_hangs_leaves_the_rows_of_the_others() -> None:
    asked: list[tuple[int, int, int]] = []

    async def ask(command: str, *, broker: int, watch: int = 0, after: int = 0, **_: int) -> dict[str, object]:
        if broker == 2:
            raise GatewayError("broker 2 did not answer within 3 s")
        asked.append((broker, watch, after))
        row = [8, 5, 17, "h:1", "PLAINTEXT", "billing", 1, 17, 42, 120, None, 1, None, None, 0, [], ""]
        return {"watch": 3, "rows": [row], "last": 8, "unseen": 2}

    inspector = BrokerInspector(ask)
    batch = await inspector.wire([1, 2])
    assert [(row.broker_id, row.api, row.number) for row in batch.rows] == [(1, "Fetch", 8)]
    assert batch.unseen == 2 and batch.problems == ("broker 2 did not answer within 3 s",)
    await inspector.wire([1])
    assert asked == [(1, 0, 0), (1, 3, 8)]

    async def gone(command: str, **_: int) -> dict[str, object]:
        return {"gone": True}

    with pytest.raises(GatewayError, match="this one is gone"):
        await BrokerInspector(gone).message(ROW, {})
