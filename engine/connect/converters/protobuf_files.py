"""Messages of Protobuf's files as Python classes, and where in its file a message stands."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from engine.connect.errors import DataError

_MAIN = "kconsole_connect.proto"
_WELL_KNOWN = re.compile(r"(?:google/(?:protobuf|type)|confluent(?:/types?)?)/\w+\.proto")


def field_meta(field: Any) -> Any:
    """What ``confluent.field_meta`` says of a ``FieldDescriptorProto``: parameters by name, which can be added to."""
    # Not before it is needed: with it comes the whole client of registries.
    from confluent_kafka.schema_registry.confluent import meta_pb2

    return field.options.Extensions[meta_pb2.field_meta].params  # type: ignore[attr-defined]


class ProtobufFile:
    """A file, with all that it imports, apart from every other."""

    def __init__(self, file: Any, imported: Mapping[str, Any]) -> None:
        """``file`` and those that are ``imported`` (by name) are ``FileDescriptorProto``.

        Raises:
            DataError: Protobuf cannot have it; says why.
        """
        self._pool = descriptor_pool.DescriptorPool()
        self._imported = imported
        self._added: set[str] = set()
        try:
            self._add(file, _MAIN)
            self._file = self._pool.FindFileByName(_MAIN)
        except (TypeError, KeyError) as error:
            why = " ".join(str(error).split()).replace(f"Couldn't build proto file into descriptor pool: {_MAIN}", "")
            raise DataError(f"Not a schema that Protobuf can have: {why[:300]}") from None

    def _add(self, file: Any, name: str) -> None:
        for each in file.dependency:
            if each not in self._added:
                self._added.add(each)
                self._add(self._imported[each] if each in self._imported else _well_known(each), each)
        # A registry's descriptors have no name, or one of their own.
        named = descriptor_pb2.FileDescriptorProto()
        named.CopyFrom(file)
        named.name = name
        self._pool.Add(named)

    def message(self, path: Sequence[int]) -> Any:
        """The descriptor of the message in a place: the first number is of the file, others of messages in messages.

        Raises:
            DataError: there is none.
        """
        found: Any = None
        within = list(self._file.message_types_by_name.values())
        for index in path:
            if not 0 <= index < len(within):
                raise DataError(f"The schema has no message {list(path)}")
            found = within[index]
            within = found.nested_types
        return found

    def path(self, full_name: str) -> tuple[int, ...]:
        """Where a message stands, for :meth:`message`.

        Raises:
            DataError: there is none of that name.
        """
        waiting: list[tuple[tuple[int, ...], Any]] = [
            ((index,), each) for index, each in enumerate(self._file.message_types_by_name.values())
        ]
        while waiting:
            path, message = waiting.pop()
            if message.full_name == full_name:
                return path
            waiting += [((*path, index), each) for index, each in enumerate(message.nested_types)]
        raise DataError(f"The schema has no message {full_name}")

    def class_of(self, message: Any) -> Any:
        """The class of a descriptor's messages."""
        return message_factory.GetMessageClass(message)


def _well_known(name: str) -> Any:
    if not _WELL_KNOWN.fullmatch(name):
        raise DataError(f"The schema imports {name}, which is not among its references")
    module = name.removesuffix(".proto").replace("/", ".") + "_pb2"
    if name.startswith("confluent/"):
        module = f"confluent_kafka.schema_registry.{module}"
    try:
        found = importlib.import_module(module)
    except ImportError:
        raise DataError(f"The schema imports {name}, which is neither a reference nor known here") from None
    file = descriptor_pb2.FileDescriptorProto()
    found.DESCRIPTOR.CopyToProto(file)
    return file
