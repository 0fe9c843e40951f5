"""Who reads whom: by Confluent's rules, by Avro's own code (recorded), and by what a reader really makes of bytes."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import random
from collections import deque
from pathlib import Path

import fastavro
import pytest
from fastavro.utils import generate_many
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.registry import json_patterns
from engine.registry.errors import InvalidSchema
from engine.registry.schema import ResolvedReference, parse_schema
from tests.unit.registry.avro_pairs import pair
from tests.unit.registry.compatibility_cases import CASES, Case

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "avro-1.12.2.json.gz"


@pytest.mark.parametrize("case", CASES, ids=lambda each: f"{each.schema_type.lower()}: {each.what}")
def test_by_confluents_rules(case: Case) -> None:
    old, new = (parse_schema(case.schema_type, text) for text in (case.old, case.new))
    problems = new.problems_reading(old)
    assert (not problems, not old.problems_reading(new)) == (case.backward, case.forward), problems
    for finding in case.findings:
        assert any(finding in problem for problem in problems), problems


@pytest.mark.parametrize("case", CASES, ids=lambda each: f"{each.schema_type.lower()}: {each.what}")
def test_every_schema_reads_what_it_wrote_itself(case: Case) -> None:
    for text in (case.old, case.new):
        schema = parse_schema(case.schema_type, text)
        assert schema.problems_reading(parse_schema(case.schema_type, text)) == []
        # And what is stored of it is the same schema.
        assert parse_schema(case.schema_type, schema.canonical).canonical == schema.canonical


def test_messages_that_moved_into_an_import_are_compared_there() -> None:
    old = parse_schema("PROTOBUF", 'syntax = "proto3"; package p; message M { N n = 1; } message N { int32 a = 1; }')
    imported = 'syntax = "proto3"; package p; message N { string a = 1; }'
    new = parse_schema(
        "PROTOBUF",
        'syntax = "proto3"; package p; import "n.proto"; message M { N n = 1; }',
        (ResolvedReference("n.proto", imported),),
    )
    problems = new.problems_reading(old)
    assert any("FIELD_SCALAR_KIND_CHANGED" in each for each in problems), problems
    assert any("FIELD_NAMED_TYPE_CHANGED" in each for each in problems), problems


def test_schemas_that_are_entangled_in_themselves_are_compared_in_time() -> None:
    # Each definition refers to all others: as many ways through them as there are permutations.
    names = [f"d{number}" for number in range(12)]
    definitions = {
        name: {
            "type": "object",
            "properties": {each: {"oneOf": [{"$ref": f"#/definitions/{each}"}, {"type": "null"}]} for each in names},
        }
        for name in names
    }
    text = json.dumps({"$ref": "#/definitions/d0", "definitions": definitions})
    definitions["d11"]["properties"]["d0"] = {"type": "string"}
    changed = json.dumps({"$ref": "#/definitions/d0", "definitions": definitions})
    old, new = parse_schema("JSON", text), parse_schema("JSON", changed)
    assert old.problems_reading(parse_schema("JSON", text)) == []
    assert new.problems_reading(old)


def test_by_avros_own_library() -> None:
    """400 random pairs: what it says of them (``make record-avro-java``), the texts it writes included."""
    recorded = json.loads(gzip.decompress(GOLDEN.read_bytes()))
    assert len(recorded) == 400
    sure = 0
    for each in recorded:
        old, new = each["pair"]
        javas = each["java"]
        if "error" in javas:
            with pytest.raises(InvalidSchema):
                parse_schema("AVRO", old, is_new=True)
                parse_schema("AVRO", new, is_new=True)
            continue
        before, after = parse_schema("AVRO", old, is_new=True), parse_schema("AVRO", new, is_new=True)
        assert (before.canonical, after.canonical) == (javas["old"], javas["new"])
        assert (not after.problems_reading(before)) == javas["backward"], each
        assert (not before.problems_reading(after)) == javas["forward"], each
        sure += javas["backward"] != javas["forward"]
    assert sure > 50


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000_000))
def test_what_is_called_compatible_is_read(seed: int) -> None:
    """fastavro writes with the one schema and reads with the other."""
    try:
        old, new = (parse_schema("AVRO", json.dumps(each), is_new=True) for each in pair(seed))
    except InvalidSchema:
        # A change gave a record a field twice.
        return
    if new.problems_reading(old):
        return
    writer, reader = (fastavro.parse_schema(json.loads(each.canonical)) for each in (old, new))
    random.seed(seed)
    for datum in generate_many(writer, 3):
        data = io.BytesIO()
        fastavro.schemaless_writer(data, writer, datum)
        data.seek(0)
        # Bytes are read as a string if they are one.
        with contextlib.suppress(UnicodeDecodeError):
            fastavro.schemaless_reader(data, writer, reader)


def test_a_pattern_with_two_repetitions_is_searched_for() -> None:
    assert json_patterns.found_in(r"^[a-z]+_[0-9]+$", "item_12")
    assert not json_patterns.found_in(r"^[a-z]+_[0-9]+$", "item")


def test_a_pattern_that_takes_for_ever_matches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_patterns, "_PATIENCE_S", 0.3)
    assert not json_patterns.found_in(r"^(a+)+$", "a" * 40 + "!")
    assert json_patterns.found_in("^s_", "s_b")
    assert not json_patterns.found_in("(", "(")
    # One slow pattern after another would keep everybody waiting.
    monkeypatch.setattr(json_patterns, "_given_up", deque(json_patterns._given_up * 5, maxlen=5))
    assert len(json_patterns._given_up) == 5
    with pytest.raises(InvalidSchema, match="simpler"):
        json_patterns.found_in(r"^(b+)+$", "b")
    assert json_patterns.found_in("^t_", "t_b")


def test_a_text_of_blanks_is_no_descriptor_and_is_found_to_be_none_at_once() -> None:
    with pytest.raises(InvalidSchema):
        parse_schema("PROTOBUF", " " * 2_000_000 + "{")
