"""Applications over streams as a tree of rows."""

from __future__ import annotations

from dataclasses import replace

from console.viewmodel.cells import plain
from console.viewmodel.streams import STREAMS_COLUMNS, StreamsRow, streams_remark, streams_rows
from engine.supervisor.snapshot import StreamsTopology
from tests.console.sample_snapshots import newer_groups, sample_cluster


def cells(row: StreamsRow) -> dict[str, str]:
    return {column.key: plain(column.cell(row)) for column in STREAMS_COLUMNS}


def test_an_application_has_its_parts_below_it_with_their_tasks_lag_and_topics() -> None:
    snapshot = newer_groups(sample_cluster())
    rows = streams_rows(snapshot)
    application, first, second = rows
    assert [cells(row)["application"] for row in rows] == ["word-count", "├ 0", "└ 1"]
    assert cells(application) | {"reads": "", "writes": "", "stores": ""} == {
        "application": "word-count",
        "state": "◑ Reconciling",
        "tasks": "4/5",
        "workers": "1",
        "copies": "2",
        "lag": "131",
        "rate": "–",
        "reads": "",
        "writes": "",
        "stores": "",
    }
    assert cells(first) | {"application": ""} == {
        "application": "",
        "state": "",
        "tasks": "2/3",
        "workers": "1",
        "copies": "1",
        "lag": "124",
        "rate": "–",
        "reads": "clicks",
        "writes": "▶ counts-repartition",
        "stores": "–",
    }
    assert (cells(second)["reads"], cells(second)["stores"]) == ("counts-repartition", "counts")
    assert [row.is_healthy for row in rows] == [False, False, True]
    assert len({row.key for row in rows}) == 3
    assert streams_remark(rows) == "1 application · 1 task without a member"


def test_another_application_no_other_groups_and_what_is_not_known_is_said() -> None:
    snapshot = newer_groups(sample_cluster())
    assert streams_rows(snapshot, "billing") == [] and streams_remark([]) == ""
    assert len(streams_rows(snapshot, "word-count")) == 3
    (found,) = (each for each in snapshot.groups if each.group_type == "streams")
    for group, said in (
        (replace(found, topology=None), "no topology yet"),
        (replace(found, topology=StreamsTopology(0, None)), "not ready: source topics are missing"),
        (replace(found, topology=None, members=(), error="broker 2 did not answer"), "broker 2 did not answer"),
    ):
        (row,) = streams_rows(snapshot.with_facts(groups=(group,)))
        assert cells(row)["reads"].startswith(said)
        assert (cells(row)["tasks"], cells(row)["lag"]) == ("–", "–")
    assert cells(row)["workers"] == "–" and not row.is_healthy
