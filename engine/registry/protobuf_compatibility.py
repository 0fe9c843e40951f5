"""Whether what an older Protobuf schema wrote can be read by a newer one.

Source: "Protobuf compatibility rules" in Confluent's documentation, "Updating a message type" in Protobuf's, and the
kinds of difference that Confluent's registry tells. Fields are known by their numbers, messages and enums by names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2

from engine.registry.protobuf_schema import ProtobufSchema

_Field = descriptor_pb2.FieldDescriptorProto
_NUMBER = "number"
_TEXT = "string or bytes"
# Types whose bytes on the wire mean the same.
_GROUPS = {
    _Field.TYPE_INT32: _NUMBER,
    _Field.TYPE_INT64: _NUMBER,
    _Field.TYPE_UINT32: _NUMBER,
    _Field.TYPE_UINT64: _NUMBER,
    _Field.TYPE_BOOL: _NUMBER,
    _Field.TYPE_ENUM: _NUMBER,
    _Field.TYPE_SINT32: "zigzag number",
    _Field.TYPE_SINT64: "zigzag number",
    _Field.TYPE_STRING: _TEXT,
    _Field.TYPE_BYTES: _TEXT,
    _Field.TYPE_FIXED32: "fixed32",
    _Field.TYPE_SFIXED32: "fixed32",
    _Field.TYPE_FIXED64: "fixed64",
    _Field.TYPE_SFIXED64: "fixed64",
    _Field.TYPE_FLOAT: "float",
    _Field.TYPE_DOUBLE: "double",
}


class Difference(NamedTuple):
    """One finding: ``kind`` in Confluent's words."""

    kind: str
    path: str
    is_compatible: bool

    def __str__(self) -> str:
        words = self.kind.lower().replace("_", " ")
        return f'{{errorType:"{self.kind}", description:"at \'{self.path}\': {words}"}}'


def differences(original: ProtobufSchema, update: ProtobufSchema) -> list[Difference]:
    """What has changed from one to the other."""
    found = list(_Comparison(_Types(original), _Types(update)).compare())
    return [each._replace(path=f"#{each.path or '/'}") for each in found]


class _Types:
    """The messages of a schema and of what it imports, by full name (with its leading dot)."""

    def __init__(self, schema: ProtobufSchema) -> None:
        self.file = schema.file
        self.messages: dict[str, Any] = {}
        self.packages: dict[str, str] = {}
        self.is_proto3: dict[str, bool] = {}
        for file in (*schema.imported.values(), schema.file):
            prefix = f".{file.package}" if file.package else ""
            self._learn(file.message_type, prefix, file)

    def _learn(self, messages: Any, prefix: str, file: Any) -> None:
        for each in messages:
            name = f"{prefix}.{each.name}"
            self.messages[name] = each
            self.packages[name] = file.package
            self.is_proto3[name] = file.syntax == "proto3"
            self._learn(each.nested_type, name, file)

    def local_name(self, full_name: str) -> str:
        """Without its package."""
        package = self.packages.get(full_name, "")
        return full_name.removeprefix(f".{package}.") if package else full_name.removeprefix(".")

    def map_entry(self, field: Any) -> Any:
        """The message of a map's entries, if a field is a map."""
        message = self.messages.get(field.type_name) if field.type == _Field.TYPE_MESSAGE else None
        return message if message is not None and message.options.map_entry else None


class _Comparison:
    def __init__(self, old: _Types, new: _Types) -> None:
        self._old = old
        self._new = new
        self._seen: set[tuple[str, str]] = set()

    def compare(self) -> Iterator[Difference]:
        old, new = self._old.file, self._new.file
        if old.package != new.package:
            yield Difference("PACKAGE_CHANGED", "", False)
        old_scope, new_scope = (f".{each.package}" if each.package else "" for each in (old, new))
        yield from self._types(old.message_type, new.message_type, old_scope, new_scope, "")
        yield from _enums(old.enum_type, new.enum_type, "")

    def _types(self, olds: Any, news: Any, old_scope: str, new_scope: str, path: str) -> Iterator[Difference]:
        old_names = {each.name: (index, each) for index, each in enumerate(olds)}
        new_names = {each.name: (index, each) for index, each in enumerate(news)}
        for name in sorted(old_names.keys() | new_names.keys()):
            here = f"{path}/{name}"
            if name not in new_names:
                if not old_names[name][1].options.map_entry:
                    yield Difference("MESSAGE_REMOVED", here, False)
            elif name not in old_names:
                if not new_names[name][1].options.map_entry:
                    yield Difference("MESSAGE_ADDED", here, True)
            else:
                yield from self._message(f"{old_scope}.{name}", f"{new_scope}.{name}", here)
                if old_names[name][0] != new_names[name][0]:
                    yield Difference("MESSAGE_MOVED", here, True)

    def _message(self, old_name: str, new_name: str, path: str) -> Iterator[Difference]:
        if (old_name, new_name) in self._seen:
            return
        self._seen.add((old_name, new_name))
        old, new = self._old.messages[old_name], self._new.messages[new_name]
        # Entries of maps are compared where the map is.
        if old.options.map_entry or new.options.map_entry:
            return
        yield from _Fields(old, new, path).memberships()
        old_fields, new_fields = _by_number(old), _by_number(new)
        explicit = not self._old.is_proto3[old_name], not self._new.is_proto3[new_name]
        for number in sorted(old_fields.keys() & new_fields.keys()):
            was, now = old_fields[number], new_fields[number]
            labels = _label(was, explicit[0]), _label(now, explicit[1])
            if was.name != now.name:
                yield Difference("FIELD_NAME_CHANGED", f"{path}/{number}", True)
            yield from self._field(was, now, labels, f"{path}/{number}")
        yield from self._types(old.nested_type, new.nested_type, old_name, new_name, path)
        yield from _enums(old.enum_type, new.enum_type, path)

    def _field(self, was: Any, now: Any, labels: tuple[Any, Any], path: str) -> Iterator[Difference]:
        old_entry, new_entry = self._old.map_entry(was), self._new.map_entry(now)
        old_kind, new_kind = _kind(was, old_entry), _kind(now, new_entry)
        if old_kind != new_kind:
            yield Difference("FIELD_KIND_CHANGED", path, False)
        elif old_kind == "map":
            for old_part, new_part in zip(old_entry.field, new_entry.field, strict=True):
                yield from self._field(old_part, new_part, (None, None), path)
        elif old_kind == "message":
            yield from self._named_type(was.type_name, now.type_name, path)
        elif _GROUPS[was.type] != _GROUPS[now.type]:
            yield Difference("FIELD_SCALAR_KIND_CHANGED", path, False)
        elif None not in labels and labels[0] != labels[1]:
            if _GROUPS[was.type] == _TEXT:
                yield Difference("FIELD_STRING_OR_BYTES_LABEL_CHANGED", path, True)
            else:
                yield Difference("FIELD_NUMERIC_LABEL_CHANGED", path, False)

    def _named_type(self, old_name: str, new_name: str, path: str) -> Iterator[Difference]:
        if self._old.local_name(old_name) != self._new.local_name(new_name):
            yield Difference("FIELD_NAMED_TYPE_CHANGED", path, False)
            return
        found = list(self._message(old_name, new_name, f"/{self._new.local_name(new_name).replace('.', '/')}"))
        yield from found
        if not all(each.is_compatible for each in found):
            yield Difference("FIELD_NAMED_TYPE_CHANGED", path, False)


class _Fields:
    """Which fields two messages have, and in which oneof."""

    def __init__(self, old: Any, new: Any, path: str) -> None:
        self._path = path
        self._old, self._new = _by_number(old), _by_number(new)
        self._old_oneofs, self._new_oneofs = _oneofs(old), _oneofs(new)
        self._old_home = {number: name for name, numbers in self._old_oneofs.items() for number in numbers}
        self._new_home = {number: name for name, numbers in self._new_oneofs.items() for number in numbers}

    def memberships(self) -> Iterator[Difference]:
        """Fields and oneofs that came, went or moved."""
        for name, numbers in self._new_oneofs.items():
            yield from self._newly_exclusive(name, numbers)
        for name in sorted(self._old_oneofs.keys() | self._new_oneofs.keys()):
            if name not in self._new_oneofs:
                yield Difference("ONEOF_REMOVED", f"{self._path}/{name}", True)
            elif name not in self._old_oneofs:
                yield Difference("ONEOF_ADDED", f"{self._path}/{name}", True)
        # A oneof that is gone with all its fields is a deletion like any other.
        gone = {
            name
            for name, numbers in self._old_oneofs.items()
            if name not in self._new_oneofs and not any(number in self._new for number in numbers)
        }
        for number in sorted(self._old.keys() | self._new.keys()):
            old_home, new_home = self._old_home.get(number), self._new_home.get(number)
            if number not in self._new:
                if old_home is None:
                    yield self._plain(number, self._old[number], "REMOVED")
                elif old_home not in gone:
                    yield Difference("ONEOF_FIELD_REMOVED", f"{self._path}/{old_home}/{number}", False)
            elif number not in self._old:
                if new_home is None:
                    yield self._plain(number, self._new[number], "ADDED")
                else:
                    yield Difference("ONEOF_FIELD_ADDED", f"{self._path}/{new_home}/{number}", True)
            elif old_home is not None and new_home is None:
                yield Difference("ONEOF_FIELD_MOVED_TO_TOP_LEVEL", f"{self._path}/{number}", True)

    def _plain(self, number: int, field: Any, what: str) -> Difference:
        is_required = field.label == _Field.LABEL_REQUIRED
        kind = f"REQUIRED_FIELD_{what}" if is_required else f"FIELD_{what}"
        return Difference(kind, f"{self._path}/{number}", not is_required)

    def _newly_exclusive(self, name: str, numbers: list[int]) -> Iterator[Difference]:
        """Fields that could be set together, and now cannot."""
        known = [number for number in numbers if number in self._old]
        # Each plain field stands for itself, those of one oneof stand together.
        groups = {self._old_home.get(number, number) for number in known}
        if len(groups) > 1:
            plain = sum(number not in self._old_home for number in known)
            kind = "MULTIPLE_FIELDS_MOVED_TO_ONEOF" if plain > 1 else "FIELD_MOVED_TO_EXISTING_ONEOF"
            yield Difference(kind, f"{self._path}/{name}", False)


def _by_number(message: Any) -> dict[int, Any]:
    return {each.number: each for each in message.field}


def _oneofs(message: Any) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for field in message.field:
        if field.HasField("oneof_index") and not field.proto3_optional:
            found.setdefault(message.oneof_decl[field.oneof_index].name, []).append(field.number)
    return found


def _label(field: Any, is_explicit: bool) -> int | None:
    """What stands before a field; ``None`` for nothing."""
    in_oneof = field.HasField("oneof_index") and not field.proto3_optional
    if in_oneof or (field.label == _Field.LABEL_OPTIONAL and not is_explicit and not field.proto3_optional):
        return None
    return int(field.label)


def _kind(field: Any, entry: Any) -> str:
    if entry is not None:
        return "map"
    return "message" if field.type in (_Field.TYPE_MESSAGE, _Field.TYPE_GROUP) else "scalar"


def _enums(olds: Any, news: Any, path: str) -> Iterator[Difference]:
    old_names, new_names = ({each.name: each for each in enums} for enums in (olds, news))
    for name in sorted(old_names.keys() | new_names.keys()):
        here = f"{path}/{name}"
        if name not in new_names:
            yield Difference("ENUM_REMOVED", here, True)
        elif name not in old_names:
            yield Difference("ENUM_ADDED", here, True)
        else:
            was = {each.number: each.name for each in old_names[name].value}
            now = {each.number: each.name for each in new_names[name].value}
            for number in sorted(was.keys() | now.keys()):
                if was.get(number) != now.get(number):
                    kind = "ADDED" if number not in was else "REMOVED" if number not in now else "CHANGED"
                    yield Difference(f"ENUM_CONST_{kind}", f"{here}/{number}", True)
