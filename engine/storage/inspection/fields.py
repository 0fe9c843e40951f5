"""Messages as Kafka's own JSON converters show them: the schema's field names, ids as text, bytes in base64."""

from __future__ import annotations

import base64
import re
from typing import Any

from engine.model.ids import uuid_to_str
from engine.wire.message import STRUCT, Field, Message

_WORD = re.compile(r"_(\w)")
_CAPITAL = re.compile(r"(?<!^)(?=[A-Z][a-z])|(?<=[a-z0-9])(?=[A-Z])")


def message_json(message: Message, version: int) -> dict[str, Any]:
    """The fields that the version has; tagged ones only where they are not what they are by default."""
    found: dict[str, Any] = {}
    for field in message.FIELDS:
        if not field.low <= version <= field.high:
            continue
        value = getattr(message, field.name)
        is_tagged = field.tagged is not None and field.tagged[0] <= version <= field.tagged[1]
        if is_tagged and _is_default(field, value):
            continue
        found[camel_case(field.name)] = _value_json(field.type, value, version)
    if message.unknown_tagged_fields:
        found["unknownTaggedFields"] = [
            {"tag": tag, "data": base64.b64encode(data).decode()} for tag, data in message.unknown_tagged_fields
        ]
    return found


def _is_default(field: Field, value: object) -> bool:
    if field.default is STRUCT:
        return bool(value == field.struct())
    return bool(value == field.default)


def _value_json(kind: str, value: Any, version: int) -> Any:
    if value is None:
        return None
    if isinstance(value, Message):
        return message_json(value, version)
    if isinstance(value, list):
        return [_value_json(kind.removeprefix("[]"), each, version) for each in value]
    if kind == "uuid":
        return uuid_to_str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    return value


def camel_case(name: str) -> str:
    """``topic_id`` as Kafka's schemas have it: ``topicId``."""
    return _WORD.sub(lambda match: match[1].upper(), name)


def type_name(name: str) -> str:
    """``FeatureLevelRecord`` as Kafka's MetadataRecordType has it: ``FEATURE_LEVEL_RECORD``."""
    return _CAPITAL.sub("_", name).upper()
