from __future__ import annotations

import xml.etree.ElementTree
from typing import Any

import pytest

from engine.drills.report_page import as_page, timeline

DOCUMENT: dict[str, Any] = {
    "drill": "mine",
    "about": "a <b> & c",
    "passed": False,
    "stopped": "",
    "cluster": {"brokers": [1, 2], "durability": "fsync", "configs": {}},
    "load": {"topic": "t", "partitions": 2, "replication_factor": 2, "acks": "1", "rate": 100.0, "clients": 1},
    "assertions": [
        {"name": "unavailable", "expected": "≤ 1 s", "measured": 700.0, "holds": True, "detail": "t-0 from 1.00 s"},
        {"name": "lost", "expected": "= 0", "measured": None, "holds": False, "detail": "t-1 <could> not be read"},
    ],
    "seconds": 8.0,
    "acts": [
        {"at": 2.0, "act": "kill leader", "kind": "kill", "brokers": [2]},
        {"at": 2.1, "act": "kill 1", "kind": "kill", "brokers": [1]},
        {"at": 4.0, "act": "start all", "kind": "start", "brokers": [1, 2]},
    ],
    "silences": [{"partition": 0, "from": 2.0, "to": 6.0, "ended": True}],
    "back_in_sync": 7.0,
    "latency_ms": {"p50": 1.0, "p99": None, "max": 9.0},
    "records": {
        "sent": 9,
        "acknowledged": 8,
        "lost": 0,
        "duplicated": 0,
        "reordered": 0,
        "read_back": True,
        "failed": {"X": 1},
    },
    "acknowledged_each_100_ms": [10] * 20 + [0] * 40 + [10] * 20,
    "events": [{"at": 3.0, "kind": "leader_changed", "subject": "t-0", "reason": "broker 2 <fenced>"}],
    "processes": [
        {"broker": 1, "at": -1.0, "state": "running"},
        {"broker": 2, "at": -1.0, "state": "running"},
        {"broker": 2, "at": 2.0, "state": "killed"},
        {"broker": 2, "at": 4.0, "state": "running"},
    ],
}


@pytest.fixture
def picture() -> xml.etree.ElementTree.Element:
    return xml.etree.ElementTree.fromstring(timeline(DOCUMENT))


def test_a_silence_stands_on_the_row_of_its_partition_as_long_as_it_lasted(
    picture: xml.etree.ElementTree.Element,
) -> None:
    (silent,) = picture.findall("rect[@class='silent']")
    # Four of the eight seconds, which are 888 units wide.
    assert float(silent.get("width", 0)) == 444.0
    assert float(silent.get("x", 0)) == 96 + 222


def test_brokers_have_a_stretch_for_each_state(picture: xml.etree.ElementTree.Element) -> None:
    assert [float(each.get("width", 0)) for each in picture.findall("rect[@class='killed']")] == [222.0]
    assert [float(each.get("width", 0)) for each in picture.findall("rect[@class='running']")] == [888.0, 222.0, 444.0]


def test_labels_of_acts_close_to_each_other_do_not_stand_over_each_other(
    picture: xml.etree.ElementTree.Element,
) -> None:
    labels = {each.text: each.get("y") for each in picture.findall("text[@class='act']")}
    assert list(labels) == ["kill leader: broker 2", "kill 1", "start all: brokers 1, 2"]
    assert labels["kill leader: broker 2"] != labels["kill 1"]


def test_whatever_others_wrote_is_text_on_the_page_and_nothing_is_loaded() -> None:
    page = as_page(DOCUMENT)
    assert "a &lt;b&gt; &amp; c" in page and "<b>" not in page
    assert "t-1 &lt;could&gt; not be read" in page and "broker 2 &lt;fenced&gt;" in page
    assert "http" not in page and "src=" not in page and "url(" not in page and "<script" not in page


def test_the_page_says_what_held_and_what_not() -> None:
    page = as_page(DOCUMENT)
    assert "<title>Drill mine: failed</title>" in page
    assert '<td class="good">holds</td><td>unavailable</td><td>≤ 1 s</td><td class="n">700 ms</td>' in page
    assert '<td class="bad">fails</td><td>lost</td><td>= 0</td><td class="n">not measured</td>' in page
    assert "9 sent, 8 acknowledged, 0 lost, 0 duplicated, 0 reordered, 1 failed" in page
