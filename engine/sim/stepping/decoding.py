"""A frame as the message that it is, and that message as lines for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import ZERO_UUID, uuid_to_str
from engine.record.batch import iter_batches
from engine.record.reader import read_records
from engine.sim.stepping.wire_log import Crossing
from engine.wire.apis import request_class, request_header_version, response_class, response_header_version
from engine.wire.codec import DecodeError, decode
from engine.wire.message import Message
from engine.wire.messages.request_header import RequestHeader
from engine.wire.messages.response_header import ResponseHeader

TopicName = Callable[[bytes], str]
RecordsLines = Callable[[object], list[str]]
_MOST_RECORDS = 50
_LONGEST_BYTES = 48


class Decoded(NamedTuple):
    """A message and who sent it; ``message`` is None if it is none that is known, with the reason in ``problem``."""

    message: Message | None
    client_id: str
    problem: str = ""


def decode_crossing(crossing: Crossing) -> Decoded:
    """Header and body of a frame."""
    key, version, client_id = crossing.api_key, crossing.version, ""
    try:
        if crossing.is_request:
            header, body_at = decode(RequestHeader, request_header_version(key, version), crossing.frame)
            client_id = header.client_id or ""
            message, _ = decode(request_class(key), version, crossing.frame, body_at)
        else:
            _, body_at = decode(ResponseHeader, response_header_version(key, version), crossing.frame)
            message, _ = decode(response_class(key), version, crossing.frame, body_at)
    except (DecodeError, KeyError, ValueError) as error:
        return Decoded(None, client_id, str(error) or type(error).__name__)
    return Decoded(message, client_id)


def message_lines(
    message: Message, version: int, topic_name: TopicName, records: RecordsLines | None = None
) -> list[str]:
    """Every field of its version, indented; topics by their names, error codes by Kafka's, records one by one, or as
    ``records`` has them."""
    lines: list[str] = []
    _struct_lines(message, version, topic_name, 0, lines, records or _records_whole)
    return lines


def _records_whole(records: object) -> list[str]:
    return [records_words(records), *_record_lines(records)]


def _struct_lines(
    struct: Message, version: int, topic_name: TopicName, depth: int, lines: list[str], records: RecordsLines
) -> None:
    pad = "  " * depth
    for field in struct.FIELDS:
        if not field.low <= version <= field.high and field.tag is None:
            continue
        value = getattr(struct, field.name)
        if field.tag is not None and value == field.default:
            continue
        if isinstance(value, Message):
            lines.append(f"{pad}{field.name}:")
            _struct_lines(value, version, topic_name, depth + 1, lines, records)
        elif isinstance(value, list) and value and isinstance(value[0], Message):
            lines.append(f"{pad}{field.name}:")
            for each in value:
                at = len(lines)
                _struct_lines(each, version, topic_name, depth + 2, lines, records)
                if len(lines) > at:
                    lines[at] = f"{pad}  - {lines[at].lstrip()}"
        elif field.type == "records":
            words, *more = records(value)
            lines.append(f"{pad}{field.name}: {words}")
            lines += [f"{pad}  {line}" for line in more]
        else:
            lines.append(f"{pad}{field.name}: {_scalar(field.name, field.type, value, topic_name)}")


def _scalar(name: str, kind: str, value: object, topic_name: TopicName) -> str:
    if value is None:
        return "null"
    if name == "error_code" and isinstance(value, int):
        return f"{value} {error_word(value)}"
    if kind == "uuid" and isinstance(value, bytes):
        if name == "topic_id" and value != ZERO_UUID:
            return f"{uuid_to_str(value)} ({topic_name(value)})"
        return uuid_to_str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes | bytearray | memoryview):
        return _bytes_words(bytes(value))
    if isinstance(value, list):
        return f"[{', '.join(_scalar(name, '', each, topic_name) for each in value)}]"
    return str(value)


def error_word(code: int) -> str:
    """Kafka's name of an error."""
    try:
        return ErrorCode(code).name
    except ValueError:
        return "?"


def _bytes_words(data: bytes) -> str:
    shown = data[:_LONGEST_BYTES]
    text = shown.decode("ascii", "replace")
    text = text if text.isprintable() and "\ufffd" not in text else shown.hex(" ", 4)
    return f"{len(data)} bytes {text}{'…' if len(data) > _LONGEST_BYTES else ''}"


def records_words(records: object) -> str:
    """``3 records at 10–12 (240 bytes)``."""
    if records is None or not isinstance(records, bytes | bytearray | memoryview) or not len(records):
        return "no records"
    count, first, last = 0, -1, -1
    try:
        for header, _ in iter_batches(records):
            count += header.record_count
            first = header.base_offset if first < 0 else first
            last = header.last_offset
    except KafkaError:
        pass
    where = "" if first < 0 else f" at {first}" if first == last else f" at {first}–{last}"
    return f"{count} record{'s' if count != 1 else ''}{where} ({len(records)} bytes)"


def _record_lines(records: object) -> list[str]:
    if records is None or not isinstance(records, bytes | bytearray | memoryview):
        return []
    lines: list[str] = []
    try:
        for header, batch in iter_batches(records):
            kind = " control" if header.is_control else ""
            lines.append(
                f"batch at {header.base_offset}, epoch {header.partition_leader_epoch}, producer {header.producer_id} "
                f"epoch {header.producer_epoch} sequence {header.base_sequence}{kind}"
            )
            for record in read_records(batch, header):
                if len(lines) >= _MOST_RECORDS:
                    return [*lines, "…"]
                key = "" if record.key is None else f"key {_bytes_words(record.key)}  "
                value = "null" if record.value is None else _bytes_words(record.value)
                lines.append(f"  {record.offset}: {key}value {value}")
    except KafkaError as error:
        lines.append(f"! {error.message}")
    return lines
