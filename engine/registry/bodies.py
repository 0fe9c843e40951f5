"""The bodies of requests and answers, as Confluent's REST interface has them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from engine.registry import errors
from engine.registry.errors import InvalidSchema, RegistryError
from engine.registry.schema import AVRO, Reference, Schema, is_metadata
from engine.registry.topic_records import StoredSchema


class SchemaRequest(NamedTuple):
    """What is to be registered, looked up or compared; ``version`` 0 and ``schema_id`` -1 are "whichever"."""

    schema: Schema
    version: int = 0
    schema_id: int = -1


def read_schema_request(body: Any) -> SchemaRequest:
    """Raises: RegistryError: a part is of the wrong kind; InvalidSchema: there is no schema."""
    found = _object(body)
    text = found.get("schema")
    if text is None or text == "":
        raise InvalidSchema("Empty schema: the body has none under 'schema'")
    if not isinstance(text, str):
        raise _wrong("schema", "the schema's text, as a string")
    kind = found.get("schemaType") or AVRO
    if not isinstance(kind, str):
        raise _wrong("schemaType", "AVRO, JSON or PROTOBUF")
    schema = Schema(
        kind,
        text,
        tuple(_reference(each) for each in _list(found, "references")),
        _metadata(found),
        _mapping(found, "ruleSet") or None,
    )
    version, schema_id = _number(found, "version", 0), _number(found, "id", -1)
    if version < -1 or version > 2**31 - 1:
        raise RegistryError(errors.INVALID_VERSION, invalid_version(str(version)))
    return SchemaRequest(schema, max(version, 0), schema_id)


def _reference(value: Any) -> Reference:
    if isinstance(value, dict):
        name, subject, version = value.get("name"), value.get("subject"), value.get("version")
        whole = isinstance(version, int) and not isinstance(version, bool)
        if isinstance(name, str) and isinstance(subject, str) and whole and name and subject:
            assert isinstance(version, int), "it is whole"
            return Reference(name, subject, version)
    raise _wrong("references", "a list of {name, subject, version}")


def invalid_version(said: str) -> str:
    """What is said of a version that is none."""
    return (
        f"The specified version '{said}' is not a valid version id. Allowed values are between [1, 2^31-1] and the "
        'string "latest"'
    )


def read_config_request(body: Any) -> dict[str, Any]:
    """``compatibility`` is the name in requests of what is ``compatibilityLevel`` in answers.

    Raises:
        RegistryError: a part is of the wrong kind.
    """
    found = dict(_object(body))
    for name in ("compatibility", "compatibilityLevel"):
        if name in found:
            level = found.pop(name)
            if level is not None and not isinstance(level, str):
                raise _wrong(name, "the name of a level")
            found["compatibilityLevel"] = None if level is None else level.upper()
    if not isinstance(found.get("normalize", False), (bool, type(None))):
        raise _wrong("normalize", "true or false")
    return found


def config_request_answer(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a change of a config is answered with: the request."""
    found = dict(config)
    if "compatibilityLevel" in found:
        found = {"compatibility": found.pop("compatibilityLevel"), **found}
    return found


def read_mode_request(body: Any) -> str:
    """Raises: RegistryError: there is no mode."""
    mode = _object(body).get("mode")
    if not isinstance(mode, str):
        raise RegistryError(errors.INVALID_MODE, 'the body has no mode: {"mode": "READWRITE"} for instance')
    return mode.upper()


def version_answer(stored: StoredSchema, text: str, *, deleted: bool = False) -> dict[str, Any]:
    """A version of a subject."""
    found: dict[str, Any] = {"subject": stored.subject, "version": stored.version, "id": stored.schema_id}
    found["guid"] = stored.schema.guid
    found |= _schema_parts(stored.schema)
    found["schema"] = text
    if stored.written_at_ms:
        found["ts"] = stored.written_at_ms
    if deleted:
        found["deleted"] = stored.is_deleted
    return found


def schema_answer(stored: StoredSchema, text: str, *, highest_id: int | None = None) -> dict[str, Any]:
    """A schema by its id."""
    found: dict[str, Any] = {"schema": text, "guid": stored.schema.guid, **_schema_parts(stored.schema)}
    if highest_id is not None:
        found["maxId"] = highest_id
    return found


def _schema_parts(schema: Schema) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if schema.schema_type != AVRO:
        found["schemaType"] = schema.schema_type
    if schema.references:
        found["references"] = [each.as_json() for each in schema.references]
    if schema.metadata is not None:
        found["metadata"] = schema.metadata
    if schema.rule_set is not None:
        found["ruleSet"] = schema.rule_set
    return found


def _object(body: Any) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise RegistryError(errors.UNPROCESSABLE, "the body is to be a JSON object")
    return body


def _list(found: Mapping[str, Any], name: str) -> list[Any]:
    value = found.get(name)
    if value is not None and not isinstance(value, list):
        raise _wrong(name, "a list")
    return value or []


def _mapping(found: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    value = found.get(name)
    if value is not None and not isinstance(value, dict):
        raise _wrong(name, "an object")
    return value


def _metadata(found: Mapping[str, Any]) -> Mapping[str, Any] | None:
    value = _mapping(found, "metadata") or None
    if value is not None and not is_metadata(value):
        raise _wrong(
            "metadata", "an object of tags (lists of texts), properties (texts) and sensitive (a list of texts)"
        )
    return value


def _number(found: Mapping[str, Any], name: str, default: int) -> int:
    value = found.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(name, "a number")
    return value


def _wrong(name: str, what: str) -> RegistryError:
    return RegistryError(errors.UNPROCESSABLE, f"{name} is to be {what}")
