"""JSON Schemas, drafts 4 to 2020-12: checked against their draft, stored as compact JSON in the order they have."""

from __future__ import annotations

import json
from typing import Any

from engine.registry.errors import InvalidSchema
from engine.registry.json_documents import JsonDocuments
from engine.registry.json_text import read_json
from engine.registry.schema import ParsedSchema, ResolvedReference

_DEFAULT_DRAFT = "http://json-schema.org/draft-07/schema#"


class JsonSchema:
    """A schema with those that it refers to."""

    def __init__(self, value: Any, documents: JsonDocuments) -> None:
        self.documents = documents
        self._value = value
        self.canonical = _text(value)

    @classmethod
    def parse(cls, text: str, references: tuple[ResolvedReference, ...] = ()) -> JsonSchema:
        """Raises: InvalidSchema."""
        value = _loaded(text, "the schema")
        others = {each.name: _loaded(each.text, f"reference {each.name}") for each in references}
        try:
            _check_draft(value)
            documents = JsonDocuments(value, others)
            documents.check()
        except RecursionError:
            raise InvalidSchema("the schema is nested too deeply") from None
        return cls(value, documents)

    def normalized(self) -> str:
        """Keys in order."""
        return json.dumps(self._value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)

    def formatted(self, format_name: str) -> str:
        """There is no other form."""
        return self.canonical

    def problems_reading(self, writer: ParsedSchema) -> list[str]:
        """By :mod:`engine.registry.json_compatibility`."""
        from engine.registry.json_compatibility import differences

        assert isinstance(writer, JsonSchema), "both are of one type"
        found = differences(writer.documents, self.documents)
        return list(dict.fromkeys(str(each) for each in found if not each.is_compatible))


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _loaded(text: str, what: str) -> Any:
    try:
        value = read_json(text)
    except ValueError as error:
        raise InvalidSchema(f"{what} is no JSON: {error}") from None
    if not isinstance(value, (dict, bool)):
        raise InvalidSchema(f"{what} is no JSON Schema: that is an object, or true or false")
    return value


def _check_draft(value: Any) -> None:
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import Draft7Validator, validator_for

    draft = value.get("$schema") if isinstance(value, dict) else None
    if draft is not None and not isinstance(draft, str):
        raise InvalidSchema("$schema is the URI of a draft")
    if draft is not None and "draft-03" in draft:
        raise InvalidSchema("draft 3 of JSON Schema is not known here: 4, 6, 7, 2019-09 and 2020-12 are")
    try:
        validator = validator_for(value, default=Draft7Validator)
    except ValueError as error:
        raise InvalidSchema(f"$schema: {draft!r} is no URI: {error}") from None
    try:
        validator.check_schema(value)
    except OverflowError:
        raise InvalidSchema("no JSON Schema: a pattern in it counts further than anything can be counted") from None
    except SchemaError as error:
        where = "/".join(["#", *map(str, error.absolute_path)])
        raise InvalidSchema(f"no JSON Schema ({draft or _DEFAULT_DRAFT}): {where}: {error.message[:300]}") from None
