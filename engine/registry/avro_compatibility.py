"""What keeps an Avro schema from reading what another one wrote.

Source: "Schema Resolution" in the Avro specification; kinds of findings are those of
``org.apache.avro.SchemaCompatibility``, which Confluent's registry asks.
"""

from __future__ import annotations

from typing import NamedTuple

from engine.registry.avro_schema import NO_DEFAULT, AvroField, AvroType

# Reader's kind to the other kinds that it reads: numbers are promoted, bytes and strings are the same bytes.
_PROMOTED = {
    "long": ("int",),
    "float": ("int", "long"),
    "double": ("int", "long", "float"),
    "bytes": ("string",),
    "string": ("bytes",),
}


class Incompatibility(NamedTuple):
    """One finding: ``kind`` in Avro's words, where in the reader's schema, and what is the matter."""

    kind: str
    path: str
    description: str
    info: str

    def __str__(self) -> str:
        return f"{{errorType:'{self.kind}', description:\"{self.description}\", additionalInfo:'{self.info}'}}"


def incompatibilities(reader: AvroType, writer: AvroType) -> list[Incompatibility]:
    """All that keeps ``reader`` from reading what was written by ``writer``; empty if it can."""
    return _Comparison().compare(reader, writer, "")


class _Comparison:
    def __init__(self) -> None:
        self._known: dict[tuple[int, int], list[Incompatibility]] = {}

    def compare(self, reader: AvroType, writer: AvroType, path: str) -> list[Incompatibility]:
        pair = id(reader), id(writer)
        known = self._known.get(pair)
        if known is not None:
            return known
        # A pair that is met within itself adds nothing to what is found about it.
        self._known[pair] = []
        found = self._known[pair] = self._compare(reader, writer, path)
        return found

    def _compare(self, reader: AvroType, writer: AvroType, path: str) -> list[Incompatibility]:
        if writer.kind == "union":
            return self._written_union(reader, writer, path)
        if reader.kind == "union":
            if any(not self.compare(branch, writer, path) for branch in reader.branches):
                return []
            what = f"no branch of the union at '{path or '/'}' reads {_called(writer)}"
            return [Incompatibility("MISSING_UNION_BRANCH", path or "/", what, f"{_called(writer)}")]
        if _kind(reader) != _kind(writer):
            if writer.kind in _PROMOTED.get(reader.kind, ()):
                return []
            what = f"{_called(reader)} at '{path or '/'}' does not read {_called(writer)}"
            return [Incompatibility("TYPE_MISMATCH", path or "/", what, f"{reader.kind} <- {writer.kind}")]
        if reader.kind in ("array", "map"):
            assert reader.items is not None and writer.items is not None, "arrays and maps have values"
            inner = "items" if reader.kind == "array" else "values"
            return self.compare(reader.items, writer.items, f"{path}/{inner}")
        if reader.name:
            return self._named(reader, writer, path)
        return []

    def _written_union(self, reader: AvroType, writer: AvroType, path: str) -> list[Incompatibility]:
        found: list[Incompatibility] = []
        for index, branch in enumerate(writer.branches):
            problems = self.compare(reader, branch, path)
            if problems and reader.kind == "union":
                what = f"the union at '{path or '/'}' lacks {_called(branch)}, which the writer has"
                problems = [Incompatibility("MISSING_UNION_BRANCH", f"{path}/{index}", what, _called(branch))]
            found += problems
        return found

    def _named(self, reader: AvroType, writer: AvroType, path: str) -> list[Incompatibility]:
        found: list[Incompatibility] = []
        # Unqualified names decide; the namespace does not, as in Avro's own check.
        if reader.name != writer.name and writer.full_name not in reader.aliases:
            what = f"{reader.full_name} at '{path}/name' is neither {writer.full_name} nor has it as an alias"
            found.append(Incompatibility("NAME_MISMATCH", f"{path}/name", what, f"expected: {writer.full_name}"))
        if reader.kind == "fixed":
            if reader.size != writer.size:
                what = f"{reader.full_name} at '{path}/size' has {reader.size} bytes, and the writer's {writer.size}"
                sizes = f"expected: {writer.size}, found: {reader.size}"
                found.append(Incompatibility("FIXED_SIZE_MISMATCH", f"{path}/size", what, sizes))
        elif reader.kind == "enum":
            missing = [each for each in writer.symbols if each not in reader.symbols]
            if missing and reader.enum_default is None:
                names = ", ".join(missing)
                what = f"{reader.full_name} at '{path}/symbols' lacks {names}, and has no default"
                found.append(Incompatibility("MISSING_ENUM_SYMBOLS", f"{path}/symbols", what, f"[{names}]"))
        else:
            for index, field in enumerate(reader.fields):
                found += self._field(field, reader, writer, f"{path}/fields/{index}")
        return found

    def _field(self, field: AvroField, reader: AvroType, writer: AvroType, path: str) -> list[Incompatibility]:
        names = (field.name, *field.aliases)
        written = [each for name in names for each in writer.fields if each.name == name]
        if len(written) > 1:
            # Avro's library gives up on such a pair, though its name alone would decide.
            both = " and ".join(each.name for each in written)
            what = f"field {field.name} of {reader.full_name} is several fields of the writer by name and alias: {both}"
            return [Incompatibility("NAME_MISMATCH", path, what, field.name)]
        if written:
            return self.compare(field.type, written[0].type, f"{path}/type")
        if field.default is not NO_DEFAULT:
            return []
        what = f"field {field.name} of {reader.full_name} at '{path}' has no default, and the writer has no such field"
        return [Incompatibility("READER_FIELD_MISSING_DEFAULT_VALUE", path, what, field.name)]


def _kind(type_: AvroType) -> str:
    return "record" if type_.kind == "error" else type_.kind


def _called(type_: AvroType) -> str:
    return f"{type_.kind} {type_.full_name}" if type_.name else type_.kind
