"""The records of the topic: what they are as bytes, and what is known after them."""

from __future__ import annotations

import pytest

from engine.registry.schema import Reference, Schema
from engine.registry.state import RegistryState
from engine.registry.topic_records import (
    SCHEMA,
    Key,
    Record,
    StoredSchema,
    clear_subject_record,
    config_record,
    context_record,
    delete_subject_record,
    ids_record,
    mode_record,
    noop_record,
    read_key,
    schema_record,
    tombstone,
)

INT, LONG = Schema("AVRO", '"int"'), Schema("AVRO", '"long"')


def state_after(*records: Record) -> RegistryState:
    state = RegistryState()
    for record in records:
        state.apply(record.key, record.value, 1_700_000_000_000)
    return state


def version(subject: str, number: int, schema_id: int, schema: Schema = INT) -> Record:
    return schema_record(StoredSchema(subject, number, schema_id, schema))


def test_a_schema_with_all_that_it_may_have_is_read_as_it_was_written() -> None:
    schema = Schema("JSON", "{}", (Reference("n", "s", 3),), {"properties": {"owner": "me"}}, {"domainRules": []})
    stored = StoredSchema("a:b/c ü", 2, 5, schema, is_deleted=True)
    state = state_after(schema_record(stored))
    assert state.subjects["a:b/c ü"][2] == stored._replace(written_at_ms=1_700_000_000_000)


def test_what_karapace_and_older_registries_wrote_is_read() -> None:
    state = RegistryState()
    # Karapace: other order, other magic, no "deleted"; unknown attributes mean nothing.
    state.apply(
        b'{"keytype": "SCHEMA", "subject": "s", "version": 1, "magic": 1}',
        b'{"subject": "s", "version": 1, "id": 9, "schema": "\\"int\\"", "md5": "x", "schemaType": null}',
    )
    state.apply(b'{"keytype":"CONFIG","subject":null,"magic":0}', b'{"compatibilityLevel":"FULL"}')
    assert state.subjects["s"][1] == StoredSchema("s", 1, 9, INT)
    assert state.configs == {None: {"compatibilityLevel": "FULL"}}
    assert state.highest_ids == {".": 9}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"", None),
        (b"\xff", None),
        (b"[]", None),
        (b'{"magic":0}', None),
        (b'{"keytype":"SCHEMA","magic":1}', b"{}"),
        (b'{"keytype":"SCHEMA","subject":"s","version":"1","magic":1}', b"{}"),
        (b'{"keytype":"SCHEMA","subject":"s","version":1,"magic":1}', b"{}"),
        (b'{"keytype":"SCHEMA","subject":"s","version":1,"magic":1}', b'{"id":1,"schema":"x","references":[7]}'),
        (b'{"keytype":"SCHEMA","subject":"s","version":1,"magic":1}', b'{"id":1e999,"schema":"x"}'),
        (
            b'{"keytype":"SCHEMA","subject":"s","version":1,"magic":1}',
            b'{"id":1,"schema":"x","references":[{"name":"n","subject":"s","version":9999999999}]}',
        ),
        (b'{"keytype":"NOOP","magic":0}', b'{"highestIds":[1]}'),
        (b'{"keytype":"CONFIG","magic":0}', b"7"),
        (b'{"keytype":"DELETE_SUBJECT","subject":"s","magic":0}', b"{}"),
    ],
)
def test_what_is_no_record_changes_nothing(key: bytes, value: bytes | None) -> None:
    state = state_after(version("s", 1, 1))
    with pytest.raises(ValueError):
        state.apply(key, value)
    assert list(state.subjects) == ["s"]


def test_a_subject_is_deleted_up_to_a_version_and_goes_on_after_it() -> None:
    records = [version("s", 1, 1), version("s", 2, 2, LONG), delete_subject_record("s", 2)]
    state = state_after(*records)
    assert state.versions("s") == []
    assert [each.version for each in state.versions("s", deleted=True)] == [1, 2]
    state = state_after(*records, version("s", 3, 1))
    assert [each.version for each in state.versions("s")] == [3]
    state = state_after(version("s", 1, 1), version("s", 3, 2, LONG), delete_subject_record("s", 2))
    assert [each.version for each in state.versions("s")] == [3]
    # Compaction may leave the deletion alone in the topic.
    assert state_after(delete_subject_record("s", 2), version("s", 3, 1)).versions("s")[0].version == 3


def test_what_is_taken_back_is_found_by_nothing_any_more() -> None:
    refers = Schema("AVRO", '"int"', (Reference("n", "s", 1),))
    state = state_after(version("s", 1, 1), version("r", 1, 2, refers))
    assert [each.subject for each in state.referrers("s", 1)] == ["r"]
    for subject in ("s", "r"):
        state.apply(*tombstone(Key(SCHEMA, subject, 1)))
    assert state.subjects == {}
    assert (
        state.with_id(".", 1) == state.equal_to(".", INT) == state.with_guid(INT.guid) == state.referrers("s", 1) == []
    )
    # Ids are not given again, also by a registry that starts when compaction has taken the schemas away.
    assert state.highest_ids == state_after(ids_record(state.highest_ids), noop_record()).highest_ids == {".": 2}


@pytest.mark.parametrize("metadata", ['{"properties":{"a":1}}', '{"tags":7}', '{"sensitive":[{}],"tags":{"a":"b"}}'])
def test_metadata_that_no_registry_should_have_taken_hides_no_schema(metadata: str) -> None:
    state = RegistryState()
    key = b'{"keytype":"SCHEMA","subject":"s","version":1,"magic":1}'
    state.apply(key, f'{{"id":1,"schema":"\\ud800","metadata":{metadata}}}'.encode())
    assert state.with_guid(state.versions("s")[0].schema.guid) == state.versions("s")
    state.apply(key, None)
    assert state.subjects == {}


def test_a_cleared_subject_keeps_what_lives() -> None:
    deleted = schema_record(StoredSchema("s", 1, 1, INT, is_deleted=True))
    state = state_after(deleted, version("s", 2, 2, LONG), clear_subject_record("s"))
    assert [each.version for each in state.versions("s", deleted=True)] == [2]


def test_contexts_count_their_ids_for_themselves() -> None:
    state = state_after(version("s", 1, 7), context_record(".c"), version(":.c:s", 1, 1, LONG))
    assert state.contexts == [".", ".c"]
    assert state.highest_ids == {".": 7, ".c": 1}
    assert [each.schema for each in state.with_id(".c", 1)] == [LONG]
    assert state.with_id(".", 1) == []


def test_configs_and_modes_are_set_and_taken_back() -> None:
    state = state_after(
        config_record("s", {"compatibilityLevel": "NONE"}), mode_record(None, "READONLY"), noop_record()
    )
    assert (state.configs, state.modes) == ({"s": {"compatibilityLevel": "NONE"}}, {None: "READONLY"})
    for key in (Key("CONFIG", "s"), Key("MODE")):
        state.apply(*tombstone(key))
    assert (state.configs, state.modes) == ({}, {})


def test_a_key_of_a_kind_that_is_not_known_is_passed_over() -> None:
    assert read_key(b'{"keytype":"ASSOCIATION","magic":0}').keytype == "ASSOCIATION"
    assert state_after(Record(b'{"keytype":"ASSOCIATION","magic":0}', b"{}")).subjects == {}
