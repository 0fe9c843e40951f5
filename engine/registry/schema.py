"""A schema as it is registered, and what is asked of a kind of schemas."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

AVRO = "AVRO"
JSON = "JSON"
PROTOBUF = "PROTOBUF"


class Reference(NamedTuple):
    """What a schema takes from another one: ``name`` is a full type name (Avro), a URL (JSON) or a file (Protobuf)."""

    name: str
    subject: str
    version: int

    def as_json(self) -> dict[str, Any]:
        """As REST and the topic have it."""
        return {"name": self.name, "subject": self.subject, "version": self.version}


class Schema(NamedTuple):
    """What makes two registrations the same schema: all of it. ``metadata`` and ``rule_set`` are kept for clients."""

    schema_type: str
    text: str
    references: tuple[Reference, ...] = ()
    metadata: Mapping[str, Any] | None = None
    rule_set: Mapping[str, Any] | None = None

    @property
    def md5(self) -> bytes:
        """What Confluent finds equal schemas by; of schemas with a rule set it is our own."""
        digest = hashlib.md5(_bytes(self.text), usedforsecurity=False)
        for reference in self.references:
            digest.update(_bytes(reference.name))
            digest.update(_bytes(reference.subject))
            digest.update(reference.version.to_bytes(4, "big", signed=True))
        if self.metadata is not None:
            digest.update(b"\1")
            # The topic may have what no registry should have taken.
            (_hash_metadata if is_metadata(self.metadata) else _hash_json)(digest, self.metadata)
        if self.rule_set is not None:
            digest.update(b"\1")
            _hash_json(digest, self.rule_set)
        return digest.digest()

    @property
    def guid(self) -> str:
        """The same as a UUID."""
        return str(uuid.UUID(bytes=self.md5))


def is_metadata(value: Mapping[str, Any]) -> bool:
    """Whether what is called metadata has the parts that it may have, and of their kinds."""
    tags, properties = value.get("tags") or {}, value.get("properties") or {}
    lists = [value.get("sensitive") or []]
    if not isinstance(tags, Mapping) or not isinstance(properties, Mapping):
        return False
    lists += tags.values()
    return all(isinstance(each, list) and all(isinstance(one, str) for one in each) for each in lists) and all(
        isinstance(each, str) for each in properties.values()
    )


def _bytes(text: str) -> bytes:
    # Java writes a question mark for half of a character.
    return text.encode(errors="replace")


def _hash_metadata(digest: Any, metadata: Mapping[str, Any]) -> None:
    for name, values in sorted((metadata.get("tags") or {}).items()):
        digest.update(_bytes(name))
        for value in sorted(values):
            digest.update(_bytes(value))
    for name, value in sorted((metadata.get("properties") or {}).items()):
        digest.update(_bytes(name))
        digest.update(_bytes(value))
    for name in sorted(metadata.get("sensitive") or ()):
        digest.update(_bytes(name))


def _hash_json(digest: Any, value: Any) -> None:
    if isinstance(value, Mapping):
        for name, each in sorted(value.items()):
            digest.update(_bytes(name))
            _hash_json(digest, each)
    elif isinstance(value, list):
        for each in value:
            _hash_json(digest, each)
    elif value is not None:
        digest.update(_bytes(str(value)))


class ParsedSchema(Protocol):
    """A text that was understood."""

    @property
    def canonical(self) -> str:
        """The text that is stored: no matter of layout makes another schema."""

    def normalized(self) -> str:
        """The text with what means nothing put in order (``normalize=true``)."""

    def formatted(self, format_name: str) -> str:
        """The text in one of the type's own formats (``format=``); unknown ones are none, as with Confluent."""

    def problems_reading(self, writer: ParsedSchema) -> list[str]:
        """Why what ``writer`` wrote could not be read by this one; empty if it can. Both are of one type."""


class ResolvedReference(NamedTuple):
    """A text that a schema refers to by ``name``; what it refers to itself comes before it."""

    name: str
    text: str


def parse_schema(
    schema_type: str, text: str, references: tuple[ResolvedReference, ...] = (), *, is_new: bool = False
) -> ParsedSchema:
    """Understand a text.

    Args:
        is_new: also check what old registries let pass (the defaults of Avro's fields).

    Raises:
        InvalidSchema: it is none.
    """
    if schema_type == AVRO:
        from engine.registry.avro_schema import AvroSchema

        return AvroSchema.parse(text, references, is_new=is_new)
    if schema_type == JSON:
        from engine.registry.json_schema import JsonSchema

        return JsonSchema.parse(text, references)
    from engine.registry.protobuf_schema import ProtobufSchema

    return ProtobufSchema.parse(text, references)
