"""Serdes of local schemas: ``.avsc``, ``.proto``, and descriptor sets of Protobuf."""

from __future__ import annotations

from console.values.protobuf import ProtobufFile, compile_file
from console.values.schemas import Schema, SchemaType, serde_of
from console.values.serde_words import SerdeWord
from console.values.serdes import Serde, SerdeError
from console.values.wire_format import unframed
from engine.protobuf.message_path import message_path


class FromFile:
    """Values of a local schema, framed by Confluent's serializers or not: the first that the bytes fit whole."""

    is_text = False

    def __init__(self, serde: Serde, *, has_path: bool) -> None:
        """``has_path``: behind the schema's id stands the path to the message."""
        self._serde = serde
        self._has_path = has_path
        self.name = serde.name

    def read(self, data: bytes) -> bytes:
        try:
            return self._serde.read(data)
        except SerdeError:
            found = unframed(data)
            if found is None:
                raise
        payload = found.payload
        if self._has_path:
            try:
                _, payload = message_path(payload)
            except ValueError:
                raise SerdeError(f"the bytes do not fit {self.name}") from None
        return self._serde.read(payload)

    def write(self, text: str) -> bytes:
        """Without framing."""
        return self._serde.write(text)


def serde_of_file(word: SerdeWord) -> Serde:
    """Blocks. Raises: SerdeError: there is no such file, or it is none."""
    try:
        with open(word.file, "rb") as file:
            data = file.read()
    except OSError as error:
        raise SerdeError(f"{word.file}: {error.strerror}") from None
    name = f"{word.name}, {word.file.rpartition('/')[2]}"
    if word.name == "avro":
        try:
            schema = Schema(SchemaType.AVRO, data.decode())
        except UnicodeDecodeError:
            raise SerdeError(f"{word.file} is no text") from None
        return FromFile(serde_of(schema, name), has_path=False)
    descriptors = compile_file(word.file) if word.file.endswith(".proto") else data
    return FromFile(ProtobufFile(descriptors, name).serde(word.message), has_path=True)
