"""A Protobuf file understood: from a descriptor in base64, or from its text by protoc (``grpcio-tools``).

protoc runs in a process of its own, so that what somebody sends harms nothing but the answer. Files of
:mod:`engine.protobuf.well_known` are known; whatever else a file imports is a reference of its name.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError

from engine.protobuf.well_known import directories

MAIN = "kconsole_registered.proto"
"""The name that a file has while it is understood."""
_PROTOC_TIMEOUT_S = 30.0
# What ``python -m grpc_tools.protoc`` does, in a third of the time.
_PROTOC = """
import sys
from grpc_tools import _protoc_compiler
sys.exit(_protoc_compiler.run_main([each.encode() for each in sys.argv]))
"""
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]+={0,2}")


class InvalidProtobuf(Exception):
    """No file that protoc understands; says why."""


def descriptor_of(text: str) -> Any:
    """The ``FileDescriptorProto`` that stands in base64; ``None`` if it is a text."""
    if not _BASE64.fullmatch(text.strip()):
        return None
    found = descriptor_pb2.FileDescriptorProto()
    try:
        found.ParseFromString(base64.b64decode("".join(text.split()), validate=True))
    except (binascii.Error, DecodeError):
        return None
    return found if found.message_type or found.enum_type or found.dependency or found.extension else None


@lru_cache(maxsize=500)
def compiled(text: str, references: tuple[tuple[str, str], ...]) -> tuple[Any, Mapping[str, Any]]:
    """The descriptor of a file, and those of all that it imports, what others need first.

    Args:
        references: names and texts of what it may import.

    Raises:
        ImportError: grpcio-tools is not installed.
        InvalidProtobuf: protoc does not understand it.
    """
    with tempfile.TemporaryDirectory(prefix="kconsole-registry-") as place:
        for name, each in references:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or not path.parts:
                raise InvalidProtobuf(f"{name!r} is no name of a file to import")
            target = Path(place, path)
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(each, encoding="utf-8")
            except (OSError, ValueError) as error:
                # A name that is too long, has a zero byte, or is that of a folder of another one.
                raise InvalidProtobuf(f"{name[:200]!r} cannot be a file to import: {type(error).__name__}") from None
        Path(place, MAIN).write_text(text, encoding="utf-8")
        files = descriptor_pb2.FileDescriptorSet()
        files.ParseFromString(descriptor_set(MAIN, (place,)))
    found = {each.name: each for each in files.file}
    return found.pop(MAIN), found


def descriptor_set(name: str, folders: Sequence[str]) -> bytes:
    """The ``FileDescriptorSet`` of a file in one of these folders, with all that it imports from there.

    Raises:
        ImportError: grpcio-tools is not installed.
        InvalidProtobuf: protoc does not understand it.
    """
    known = directories()
    with tempfile.TemporaryDirectory(prefix="kconsole-descriptors-") as place:
        output = os.path.join(place, "set")
        # The folders come first: a registry may have a file of its own of a known name.
        command = [sys.executable, "-P", "-c", _PROTOC, *(f"-I{each}" for each in (*folders, *known))]
        command += ["--include_imports", f"--descriptor_set_out={output}", name]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=_PROTOC_TIMEOUT_S,
                cwd=place,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise InvalidProtobuf(f"protoc did not understand the schema within {_PROTOC_TIMEOUT_S:.0f} s") from None
        if done.returncode:
            said = done.stderr.decode(errors="replace").replace(f"{MAIN}:", "")
            for each in folders:
                said = said.replace(f"{each}/", "").replace(each, "")
            raise InvalidProtobuf(said.strip()[:1000])
        return Path(output).read_bytes()
