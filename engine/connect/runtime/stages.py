"""Between records and messages: transforms and converters, each failure handled where it happens.

A list at a time; what is the same for all of a list's records (the converters for a topic and schema, whether there are
transforms at all) is looked up when it changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from engine.connect.batches import SinkBatch, SourceBatch
from engine.connect.converters.converter import Converter, HeaderConverter
from engine.connect.data import Schema, SchemaAndValue
from engine.connect.errors import DataError
from engine.connect.records import ConnectRecord, Header, Headers, SinkRecord, SourceRecord
from engine.connect.runtime.error_operator import ErrorOperator, Stage
from engine.connect.transforms.chain import TransformationChain


class Converters(NamedTuple):
    """Of one connector."""

    key: Converter
    value: Converter
    header: HeaderConverter


class OutgoingRecord(NamedTuple):
    """A message for a topic, and the record that it was before transforms."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]] | None
    timestamp: int
    original: SourceRecord


class _Chain:
    def __init__(self, transforms: TransformationChain, converters: Converters, operator: ErrorOperator) -> None:
        self._transforms = transforms.stages
        self._key, self._value, self._header = converters
        self._operator = operator

    def _transformed(self, original: Any, record: Any) -> Any:
        """A record after all transforms, or None: dropped, or failed for good. ``original`` is what it was."""
        for stage in self._transforms:
            try:
                record = stage.apply(record)
            except Exception as error:
                kind = type(stage.transformation)
                call = partial(stage.apply, record)
                well, record = self._operator.again(original, Stage.TRANSFORMATION, kind, call, error)
                if not well:
                    return None
            if record is None:
                return None
        return record

    def _converted(self, original: Any, stage: Stage, converter: Any, call: Callable[[], Any]) -> tuple[bool, Any]:
        try:
            return True, call()
        except Exception as error:
            return self._operator.again(original, stage, type(converter), call, error)


class SourceStages(_Chain):
    """From a source's records to messages."""

    def __init__(self, transforms: TransformationChain, converters: Converters, operator: ErrorOperator) -> None:
        super().__init__(transforms, converters, operator)
        self._topic: str | None = None
        self._key_schema: Schema | None = None
        self._value_schema: Schema | None = None
        self._encode_key: Callable[[Any], bytes | None] = _unset
        self._encode_value: Callable[[Any], bytes | None] = _unset
        self._by_headers = self._key.uses_headers or self._value.uses_headers

    def convert(self, records: Sequence[SourceRecord], dropped: Callable[[SourceRecord], None]) -> list[OutgoingRecord]:
        """Messages of those that are not dropped, in order.

        Raises:
            ToleranceExceeded: a record failed, and is not tolerated.
        """
        found: list[OutgoingRecord] = []
        add = found.append
        record: Any
        for original in records:
            record = original
            if self._transforms:
                record = self._transformed(original, original)
                if record is None:
                    dropped(original)
                    continue
            if self._by_headers or len(record.headers):
                message = self._whole(original, record)
            else:
                message = self._plain(original, record)
            if message is None:
                dropped(original)
            else:
                add(message)
        return found

    def column(self, batch: SourceBatch) -> list[bytes | None] | None:
        """The bytes of a batch's values, if that is all there is to convert and nothing fails; else None."""
        if self._transforms or self._by_headers or (batch.timestamp is not None and batch.timestamp < 0):
            return None
        try:
            if self._key.encoder(batch.topic, None)(None) is not None:
                return None
            return self._value.encode_batch(batch.topic, batch.value_schema, batch.values)
        except Exception:
            return None

    def _plain(self, original: SourceRecord, record: ConnectRecord) -> OutgoingRecord | None:
        try:
            if (
                record.topic != self._topic
                or record.key_schema is not self._key_schema
                or record.value_schema is not self._value_schema
            ):
                self._prepare(record)
            when = record.timestamp
            if when is None:
                when = 0
            elif when < 0:
                raise DataError(f"Invalid record timestamp {when}")
            return OutgoingRecord(
                record.topic,
                -1 if record.partition is None else record.partition,
                self._encode_key(record.key),
                self._encode_value(record.value),
                None,
                when,
                original,
            )
        except Exception:
            # Which stage it was is found out one step at a time.
            return self._whole(original, record)

    def _prepare(self, record: ConnectRecord) -> None:
        self._topic = None
        self._encode_key = self._key.encoder(record.topic, record.key_schema)
        self._encode_value = self._value.encoder(record.topic, record.value_schema)
        self._topic, self._key_schema, self._value_schema = record.topic, record.key_schema, record.value_schema

    def _whole(self, original: SourceRecord, record: ConnectRecord) -> OutgoingRecord | None:
        topic = record.topic
        headers: list[tuple[str, bytes | None]] = []

        def with_headers() -> None:
            headers[:] = [
                (key, self._header.from_connect_header(topic, key, schema, value))
                for key, schema, value in record.headers
            ]

        well, _ = self._converted(original, Stage.HEADER_CONVERTER, self._header, with_headers)
        if not well:
            return None
        well, key = self._converted(
            original,
            Stage.KEY_CONVERTER,
            self._key,
            lambda: self._key.from_connect_data(topic, headers, record.key_schema, record.key),
        )
        if not well:
            return None
        well, value = self._converted(
            original,
            Stage.VALUE_CONVERTER,
            self._value,
            lambda: self._value.from_connect_data(topic, headers, record.value_schema, record.value),
        )
        if not well:
            return None
        if record.timestamp is not None and record.timestamp < 0:
            raise DataError(f"Invalid record timestamp {record.timestamp}")
        return OutgoingRecord(
            topic,
            -1 if record.partition is None else record.partition,
            key,
            value,
            headers or None,
            record.timestamp or 0,
            original,
        )


def _unset(_: Any) -> bytes | None:
    raise AssertionError("no converter was asked for")


_TIMESTAMP_TYPES = {0: "NoTimestampType", 1: "CreateTime", 2: "LogAppendTime"}


class SinkStages(_Chain):
    """From messages to records for a sink."""

    def __init__(self, transforms: TransformationChain, converters: Converters, operator: ErrorOperator) -> None:
        super().__init__(transforms, converters, operator)
        self._topic: str | None = None
        self._decode_key: Callable[[bytes | None], SchemaAndValue]
        self._decode_value: Callable[[bytes | None], SchemaAndValue]
        self._by_headers = self._key.uses_headers or self._value.uses_headers

    def column(self, messages: Sequence[Any]) -> SinkBatch | None:
        """A batch that makes records when they are wanted; None if there is more to do, or something fails."""
        if self._transforms or self._by_headers:
            return None
        values: list[Any] = []
        add = values.append
        schema: Schema | None = None
        schemas: list[Schema | None] | None = None
        keys: list[SchemaAndValue] | None = None
        try:
            for message in messages:
                if message.topic() != self._topic:
                    self._prepare(message.topic())
                value_schema, value = self._decode_value(message.value())
                if value_schema is not schema:
                    if values:
                        schemas = schemas if schemas is not None else [schema] * len(values)
                    schema = value_schema
                if schemas is not None:
                    schemas.append(value_schema)
                add(value)
                if message.headers():
                    return None
            if any(message.key() is not None for message in messages):
                keys = [self._keyed(message) for message in messages]
        except Exception:
            return None
        first = self._decode_key(None) if keys is None else None

        def record_at(index: int) -> SinkRecord:
            key = first if keys is None else keys[index]
            assert key is not None
            return self._made(
                messages[index],
                key,
                SchemaAndValue(schema if schemas is None else schemas[index], values[index]),
                Headers(),
            )

        return SinkBatch(values, record_at)

    def _keyed(self, message: Any) -> SchemaAndValue:
        if message.topic() != self._topic:
            self._prepare(message.topic())
        return self._decode_key(message.key())

    def _prepare(self, topic: str) -> None:
        self._topic = None
        self._decode_key, self._decode_value = self._key.decoder(topic), self._value.decoder(topic)
        self._topic = topic

    def convert(self, messages: Sequence[Any]) -> list[SinkRecord]:
        """Records of those that are not dropped, in order.

        Raises:
            ToleranceExceeded: a message failed, and is not tolerated.
        """
        found: list[SinkRecord] = []
        add = found.append
        for message in messages:
            record = self._record(message)
            if record is None:
                continue
            if self._transforms:
                changed = self._transformed(message, record)
                if changed is None:
                    continue
                if changed is not record:
                    changed.original_topic = record.original_topic
                    changed.original_partition = record.original_partition
                    changed.original_offset = record.original_offset
                record = changed
            add(record)
        return found

    def _record(self, message: Any) -> SinkRecord | None:
        topic = message.topic()
        raw_headers = message.headers()
        try:
            if self._by_headers:
                raise _ByHeaders
            if topic != self._topic:
                self._prepare(topic)
            key_and_schema = self._decode_key(message.key())
            value_and_schema = self._decode_value(message.value())
        except Exception:
            well, key_and_schema = self._converted(
                message,
                Stage.KEY_CONVERTER,
                self._key,
                lambda: self._key.to_connect_data(topic, raw_headers or (), message.key()),
            )
            if not well:
                return None
            well, value_and_schema = self._converted(
                message,
                Stage.VALUE_CONVERTER,
                self._value,
                lambda: self._value.to_connect_data(topic, raw_headers or (), message.value()),
            )
            if not well:
                return None
        headers = Headers()
        if raw_headers:
            well, headers = self._converted(
                message, Stage.HEADER_CONVERTER, self._header, lambda: self._headers(message)
            )
            if not well:
                return None
        return self._made(message, key_and_schema, value_and_schema, headers)

    @staticmethod
    def _made(message: Any, key: SchemaAndValue, value: SchemaAndValue, headers: Headers) -> SinkRecord:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        kind, when = message.timestamp()
        return SinkRecord(
            topic=topic,
            partition=partition,
            key_schema=key[0],
            key=key[1],
            value_schema=value[0],
            value=value[1],
            timestamp=when if kind else None,
            headers=headers,
            offset=offset,
            timestamp_type=_TIMESTAMP_TYPES[kind],
            original_topic=topic,
            original_partition=partition,
            original_offset=offset,
        )

    def _headers(self, message: Any) -> Headers:
        topic = message.topic()
        found = []
        for key, raw in message.headers():
            schema, value = self._header.to_connect_header(topic, key, raw)
            found.append(Header(key, schema, value))
        return Headers(found)


class _ByHeaders(Exception):
    """The converters want the headers: one step at a time."""
