"""What scripts are told: verdicts, whole pictures, and fields whose names stay."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from console.gateway import GatewayError
from console.looking import Unreachable, look
from console.viewmodel.documents import ROWS, TABLE_FIELDS, detail_lines, health_document, selected, table_lines
from console.viewmodel.settling import missing
from console.viewmodel.verdict import Ailment, judge, lost_brokers
from engine.supervisor.snapshot import (
    BrokerState,
    ClusterSnapshot,
    GroupOffset,
    GroupState,
    PartitionState,
    QuorumState,
    QuorumVoter,
    Source,
    TopicState,
)
from tests.console.sample_snapshots import newer_groups, sample_cluster

NOW = 1_795_521_600_000
DOCS = Path(__file__).resolve().parents[3] / "docs" / "scripting.md"


def partition(number: int, leader: int = 1, isr: tuple[int, ...] = (1, 2, 3)) -> PartitionState:
    return PartitionState("orders", number, leader, 4, (1, 2, 3), isr, high_watermark=10, observed_at_ms=NOW)


def group(name: str, lag: int | None) -> GroupState:
    offset = GroupOffset("orders", 0, 7, None if lag is None else 7 + lag, lag, None)
    return GroupState(name, "Stable", offsets=(offset,), total_lag=lag, observed_at_ms=NOW)


def pictured(*partitions: PartitionState, **changes: Any) -> ClusterSnapshot:
    """Three brokers that answer; one topic with these partitions, or with a healthy one."""
    nodes = tuple(QuorumVoter(each, 90, 0, True) for each in (1, 2, 3))
    brokers = tuple(BrokerState(each, f"b{each}", 9092, reachable=True, observed_at_ms=NOW) for each in (1, 2, 3))
    values: dict[str, Any] = {
        "brokers": brokers,
        "topics": (TopicState("orders", "id", False, partitions or (partition(0),), 2),),
        "quorum": QuorumState(3, 5, 90, nodes, NOW),
        "metadata_observed_at_ms": NOW,
        **changes,
    }
    return ClusterSnapshot(NOW, Source.ATTACHED, "c1", **values)


def silenced(snapshot: ClusterSnapshot, broker_id: int) -> ClusterSnapshot:
    silent = (replace(each, reachable=False, error="does not answer") for each in snapshot.brokers)
    brokers = tuple(
        each if now.broker_id == broker_id else now for now, each in zip(snapshot.brokers, silent, strict=True)
    )
    return replace(snapshot, brokers=brokers)


def kinds(snapshot: ClusterSnapshot, **options: Any) -> dict[str, tuple[str, ...]]:
    return {str(each.kind): each.subjects for each in judge(snapshot, **options).reasons}


def test_a_cluster_without_fault_is_healthy() -> None:
    verdict = judge(pictured(), max_lag=0)
    assert verdict.is_healthy and verdict.reasons == ()


@pytest.mark.parametrize(
    ("snapshot", "expected"),
    [
        (pictured(partition(0, -1, ())), {"offline_partitions", "under_min_isr", "under_replicated"}),
        (pictured(partition(0, 1, (1,))), {"under_min_isr", "under_replicated"}),
        (pictured(partition(0, 1, (1, 2))), {"under_replicated"}),
        (silenced(pictured(), 1), {"brokers_down", "offline_partitions"}),
        (silenced(pictured(), 2), {"brokers_down"}),
        (pictured(brokers=(replace(pictured().brokers[0], fenced=True), *pictured().brokers[1:])), {"brokers_down"}),
        (pictured(quorum=None), {"no_controller"}),
        (pictured(quorum=QuorumState(-1, 5, 90, (), NOW)), {"no_controller"}),
        # Brokers answer, and have known no leader of the quorum for long.
        (pictured(quorum=QuorumState(3, 5, 90, (), NOW - 60_000)), {"no_controller"}),
        (pictured(brokers=pictured().brokers[:2]), {"brokers_down"}),
        (pictured(topics=(TopicState("orders", "id", False, (), error="UNKNOWN_TOPIC_ID"),)), {"unknown"}),
    ],
)
def test_each_ailment_is_a_reason_of_its_own(snapshot: ClusterSnapshot, expected: set[str]) -> None:
    assert set(kinds(snapshot)) == expected


def test_reasons_name_what_they_befell_the_gravest_first() -> None:
    snapshot = silenced(pictured(partition(0), partition(1, 2, (2,)), partition(2, -1, ())), 1)
    assert list(kinds(snapshot).items()) == [
        ("brokers_down", ("1",)),
        ("offline_partitions", ("orders-0", "orders-2")),
        ("under_min_isr", ("orders-1", "orders-2")),
        ("under_replicated", ("orders-1", "orders-2")),
    ]


def test_a_broker_that_metadata_left_out_is_missed_where_replicas_are_assigned_to_it() -> None:
    assert lost_brokers(pictured(brokers=pictured().brokers[:2])) == {
        3: "not registered, but replicas are assigned to it"
    }


def test_lag_counts_only_over_a_limit_and_one_that_is_not_known_is_no_proof_of_health() -> None:
    snapshot = pictured(groups=(group("late", 11), group("fine", 10), group("blind", None)))
    assert kinds(snapshot) == {}
    assert kinds(snapshot, max_lag=10) == {"lag": ("late",), "unknown": ("blind",)}


def test_what_nobody_told_in_time_is_no_proof_of_health() -> None:
    assert [each.kind for each in judge(pictured(), missing=["broker 2"]).reasons] == [Ailment.UNKNOWN]


def test_a_picture_is_whole_when_all_who_can_answer_have() -> None:
    whole = pictured()
    assert missing(whole) == []
    assert missing(replace(whole, metadata_observed_at_ms=0)) == ["metadata"]
    not_asked = replace(whole, brokers=(*whole.brokers[:2], BrokerState(3, "b3", 9092)))
    assert missing(not_asked) == ["broker 3"]
    # One that was asked and does not answer is not waited for.
    assert missing(silenced(whole, 3)) == []
    assert missing(replace(whole, quorum=None)) == ["the metadata quorum"]
    assert missing(replace(whole, topics=(replace(whole.topics[0], min_insync_replicas=None),))) == ["topic configs"]
    assert missing(replace(whole, source=Source.EMBEDDED)) == ["the supervisor"]


def test_a_lag_is_waited_for_while_the_leader_that_knows_the_log_end_answers() -> None:
    blind = pictured(groups=(group("g", None), group("h", None)))
    assert missing(blind) == ["group g and 1 more"]
    assert missing(silenced(blind, 1)) == [], "broker 1 leads orders-0"
    unread = GroupOffset("orders", 0, None, None, None, "m1")
    idle = replace(group("g", 0), offsets=(unread,))
    assert missing(pictured(groups=(idle,))) == [], "nothing was committed, so there is no lag to wait for"
    assert missing(pictured(groups=(replace(group("g", None), error="NOT_COORDINATOR"),))) == []


class Telling:
    """A gateway that tells these pictures, and no more."""

    def __init__(self, *snapshots: ClusterSnapshot, error: str = "") -> None:
        self._snapshots = snapshots
        self._error = error

    async def snapshots(self) -> AsyncIterator[ClusterSnapshot]:
        for each in self._snapshots:
            yield each
        if self._error:
            raise GatewayError(self._error)
        raise TimeoutError  # as if time were up


async def test_a_look_takes_the_first_whole_picture_and_at_the_end_the_last_one_there_was() -> None:
    early, partly, whole = ClusterSnapshot(NOW, Source.ATTACHED), pictured(quorum=None), pictured()
    seen = await look(Telling(early, partly, whole, pictured(quorum=None)), 5)  # type: ignore[arg-type]
    assert seen == (whole, ())
    seen = await look(Telling(early, partly), 5)  # type: ignore[arg-type]
    assert seen == (partly, ("the metadata quorum",))
    seen = await look(Telling(early, partly, whole), 5, without=["the metadata"])  # type: ignore[arg-type]
    assert seen == (partly, ())
    with pytest.raises(Unreachable, match="the supervisor is gone"):
        await look(Telling(early, error="the supervisor is gone"), 5)  # type: ignore[arg-type]


def test_things_are_found_by_name() -> None:
    snapshot = pictured(partition(0), partition(1), groups=(group("g", 1),))
    rows = ROWS["partitions"](snapshot)
    assert selected("partitions", rows, ["orders-1"]) == ([rows[1]], [])
    assert selected("partitions", rows, ["orders", "orders-7"]) == (rows, ["orders-7"])
    assert selected("brokers", ROWS["brokers"](snapshot), ["2", "9"])[1] == ["9"]
    assert [row["topic"] for row in selected("offsets", ROWS["offsets"](snapshot), ["g"])[0]] == ["orders"]


def test_every_field_is_documented_and_every_documented_field_is_there() -> None:
    snapshot = newer_groups(sample_cluster())
    told = {thing: tuple(rows(snapshot)[0]) for thing, rows in ROWS.items()}
    told["health"] = tuple(health_document(snapshot, judge(snapshot)))
    documented = {
        found[1]: tuple(re.findall(r"`(\w+)`", found[2]))
        for found in re.finditer(r"^\| \*\*(\w+)\*\* \| (.*?) \|$", DOCS.read_text(), re.MULTILINE)
    }
    assert {thing: documented.get(thing) for thing in told} == told
    assert all(set(fields) <= set(told[thing]) for thing, fields in TABLE_FIELDS.items() if thing in told)


def test_rows_are_aligned_and_what_is_not_known_is_a_dash() -> None:
    rows = [{"name": "a", "lag": None, "isr": [1, 2]}, {"name": "bcd", "lag": 1200, "isr": []}]
    assert table_lines(rows, ("name", "lag", "isr")) == ["NAME   LAG  ISR", "a        -  1,2", "bcd   1200  -"]
    assert detail_lines({"name": "a", "of": {"b": True}, "rows": rows}) == [
        *("name: a", "of:", "  b: yes", "rows:"),
        *("  NAME   LAG  ISR", "  a        -  1,2", "  bcd   1200  -"),
    ]
    json.dumps(rows)
