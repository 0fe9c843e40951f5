"""Protobuf schemas, texts or descriptors in base64: :mod:`engine.protobuf` understands them (extra ``registry``)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2

from engine.protobuf.files import MAIN, InvalidProtobuf, compiled, descriptor_of
from engine.protobuf.text import NotWritable, default_json_name, file_text
from engine.registry.errors import InvalidSchema
from engine.registry.schema import ParsedSchema, ResolvedReference


class ProtobufSchema:
    """A file with all that it imports."""

    def __init__(self, canonical: str, file: Any, imported: Mapping[str, Any]) -> None:
        """``file`` and those that are ``imported`` (by name) are ``FileDescriptorProto``."""
        self.canonical = canonical
        self.file = file
        self.imported = imported
        self._normalized = ""

    @classmethod
    def parse(cls, text: str, references: tuple[ResolvedReference, ...] = ()) -> ProtobufSchema:
        """Raises: InvalidSchema."""
        descriptor = descriptor_of(text)
        texts: dict[str, str] = {}
        for each in references:
            found = descriptor_of(each.text)
            texts[each.name] = each.text if found is None else _written(found, f"reference {each.name}")
        if descriptor is None:
            file, imported = _compiled(text, tuple(texts.items()))
            return cls(text, file, imported)
        written = _text_of(descriptor)
        if written is not None:
            file, imported = _compiled(written, tuple(texts.items()))
            if _bare(file) == _bare(descriptor):
                return cls(written, file, imported)
        # Something in it has no place in a text of ours: it stays the descriptor that it is.
        imports = "".join(f'import "{name}";\n' for name in descriptor.dependency)
        _, imported = _compiled(f'syntax = "proto3";\n{imports}', tuple(texts.items()))
        _check(descriptor, imported)
        return cls(base64.b64encode(descriptor.SerializeToString()).decode(), descriptor, imported)

    def normalized(self) -> str:
        """Written anew from what protoc understood: comments are gone, types have their full names."""
        if not self._normalized:
            written = _text_of(self.file)
            self._normalized = self.canonical if written is None else written
        return self._normalized

    def formatted(self, format_name: str) -> str:
        """``serialized`` is the descriptor in base64, which Confluent's client for Python asks for."""
        if format_name != "serialized":
            return self.canonical
        return base64.b64encode(_bare(self.file).SerializeToString()).decode()

    def problems_reading(self, writer: ParsedSchema) -> list[str]:
        """By :mod:`engine.registry.protobuf_compatibility`."""
        from engine.registry.protobuf_compatibility import differences

        assert isinstance(writer, ProtobufSchema), "both are of one type"
        return [str(each) for each in differences(writer, self) if not each.is_compatible]


def _text_of(file: Any) -> str | None:
    try:
        return file_text(file)
    except NotWritable:
        return None


def _written(file: Any, what: str) -> str:
    try:
        return file_text(file)
    except NotWritable as error:
        raise InvalidSchema(f"{what} is a descriptor with {error}: register it as a text") from None


def _bare(file: Any) -> Any:
    """Without what says where it came from, and without names that follow from others."""
    found = descriptor_pb2.FileDescriptorProto()
    found.CopyFrom(file)
    found.ClearField("name")
    found.ClearField("source_code_info")
    if found.syntax == "proto2":
        found.ClearField("syntax")
    waiting = list(found.message_type)
    fields = list(found.extension)
    while waiting:
        message = waiting.pop()
        waiting += message.nested_type
        fields += [*message.field, *message.extension]
    for field in fields:
        if field.json_name == default_json_name(field.name):
            field.ClearField("json_name")
    return found


def _check(file: Any, imported: Mapping[str, Any]) -> None:
    from google.protobuf import descriptor_pool

    pool = descriptor_pool.DescriptorPool()
    named = descriptor_pb2.FileDescriptorProto()
    named.CopyFrom(file)
    named.name = MAIN
    try:
        for each in imported.values():
            pool.Add(each)
        pool.Add(named)
        pool.FindFileByName(MAIN)
    except (TypeError, KeyError) as error:
        raise InvalidSchema(f"no descriptor of a file: {' '.join(str(error).split())[:300]}") from None


def _compiled(text: str, references: tuple[tuple[str, str], ...]) -> tuple[Any, Mapping[str, Any]]:
    try:
        return compiled(text, references)
    except InvalidProtobuf as error:
        raise InvalidSchema(f"Invalid schema of type PROTOBUF, details: {error}") from None
