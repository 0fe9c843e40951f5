"""A Protobuf file's descriptor as the text that protoc would make it of. Pure.

Whoever registers descriptors (Confluent's client for Python does) and whoever registers a file get the same schema.
What cannot be written so that nothing is lost (groups, custom options that nobody has made known, editions) is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.unknown_fields import UnknownFieldSet

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    _Field.TYPE_DOUBLE: "double",
    _Field.TYPE_FLOAT: "float",
    _Field.TYPE_INT64: "int64",
    _Field.TYPE_UINT64: "uint64",
    _Field.TYPE_INT32: "int32",
    _Field.TYPE_FIXED64: "fixed64",
    _Field.TYPE_FIXED32: "fixed32",
    _Field.TYPE_BOOL: "bool",
    _Field.TYPE_STRING: "string",
    _Field.TYPE_BYTES: "bytes",
    _Field.TYPE_UINT32: "uint32",
    _Field.TYPE_SFIXED32: "sfixed32",
    _Field.TYPE_SFIXED64: "sfixed64",
    _Field.TYPE_SINT32: "sint32",
    _Field.TYPE_SINT64: "sint64",
}
_HIGHEST_TAG = 536_870_911
_HIGHEST_ENUM = 2_147_483_647


class NotWritable(Exception):
    """The descriptor has something that this module does not write."""


def default_json_name(name: str) -> str:
    """The name in JSON that a field has unless it says another: ``a_b`` is ``aB``."""
    found, upper = "", False
    for each in name:
        if each == "_":
            upper = True
        else:
            found += each.upper() if upper else each
            upper = False
    return found


def file_text(file: Any) -> str:
    """The text of a ``FileDescriptorProto``.

    Raises:
        NotWritable: something of it would be lost.
    """
    if file.syntax not in ("", "proto2", "proto3"):
        raise NotWritable(f"syntax {file.syntax}")
    lines = [f'syntax = "{file.syntax or "proto2"}";']
    if file.package:
        lines.append(f"package {file.package};")
    lines.append("")
    for index, name in enumerate(file.dependency):
        kind = "public " if index in file.public_dependency else "weak " if index in file.weak_dependency else ""
        lines.append(f"import {kind}{_quoted(name)};")
    options = [f"option {name} = {value};" for name, value in _options(file.options)]
    lines += options
    if file.dependency or options:
        lines.append("")
    is_proto3 = file.syntax == "proto3"
    for message in file.message_type:
        lines += _message(message, is_proto3)
    for enum in file.enum_type:
        lines += _enum(enum)
    lines += _extensions(file.extension, is_proto3)
    for service in file.service:
        lines += _service(service)
    return "\n".join(lines).rstrip("\n") + "\n"


def _message(message: Any, is_proto3: bool) -> Iterator[str]:
    yield f"message {message.name} {{"
    body: list[str] = [f"option {name} = {value};" for name, value in _options(message.options)]
    body += _reserved(message, _HIGHEST_TAG, exclusive=True)
    maps = {each.name: each for each in message.nested_type if each.options.map_entry}
    written: set[int] = set()
    for field in message.field:
        if not field.HasField("oneof_index") or field.proto3_optional:
            body.append(_field(field, is_proto3, maps))
        elif field.oneof_index not in written:
            written.add(field.oneof_index)
            oneof = message.oneof_decl[field.oneof_index]
            body.append(f"oneof {oneof.name} {{")
            body += [f"  option {name} = {value};" for name, value in _options(oneof.options)]
            within = (each for each in message.field if each.HasField("oneof_index") and not each.proto3_optional)
            body += [
                "  " + _field(each, is_proto3, maps, in_oneof=True)
                for each in within
                if each.oneof_index == field.oneof_index
            ]
            body.append("}")
    for each in message.extension_range:
        if each.HasField("options"):
            raise NotWritable("options of an extension range")
        body.append(f"extensions {_range(each.start, each.end - 1, _HIGHEST_TAG)};")
    for nested in message.nested_type:
        if not nested.options.map_entry:
            body += _message(nested, is_proto3)
    for enum in message.enum_type:
        body += _enum(enum)
    body += _extensions(message.extension, is_proto3)
    yield from (f"  {line}" for line in body)
    yield "}"


def _reserved(declared: Any, highest: int, *, exclusive: bool) -> Iterator[str]:
    ranges = [_range(each.start, each.end - (1 if exclusive else 0), highest) for each in declared.reserved_range]
    if ranges:
        yield f"reserved {', '.join(ranges)};"
    if declared.reserved_name:
        yield f"reserved {', '.join(map(_quoted, declared.reserved_name))};"


def _range(start: int, end: int, highest: int) -> str:
    if start == end:
        return str(start)
    return f"{start} to {'max' if end == highest else end}"


def _field(field: Any, is_proto3: bool, maps: dict[str, Any], *, in_oneof: bool = False) -> str:
    if field.type == _Field.TYPE_GROUP:
        raise NotWritable("a group")
    entry = maps.get(field.type_name.rpartition(".")[2]) if field.type == _Field.TYPE_MESSAGE else None
    if entry is not None and field.label == _Field.LABEL_REPEATED:
        key, value = entry.field
        label, kind = "", f"map<{_type(key)}, {_type(value)}>"
    else:
        label, kind = _label(field, is_proto3, in_oneof), _type(field)
    options = list(_options(field.options))
    if field.HasField("default_value"):
        options.insert(0, ("default", _default(field)))
    if field.json_name and field.json_name != default_json_name(field.name):
        options.insert(0, ("json_name", _quoted(field.json_name)))
    said = ", ".join(f"{name} = {value}" for name, value in options)
    return f"{label}{kind} {field.name} = {field.number}{f' [{said}]' if said else ''};"


def _label(field: Any, is_proto3: bool, in_oneof: bool) -> str:
    if in_oneof:
        return ""
    if field.label == _Field.LABEL_REPEATED:
        return "repeated "
    if field.label == _Field.LABEL_REQUIRED:
        return "required "
    return "" if is_proto3 and not field.proto3_optional else "optional "


def _type(field: Any) -> str:
    return _SCALARS.get(field.type) or str(field.type_name)


def _default(field: Any) -> str:
    value = str(field.default_value)
    if field.type == _Field.TYPE_STRING:
        return _quoted(value)
    # Of bytes the descriptor has what stood in the file, escapes and all.
    return f'"{value}"' if field.type == _Field.TYPE_BYTES else value


def _enum(enum: Any) -> Iterator[str]:
    yield f"enum {enum.name} {{"
    for name, value in _options(enum.options):
        yield f"  option {name} = {value};"
    for line in _reserved(enum, _HIGHEST_ENUM, exclusive=False):
        yield f"  {line}"
    for each in enum.value:
        said = ", ".join(f"{name} = {value}" for name, value in _options(each.options))
        yield f"  {each.name} = {each.number}{f' [{said}]' if said else ''};"
    yield "}"


def _extensions(extensions: Any, is_proto3: bool) -> Iterator[str]:
    for each in extensions:
        yield f"extend {each.extendee} {{"
        yield f"  {_field(each, is_proto3, {})}"
        yield "}"


def _service(service: Any) -> Iterator[str]:
    yield f"service {service.name} {{"
    for name, value in _options(service.options):
        yield f"  option {name} = {value};"
    for each in service.method:
        takes = f"{'stream ' if each.client_streaming else ''}{each.input_type}"
        gives = f"{'stream ' if each.server_streaming else ''}{each.output_type}"
        options = "".join(f" option {name} = {value};" for name, value in _options(each.options))
        yield f"  rpc {each.name} ({takes}) returns ({gives}){f' {{{options} }}' if options else ';'}"
    yield "}"


def _options(options: Any) -> Iterator[tuple[str, str]]:
    if len(UnknownFieldSet(options)):
        raise NotWritable("custom options")
    for field, value in options.ListFields():
        if field.is_extension and field.type == FieldDescriptor.TYPE_MESSAGE and not field.is_repeated:
            yield f"({field.full_name})", _aggregate(value)
            continue
        if field.is_extension or field.is_repeated or field.type == FieldDescriptor.TYPE_MESSAGE:
            raise NotWritable(f"the option {field.full_name}")
        if field.name == "map_entry":
            continue
        yield field.name, _value(field, value)


def _value(field: Any, value: Any) -> str:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return _aggregate(value)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return "true" if value else "false"
    if field.type == FieldDescriptor.TYPE_ENUM:
        return str(field.enum_type.values_by_number[value].name)
    if field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
        return _quoted(value if isinstance(value, str) else value.decode("latin-1"))
    return str(value)


def _aggregate(message: Any) -> str:
    """A message as the value of an option."""
    if len(UnknownFieldSet(message)):
        raise NotWritable(f"an option of type {message.DESCRIPTOR.full_name}")
    parts: list[str] = []
    for field, value in message.ListFields():
        if not field.is_repeated:
            shown = _value(field, value)
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            key, of_values = (field.message_type.fields_by_name[each] for each in ("key", "value"))
            entries = (f"{{ key: {_value(key, each)}, value: {_value(of_values, value[each])} }}" for each in value)
            shown = f"[{', '.join(entries)}]"
        else:
            shown = f"[{', '.join(_value(field, each) for each in value)}]"
        parts.append(f"{field.name}: {shown}")
    return f"{{ {', '.join(parts)} }}"


def _quoted(text: str) -> str:
    found = ""
    for each in text:
        if each in '"\\':
            found += "\\" + each
        elif each == "\n":
            found += "\\n"
        elif ord(each) < 0x20:
            found += f"\\{ord(each):03o}"
        else:
            found += each
    return f'"{found}"'
