"""Protobuf by google.protobuf, schemas by protoc (both in the extra ``serdes``)."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from console.values.json_form import json_text
from console.values.schemas import Schema
from console.values.serdes import MissingExtra, SerdeError
from engine.protobuf.message_path import message_path, path_bytes

_MAIN = "kconsole_schema.proto"


class ProtobufFile:
    """The messages of one file, with all files that it imports."""

    def __init__(self, descriptors: bytes, name: str, main: str = "") -> None:
        """``descriptors`` is a ``FileDescriptorSet``; ``main`` the file whose messages are meant, by default the last.

        Raises:
            SerdeError: it is none; protobuf is missing.
        """
        try:
            from google.protobuf import descriptor_pb2, descriptor_pool
            from google.protobuf.message import DecodeError
        except ImportError:
            raise MissingExtra("protobuf") from None
        files = descriptor_pb2.FileDescriptorSet()
        self._pool = descriptor_pool.DescriptorPool()
        self._name = name
        try:
            files.ParseFromString(descriptors)
            for each in _imported_first({each.name: each for each in files.file}):
                self._pool.Add(each)
            if not files.file:
                raise SerdeError("no descriptor set: it has no file")
            self._file = self._pool.FindFileByName(main or files.file[-1].name)
        except (DecodeError, TypeError, KeyError) as error:
            raise SerdeError(f"no descriptor set: {' '.join(str(error).split())[:200]}") from None

    @classmethod
    def compiled(cls, schema: Schema, name: str) -> ProtobufFile:
        """By protoc, in a process of its own: it writes its complaints to standard error. A registry may have
        descriptors in base64 instead of text: Confluent's client for Python registers such.

        Raises:
            SerdeError: it is no schema.
        """
        descriptors = _descriptors(schema)
        if descriptors is not None:
            return cls(descriptors, name)
        file, imported = _understood(schema.text, {each.name: each.text for each in schema.references})
        return cls(_set_of([*imported.values(), file]), name, file.name)

    def messages(self) -> list[Any]:
        """All messages, with those within others."""
        found: list[Any] = []
        waiting = list(self._file.message_types_by_name.values())
        while waiting:
            message = waiting.pop(0)
            if not message.GetOptions().map_entry:
                found.append(message)
                waiting += message.nested_types
        return found

    def serde(self, message: str = "") -> ProtobufSerde:
        """Of one message; without a name of the only one. Raises: SerdeError."""
        found = self.messages()
        if message:
            wanted = [each for each in found if message in (each.full_name, each.name)]
            if not wanted:
                try:
                    wanted = [self._pool.FindMessageTypeByName(message)]
                except KeyError:
                    known = ", ".join(each.full_name for each in found)
                    raise SerdeError(f"there is no message {message}: {known}") from None
            return ProtobufSerde(self._pool, self._name, wanted[0])
        top = list(self._file.message_types_by_name.values())
        if not top:
            raise SerdeError("the file has no message")
        return ProtobufSerde(self._pool, self._name, top[0] if len(top) == 1 else None, self._file)

    def framed_serde(self) -> FramedProtobufSerde:
        """Of values that begin with the path to their message."""
        return FramedProtobufSerde(self._pool, self._name, self._file)


class ProtobufSerde:
    """Values of one message. Fields have the names of the file; bytes are in base64, as in Protobuf's own JSON."""

    is_text = False

    def __init__(self, pool: Any, name: str, message: Any, file: Any = None) -> None:
        if message is None:
            known = ", ".join(each.full_name for each in file.message_types_by_name.values())
            raise SerdeError(f"say which message is meant: {known}")
        from google.protobuf import message_factory

        self._pool = pool
        self._class = message_factory.GetMessageClass(message)
        self.name = f"{name} {message.name}"

    def read(self, data: bytes) -> bytes:
        from google.protobuf.message import DecodeError

        message = self._class()
        try:
            message.ParseFromString(data)
        except (DecodeError, RuntimeError):
            raise SerdeError(f"the bytes do not fit {self.name}") from None
        return json_text(_fields(message, self._pool))

    def write(self, text: str) -> bytes:
        from google.protobuf import json_format

        try:
            message = json_format.Parse(text, self._class(), descriptor_pool=self._pool)
        except (json_format.ParseError, ValueError, RecursionError) as error:
            raise SerdeError(f"no value of {self.name}: {' '.join(str(error).split())[:200]}") from None
        made: bytes = message.SerializeToString(deterministic=True)
        return made


class FramedProtobufSerde:
    """Values that begin with the path to their message, as Confluent's serializer writes it after the schema's id."""

    is_text = False

    def __init__(self, pool: Any, name: str, file: Any) -> None:
        self._pool, self._file = pool, file
        self.name = name
        self._by_path: dict[tuple[int, ...], ProtobufSerde] = {}

    def read(self, data: bytes) -> bytes:
        serde, payload = self._of(data)
        return serde.read(payload)

    def write(self, text: str) -> bytes:
        """As the first message of the file."""
        return path_bytes((0,)) + self._message((0,)).write(text)

    def write_like(self, text: str, before: bytes) -> bytes:
        """As the message that ``before`` is. Raises: SerdeError."""
        path, _ = _path(before)
        return path_bytes(path) + self._message(path).write(text)

    def name_of(self, data: bytes) -> str:
        """With the message's name."""
        return self._of(data)[0].name

    def _of(self, data: bytes) -> tuple[ProtobufSerde, bytes]:
        path, payload = _path(data)
        return self._message(path), payload

    def _message(self, path: tuple[int, ...]) -> ProtobufSerde:
        if path not in self._by_path:
            messages = list(self._file.message_types_by_name.values())
            for at in path:
                if at >= len(messages):
                    raise SerdeError(f"{self.name} has no message at {'.'.join(map(str, path))}")
                message = messages[at]
                messages = list(message.nested_types)
            self._by_path[path] = ProtobufSerde(self._pool, self.name, message)
        return self._by_path[path]


def _path(data: bytes) -> tuple[tuple[int, ...], bytes]:
    try:
        return message_path(data)
    except ValueError:
        raise SerdeError("the path to the message is none") from None


def _descriptors(schema: Schema) -> bytes | None:
    """A schema that is a ``FileDescriptorProto`` in base64, and what it refers to, as a set; ``None`` for text."""
    try:
        files = [base64.b64decode(each, validate=True) for each in (*(r.text for r in schema.references), schema.text)]
        from google.protobuf import descriptor_pb2
        from google.protobuf.message import DecodeError
    except ValueError:
        return None
    except ImportError:
        raise MissingExtra("protobuf") from None
    found: dict[str, Any] = {}
    for name, data in zip((*(each.name for each in schema.references), ""), files, strict=True):
        file = descriptor_pb2.FileDescriptorProto()
        try:
            file.ParseFromString(data)
        except DecodeError:
            return None
        # Others import it by the name that they refer to it by.
        file.name = name or file.name or _MAIN
        found[file.name] = file
    missing = sorted({each for file in found.values() for each in file.dependency} - set(found))
    _, known = _understood("".join(f'import "{each}";\n' for each in missing), {}) if missing else (None, {})
    return _set_of([*known.values(), *found.values()])


def _understood(text: str, references: dict[str, str]) -> tuple[Any, Mapping[str, Any]]:
    """A text's descriptor, and those of what it imports. Raises: SerdeError."""
    files = _files()
    try:
        found: tuple[Any, Mapping[str, Any]] = files.compiled(text, tuple(references.items()))
        return found
    except files.InvalidProtobuf as error:
        raise _refused(error) from None


def _files() -> Any:
    try:
        import grpc_tools  # noqa: F401

        from engine.protobuf import files
    except ImportError as error:
        raise MissingExtra("protobuf" if "google" in str(error) else "grpcio-tools") from None
    return files


def _refused(error: Exception) -> SerdeError:
    said = next((each for each in str(error).splitlines() if "warning" not in each), "it made nothing")
    return SerdeError(f"protoc: {said[:200]}")


def _set_of(files: list[Any]) -> bytes:
    from google.protobuf import descriptor_pb2

    made: bytes = descriptor_pb2.FileDescriptorSet(file=files).SerializeToString()
    return made


def _imported_first(files: dict[str, Any]) -> Iterator[Any]:
    done: set[str] = set()

    def walk(name: str) -> Iterator[Any]:
        if name in done or name not in files:
            return
        done.add(name)
        for each in files[name].dependency:
            yield from walk(each)
        yield files[name]

    for name in files:
        yield from walk(name)


def compile_file(path: str) -> bytes:
    """A ``.proto`` with all that it imports, from its own folder and the ones above. Raises: SerdeError."""
    where, name = os.path.split(os.path.abspath(path))
    files = _files()
    try:
        made: bytes = files.descriptor_set(name, (where, os.path.dirname(where)))
    except files.InvalidProtobuf as error:
        raise _refused(error) from None
    return made


# -- from messages to JSON's types -------------------------------------------------------------------------------------


def _fields(message: Any, pool: Any) -> Any:
    """All fields that are there, and scalars that have their default. Integers of 64 bits are numbers, so that programs
    can compare them (Protobuf's own JSON has them as text)."""
    plan = _plan(message.DESCRIPTOR)
    if plan is None:
        return _well_known(message, pool)
    return {
        name: made(getattr(message, name), pool)
        for name, made, sometimes in plan
        if not sometimes or message.HasField(name)
    }


_Maker = Callable[[Any, Any], Any]


@lru_cache(maxsize=1024)
def _plan(descriptor: Any) -> tuple[tuple[str, _Maker, bool], ...] | None:
    """Of each field its name, what makes JSON of it, and whether it may be absent; ``None`` for well-known types."""
    if descriptor.full_name.startswith("google.protobuf."):
        return None
    made = []
    for field in descriptor.fields:
        if not _is_repeated(field):
            made.append((field.name, _maker(field), field.has_presence))
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            made.append((field.name, _of_map(_maker(field.message_type.fields_by_name["value"])), False))
        else:
            made.append((field.name, _of_list(_maker(field)), False))
    return tuple(made)


def _of_map(maker: _Maker) -> _Maker:
    return lambda values, pool: {_key(name): maker(values[name], pool) for name in values}


def _of_list(maker: _Maker) -> _Maker:
    return lambda values, pool: [maker(each, pool) for each in values]


def _maker(field: Any) -> _Maker:
    if field.message_type is not None:
        return _fields
    if field.enum_type is not None:
        names = {number: value.name for number, value in field.enum_type.values_by_number.items()}
        return lambda value, pool: names.get(value, value)
    return _leaf


def _leaf(value: Any, pool: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _key(name: Any) -> str:
    return str(name).lower() if isinstance(name, bool) else str(name)


def _is_repeated(field: Any) -> bool:
    # protobuf 6 has the one, 7 only the other.
    if hasattr(field, "is_repeated"):
        return bool(field.is_repeated)
    return bool(field.label == field.LABEL_REPEATED)


def _well_known(message: Any, pool: Any) -> Any:
    """Times, durations, structs, wrappers: as Protobuf's own JSON has them."""
    from google.protobuf import json_format

    name = message.DESCRIPTOR.name
    if name in ("Int64Value", "UInt64Value"):
        return message.value
    try:
        return json_format.MessageToDict(message, preserving_proto_field_name=True, descriptor_pool=pool)
    except (TypeError, ValueError, json_format.Error):
        if name == "Any":
            # Of a type that no schema here has.
            return {"@type": message.type_url, "value": base64.b64encode(message.value).decode()}
        return str(message)
