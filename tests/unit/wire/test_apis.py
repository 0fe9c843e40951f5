"""The table of APIs, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from engine.wire import codec
from engine.wire.apis import (
    ApiKey,
    latest_version,
    request_class,
    request_header_version,
    response_class,
    response_header_version,
    schema_listeners,
    version_range,
)
from engine.wire.messages.request_header import RequestHeader
from engine.wire.record_frames import (
    decode_coordinator_record,
    decode_metadata_record,
    encode_coordinator_key,
    encode_coordinator_value,
    encode_metadata_record,
)


def test_importing_the_table_imports_no_message() -> None:
    code = "import sys, engine.wire.apis; print([m for m in sys.modules if m.startswith('engine.wire.messages.')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_every_key_has_its_request_and_response() -> None:
    for key in ApiKey:
        low, high = version_range(key)
        request, response = request_class(key), response_class(key)
        assert request.API_KEY == response.API_KEY == key
        assert request.NAME.removesuffix("Request") == response.NAME.removesuffix("Response")
        assert (low, high) == (request.MIN_VERSION, request.MAX_VERSION)
        assert low <= latest_version(key) <= high
        assert set(schema_listeners(key)) <= {"broker", "controller"}


@pytest.mark.parametrize(
    ("key", "version", "request_header", "response_header"),
    [
        (ApiKey.API_VERSIONS, 0, 1, 0),
        (ApiKey.API_VERSIONS, 3, 2, 0),
        (ApiKey.PRODUCE, 8, 1, 0),
        (ApiKey.PRODUCE, 9, 2, 1),
        (ApiKey.FETCH, 11, 1, 0),
        (ApiKey.FETCH, 12, 2, 1),
        (ApiKey.SASL_HANDSHAKE, 1, 1, 0),
    ],
)
def test_header_versions_follow_flexibility(
    key: ApiKey, version: int, request_header: int, response_header: int
) -> None:
    assert request_header_version(key, version) == request_header
    assert response_header_version(key, version) == response_header


def test_the_client_id_of_a_flexible_header_keeps_its_old_length() -> None:
    header = RequestHeader(request_api_key=3, request_api_version=12, correlation_id=7, client_id="me")
    assert codec.encode(header, 2) == b"\x00\x03\x00\x0c\x00\x00\x00\x07\x00\x02me\x00"


def test_a_metadata_record_has_its_frame_type_and_version_before_it() -> None:
    from engine.wire.messages.topic_record import TopicRecord

    record = TopicRecord(name="orders", topic_id=bytes(range(16)))
    data = encode_metadata_record(record)
    assert data == b"\x01\x02\x00\x07orders" + bytes(range(16)) + b"\x00"
    assert decode_metadata_record(data) == (record, 0)
    with pytest.raises(codec.DecodeError, match="too many"):
        decode_metadata_record(data + b"x")
    with pytest.raises(codec.DecodeError, match="frame version"):
        decode_metadata_record(b"\x02" + data[1:])
    with pytest.raises(codec.DecodeError, match="unknown"):
        decode_metadata_record(b"\x01\x63" + data[2:])


def test_a_change_of_a_broker_is_written_in_the_version_that_brought_it() -> None:
    """As the metadata log of Apache Kafka 4.3.1 has them."""
    from engine.wire.messages.broker_registration_change_record import BrokerRegistrationChangeRecord

    for version, more, tagged in [
        (0, {"fenced": -1}, b"\x01\x00\x01\xff"),
        (1, {"in_controlled_shutdown": 1}, b"\x01\x01\x01\x01"),
        (2, {"log_dirs": [bytes(range(16))]}, b"\x01\x02\x11\x02" + bytes(range(16))),
        (3, {"cordoned_log_dirs": []}, b"\x01\x03\x01\x01"),
    ]:
        record = BrokerRegistrationChangeRecord(broker_id=3, broker_epoch=85, **more)  # type: ignore[arg-type]
        data = encode_metadata_record(record)
        assert data == b"\x01\x11" + bytes((version,)) + b"\x00\x00\x00\x03" + bytes(7) + b"\x55" + tagged
        assert decode_metadata_record(data) == (record, version)


def test_a_coordinator_record_has_its_type_before_the_key_and_its_version_before_the_value() -> None:
    from engine.wire.messages.offset_commit_key import OffsetCommitKey
    from engine.wire.messages.offset_commit_value import OffsetCommitValue

    key = OffsetCommitKey(group="g", topic="t", partition=3)
    value = OffsetCommitValue(offset=12, metadata="m", commit_timestamp=5)
    key_bytes, value_bytes = encode_coordinator_key(key), encode_coordinator_value(value, 3)
    assert key_bytes == b"\x00\x01\x00\x01g\x00\x01t\x00\x00\x00\x03"
    assert value_bytes[:2] == b"\x00\x03"
    assert decode_coordinator_record(key_bytes, value_bytes, "group") == (key, value)
    assert decode_coordinator_record(key_bytes, None, "group") == (key, None)
    assert decode_coordinator_record(b"\x03\xe7xx", value_bytes, "group") is None
