"""The topology drawn: order, lanes, figures."""

from __future__ import annotations

import pytest

from console.viewmodel.cells import plain
from console.viewmodel.streams import streams_rows
from console.viewmodel.streams_told import KeptWorkers, worker_told
from console.viewmodel.streams_topology import (
    TOPOLOGY_COLUMNS,
    UNTOLD,
    TopologyNode,
    drawn,
    in_order,
    topology_rows,
    topology_told,
)
from tests.console.sample_snapshots import newer_groups, sample_cluster
from tests.console.sample_streams import APPLICATION, TOPOLOGY, status, with_workers


def node(name: str, *successors: str, store: str = "") -> TopologyNode:
    kind = "source" if name.startswith("source") else "processor" if successors else "sink"
    return TopologyNode(name, kind, (), (store,) if store else (), successors)


def picture(*nodes: TopologyNode) -> list[str]:
    return [f"{lanes} {each.name}" if each is not None else lanes for lanes, each in drawn(nodes)]


def test_a_chain_is_a_column_and_ways_that_part_and_meet_again_have_lanes() -> None:
    assert picture(node("source", "map"), node("map", "out"), node("out")) == ["○ source", "● map", "◇ out"]
    assert picture(
        node("source-1", "split"),
        node("split", "big", "small", "rest"),
        node("big", "merge"),
        node("small", "merge"),
        node("rest", "merge"),
        node("merge", "out", store="seen"),
        node("out"),
    ) == [
        "○ source-1",
        "● split",
        "├─┬─╮",
        "● │ │ big",
        "│ ● │ small",
        "│ │ ● rest",
        "├─┴─╯",
        "◉ merge",
        "◇ out",
    ]


def test_lanes_that_end_are_used_again_and_those_between_are_crossed() -> None:
    # a feeds c and d, b feeds d: when d comes, the lane of c's sink is free.
    assert picture(
        node("source-a", "c", "d"),
        node("source-b", "d"),
        node("c", "out-c"),
        node("out-c"),
        node("d", "out-d"),
        node("out-d"),
    ) == [
        "○ source-a",
        "├─╮",
        "● │ c",
        "◇ │ out-c",
        "  │",
        "○ │ source-b",
        "├─╯",
        "● d",
        "◇ out-d",
    ]
    assert picture(
        node("source-a", "x", "y", "z"),
        node("source-b", "x"),
        node("x", "out"),
        node("y", "out"),
        node("z", "x2"),
        node("x2", "out"),
        node("out"),
    )[:3] == ["○ source-a", "├─┬─╮", "│ ● │ y"]


def test_every_node_stands_below_all_that_feed_it() -> None:
    nodes = [node("source", "b", "a"), node("a", "c"), node("b", "a", "c"), node("c", "out"), node("out")]
    order = [each.name for each in in_order(nodes)]
    assert sorted(order) == sorted(each.name for each in nodes)
    for each in nodes:
        assert all(order.index(each.name) < order.index(name) for name in each.successors)


def test_nodes_have_rates_totals_and_topics_without_the_applications_name() -> None:
    kept = KeptWorkers()
    for seconds in (0, 2):
        told = worker_told("a", {**status(0, 0), "nodes": {"KSTREAM-AGGREGATE-0000000003": 20 + 300 * seconds}})
        kept.take({"a": told}, seconds * 1_000.0)
    application = streams_rows(with_workers(newer_groups(sample_cluster())), APPLICATION)
    rows = topology_rows(application, topology_told(TOPOLOGY), kept, 0.0)
    shown = {row.key: [plain(column.cell(row)).strip() for column in TOPOLOGY_COLUMNS] for row in rows}
    assert shown["part 1"] == ["sub-topology 1", "", "3/3 tasks  lag 7", "", ""]
    assert shown["KSTREAM-AGGREGATE-0000000003"] == [
        "◉ KSTREAM-AGGREGATE-0000000003",
        "300/s",
        "store counts",
        "█",
        "620",
    ]
    assert shown["counts-repartition-sink"][1:3] == ["–", "writes counts-repartition"]
    assert len(shown) == len(rows)


def test_without_workers_the_parts_are_drawn_as_brokers_know_them() -> None:
    application = streams_rows(newer_groups(sample_cluster()), APPLICATION)
    rows = topology_rows(application, None, KeptWorkers(), 0.0)
    names = [row.title or (row.node.name if row.node is not None else "") for row in rows]
    assert names[:5] == ["sub-topology 0", "clicks", UNTOLD, "counts-repartition", "sub-topology 1"]
    assert len({row.key for row in rows}) == len(rows)
    assert topology_rows([], None, KeptWorkers(), 0.0) == []


def test_what_is_no_topology_is_refused() -> None:
    for document in ({}, [], {"sub_topologies": [{}]}, {"sub_topologies": 3}):
        with pytest.raises(ValueError, match="no topology"):
            topology_told(document)
