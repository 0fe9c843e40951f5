"""Protobuf schemas: files or descriptors in base64, understood by protoc (of the extra ``registry``).

protoc runs in a process of its own, so that what somebody sends harms nothing but the answer. Types of
``google/protobuf/`` are known; whatever else a file imports is a reference of its name.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError

from engine.registry.errors import InvalidSchema
from engine.registry.protobuf_text import NotWritable, default_json_name, file_text
from engine.registry.schema import ParsedSchema, ResolvedReference

_MAIN = "kconsole_registered.proto"
_PROTOC_TIMEOUT_S = 30.0
# What ``python -m grpc_tools.protoc`` does, in a third of the time.
_PROTOC = """
import sys
from grpc_tools import _protoc_compiler
sys.exit(_protoc_compiler.run_main([each.encode() for each in sys.argv]))
"""
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]+={0,2}")
_WELL_KNOWN = "google/protobuf/"


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
        descriptor = _descriptor(text)
        texts: dict[str, str] = {}
        for each in references:
            found = _descriptor(each.text)
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


def _descriptor(text: str) -> Any:
    """The descriptor that stands in base64; ``None`` if it is a text."""
    if not _BASE64.fullmatch(text.strip()):
        return None
    found = descriptor_pb2.FileDescriptorProto()
    try:
        found.ParseFromString(base64.b64decode("".join(text.split()), validate=True))
    except (binascii.Error, DecodeError):
        return None
    return found if found.message_type or found.enum_type or found.dependency or found.extension else None


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
    named.name = _MAIN
    try:
        for each in imported.values():
            pool.Add(each)
        pool.Add(named)
        pool.FindFileByName(_MAIN)
    except (TypeError, KeyError) as error:
        raise InvalidSchema(f"no descriptor of a file: {' '.join(str(error).split())[:300]}") from None


@lru_cache(maxsize=500)
def _compiled(text: str, references: tuple[tuple[str, str], ...]) -> tuple[Any, Mapping[str, Any]]:
    """The file's descriptor, and those of all that it imports, what others need first."""
    with tempfile.TemporaryDirectory(prefix="kconsole-registry-") as place:
        for name, each in references:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or not path.parts:
                raise InvalidSchema(f"{name!r} is no name of a file to import")
            target = Path(place, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(each, encoding="utf-8")
        Path(place, _MAIN).write_text(text, encoding="utf-8")
        descriptors = _run_protoc(place)
    files = descriptor_pb2.FileDescriptorSet()
    files.ParseFromString(descriptors)
    found = {each.name: each for each in files.file}
    return found.pop(_MAIN), found


def _run_protoc(place: str) -> bytes:
    output = os.path.join(place, "kconsole-descriptors")
    command = [sys.executable, "-P", "-c", _PROTOC, f"-I{place}", f"-I{_well_known_directory()}"]
    command += ["--include_imports", f"--descriptor_set_out={output}", _MAIN]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PROTOC_TIMEOUT_S, cwd=place, check=False)
    except subprocess.TimeoutExpired:
        raise InvalidSchema(f"protoc did not understand the schema within {_PROTOC_TIMEOUT_S:.0f} s") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").replace(f"{_MAIN}:", "").replace(place, "").strip()
        raise InvalidSchema(f"Invalid schema of type PROTOBUF, details: {said[:1000]}")
    with open(output, "rb") as file:
        return file.read()


@lru_cache(maxsize=1)
def _well_known_directory() -> str:
    import grpc_tools

    return os.path.join(os.path.dirname(str(grpc_tools.__file__)), "_proto")
