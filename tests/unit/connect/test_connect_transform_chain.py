"""Transforms in a row, with predicates, and what their configs say when they are wrong."""

from __future__ import annotations

import re
from typing import Any

import pytest

from engine.connect import data
from engine.connect.data import Struct
from engine.connect.errors import ConfigError
from engine.connect.plugins import PluginType, find, listed
from engine.connect.predicates.predicates import TopicNameMatches
from engine.connect.records import ConnectRecord, Headers, SinkRecord, SourceRecord
from engine.connect.transforms.chain import TransformationChain

JAVA = "org.apache.kafka.connect.transforms"


def source(topic: str, value: Any, **more: Any) -> SourceRecord:
    return SourceRecord(topic=topic, value=value, source_partition={}, source_offset={}, **more)


def test_transforms_come_one_after_the_other() -> None:
    chain = TransformationChain.of(
        {
            "transforms": "hoist,route",
            "transforms.hoist.type": f"{JAVA}.HoistField$Value",
            "transforms.hoist.field": "line",
            "transforms.route.type": "RegexRouter",
            "transforms.route.regex": "(?<kind>[a-z]+)-(.*)",
            "transforms.route.replacement": "$2_${kind}",
        }
    )
    record = source("raw-files", "x", value_schema=data.STRING)
    made = chain.apply(record)
    assert made is not None
    assert made.topic == "files_raw"
    assert made.value == Struct(data.struct({"line": data.STRING}), {"line": "x"})
    assert (record.topic, record.value) == ("raw-files", "x")


class TopicHasO(TopicNameMatches):
    """Answers as Python's functions often do: with something, or None."""

    def test(self, record: ConnectRecord) -> Any:
        return re.match("o", record.topic)


@pytest.mark.parametrize("predicate", [f"{JAVA}.predicates.TopicNameMatches", f"{__name__}.TopicHasO"])
@pytest.mark.parametrize(("negate", "dropped"), [("false", "other"), ("true", "raw-x")])
def test_a_predicate_says_which_records_a_transform_is_for(negate: str, dropped: str, predicate: str) -> None:
    chain = TransformationChain.of(
        {
            "transforms": "drop",
            "transforms.drop.type": f"{JAVA}.Filter",
            "transforms.drop.predicate": "others",
            "transforms.drop.negate": negate,
            "predicates": "others",
            "predicates.others.type": predicate,
            "predicates.others.pattern": "oth.*",
        }
    )
    assert [topic for topic in ("raw-x", "other") if chain.apply(source(topic, 1)) is None] == [dropped]


def test_predicates_look_at_headers_and_values() -> None:
    configs = {"transforms": "d", "transforms.d.type": "Filter", "transforms.d.predicate": "p", "predicates": "p"}
    tombstones = TransformationChain.of({**configs, "predicates.p.type": "RecordIsTombstone"})
    with_header = TransformationChain.of({**configs, "predicates.p.type": "HasHeaderKey", "predicates.p.name": "h"})
    plain, headed = source("t", None), source("t", 1, headers=Headers().add("h", 1))
    assert [tombstones.apply(plain), with_header.apply(headed)] == [None, None]
    assert [tombstones.apply(headed), with_header.apply(plain)] == [headed, plain]


def test_no_transforms_make_a_chain_that_is_false() -> None:
    assert not TransformationChain.of({})
    assert not TransformationChain.of({"transforms": ""})


@pytest.mark.parametrize(
    ("configs", "why"),
    [
        ({"transforms": "a"}, 'Missing required configuration "transforms.a.type"'),
        ({"transforms": "a,a"}, "Duplicate alias"),
        ({"transforms": "a", "transforms.a.type": "Cats"}, "available are: .*Cast"),
        ({"transforms": "a", "transforms.a.type": "CastValue", "transforms.a.spec": "int31"}, "int31"),
        ({"transforms": "a", "transforms.a.type": "Filter", "transforms.a.predicate": "p"}, "no such alias"),
        ({"transforms": "a", "transforms.a.type": "RegexRouter", "transforms.a.regex": "("}, "Invalid regex"),
    ],
)
def test_configs_that_cannot_be_are_named(configs: dict[str, str], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        TransformationChain.of(configs)


def test_a_side_is_a_class_of_its_own_under_either_name() -> None:
    ours = "engine.connect.transforms.cast.CastKey"
    assert find(f"{JAVA}.Cast$Key", PluginType.TRANSFORMATION) is find(ours) is find("CastKey")
    assert len(listed(PluginType.TRANSFORMATION)) == 26
    assert len(listed(PluginType.PREDICATE)) == 3


def test_a_changed_record_keeps_what_its_kind_has() -> None:
    record = SinkRecord(topic="t", partition=1, offset=5, value="x", timestamp=7)
    changed = record.changed(topic="u")
    assert (changed.topic, changed.offset, changed.original_topic) == ("u", 5, "t")
