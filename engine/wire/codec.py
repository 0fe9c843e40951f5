"""Encoding and decoding of messages: functions compiled per (class, version) on first use from the class's field table.

The semantics are those of Kafka's own generator (org.apache.kafka.message.MessageDataGenerator): flexible versions have
compact lengths and tagged fields; a field that a version does not carry takes its default when read, and must have it
when written unless the schema calls it ignorable. Unknown tagged fields are kept and written again.

Only the tables of :mod:`engine.wire.messages` reach the compiler; nothing from outside does.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from struct import error as StructError
from typing import Any, TypeVar

from engine.model.ids import ZERO_UUID
from engine.wire.message import STRUCT, Field, Message

M = TypeVar("M", bound=Message)

# Parts shorter than this are joined with their neighbours; longer ones (records) are passed on uncopied.
_KEEP_SEPARATE_BYTES = 2048

_FIXED = {
    "bool": ("?", 1),
    "int8": ("b", 1),
    "int16": ("h", 2),
    "int32": ("i", 4),
    "int64": ("q", 8),
    "uint16": ("H", 2),
    "uint32": ("I", 4),
    "float64": ("d", 8),
    "uuid": ("16s", 16),
}
_SIZES = {letter: size for letter, size in _FIXED.values()}


class DecodeError(Exception):
    """The bytes are not a message of this class and version."""


class EncodeError(Exception):
    """The message cannot be written in this version: the text names the field."""


# -- primitives that compiled functions call ---------------------------------------------------------------------------


def encode_uvarint(value: int) -> bytes:
    """An unsigned varint of up to 32 bits."""
    if value < 128:
        return _ONE_BYTE[value]
    out = bytearray()
    while value >= 128:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_ONE_BYTE = [bytes((value,)) for value in range(128)]


def decode_uvarint(buffer: bytes | memoryview, position: int) -> tuple[int, int]:
    """An unsigned varint of up to 32 bits at ``position``; returns it and where it ends. Raises DecodeError."""
    value = shift = 0
    try:
        while True:
            byte = buffer[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 128:
                break
            shift += 7
            if shift > 28:
                raise DecodeError("an unsigned varint is longer than 5 bytes")
    except IndexError:
        raise DecodeError("the message ends inside a varint") from None
    if value > 0xFFFFFFFF:
        raise DecodeError("an unsigned varint has more than 32 bits")
    return value, position


def _count(value: int, left: int) -> int:
    """Check an array's count before anything is allocated: each element takes at least one byte."""
    if not 0 <= value <= left:
        raise DecodeError(f"an array claims {value} elements in {left} bytes")
    return value


def _end(start: int, length: int, limit: int) -> int:
    """Check a length before anything is allocated."""
    if length < 0 or length > limit - start:
        raise DecodeError(f"a field claims {length} bytes of {limit - start}")
    return start + length


def _null(name: str) -> DecodeError:
    return DecodeError(f"{name} must not be null")


def _null_given(name: str) -> EncodeError:
    return EncodeError(f"{name} must not be null")


def _cannot_carry(name: str, version: int) -> EncodeError:
    return EncodeError(f"version {version} cannot carry {name}")


_integer_arrays: dict[tuple[str, int], Struct] = {}


def _array_struct(letter: str, count: int) -> Struct:
    found = _integer_arrays.get((letter, count))
    if found is None:
        found = Struct(f">{count}{letter}")
        if len(_integer_arrays) < 4096:
            _integer_arrays[letter, count] = found
    return found


def _read_tags(buffer: memoryview, position: int, limit: int) -> tuple[list[tuple[int, bytes]], int]:
    """The tagged fields of a struct in raw form, in the order of the wire."""
    count, position = decode_uvarint(buffer, position)
    _count(count, limit - position)
    tags: list[tuple[int, bytes]] = []
    last = -1
    for _ in range(count):
        tag, position = decode_uvarint(buffer, position)
        if tag <= last:
            raise DecodeError(f"tagged field {tag} follows {last}")
        last = tag
        size, position = decode_uvarint(buffer, position)
        end = _end(position, size, limit)
        tags.append((tag, bytes(buffer[position:end])))
        position = end
    return tags, position


def _tag_section(tags: list[tuple[int, bytes]], unknown: list[tuple[int, bytes]] | None) -> bytes:
    if unknown:
        known = {tag for tag, _ in tags}
        tags = sorted(tags + [each for each in unknown if each[0] not in known])
    parts = [encode_uvarint(len(tags))]
    for tag, data in tags:
        parts += (encode_uvarint(tag), encode_uvarint(len(data)), data)
    return b"".join(parts)


# -- the compiler ------------------------------------------------------------------------------------------------------


def _within(versions: tuple[int, int] | None, version: int) -> bool:
    return versions is not None and versions[0] <= version <= versions[1]


class _Compiler:
    """Writes the source of one function (decoder or encoder) for a class in a version."""

    def __init__(self, cls: type[Message], version: int, flexible: bool) -> None:
        self.cls = cls
        self.version = version
        self.flexible = flexible
        self.lines: list[str] = []
        self.names: dict[str, Any] = {
            "ZERO_UUID": ZERO_UUID,
            "DecodeError": DecodeError,
            "_count": _count,
            "_end": _end,
            "_null": _null,
            "_null_given": _null_given,
            "_cannot_carry": _cannot_carry,
            "_array_struct": _array_struct,
            "_read_tags": _read_tags,
            "_tag_section": _tag_section,
            "uvarint": encode_uvarint,
            "one_byte": _ONE_BYTE,
            "decode_uvarint": decode_uvarint,
        }
        self.pending: list[tuple[str, str]] = []  # fixed-size fields waiting to share one Struct
        self.serial = 0

    def emit(self, depth: int, line: str) -> None:
        self.lines.append("    " * depth + line)

    def name(self, value: Any, prefix: str) -> str:
        for known, existing in self.names.items():
            if existing is value:
                return known
        self.serial += 1
        name = f"{prefix}{self.serial}"
        self.names[name] = value
        return name

    def struct_name(self, letters: str) -> str:
        name = "S_" + letters.replace("?", "t")
        self.names.setdefault(name, Struct(">" + letters))
        return name

    def compiled(self, header: str, function: str) -> Any:
        source = header + "\n" + "\n".join(self.lines) + "\n"
        code = compile(source, f"<{self.cls.__name__} v{self.version} {function}>", "exec")
        exec(code, self.names)
        return self.names[function]

    # -- decoding

    def decoder(self) -> Callable[[memoryview, int, int], tuple[Any, int]]:
        arguments: list[str] = []
        tagged: list[tuple[Field, str]] = []
        for field in self.cls.FIELDS:
            variable = f"v_{field.name}"
            if not field.low <= self.version <= field.high:
                arguments.append(self.default(field))
            elif _within(field.tagged, self.version):
                tagged.append((field, variable))
                arguments.append(variable)
                self.flush_decode(1)
                self.emit(1, f"{variable} = {self.default(field)}")
            else:
                self.decode_field(1, field, variable)
                arguments.append(variable)
        self.flush_decode(1)
        build = f"C({', '.join(arguments)})"
        self.names["C"] = self.cls
        if not self.flexible:
            self.emit(1, f"return {build}, p")
        else:
            self.emit(1, "if b[p] == 0:")
            self.emit(2, f"return {build}, p + 1")
            self.emit(1, "tags, p = _read_tags(b, p, n)")
            self.emit(1, "unknown = None")
            if tagged:
                self.emit(1, "outer = b, p, n")
            self.emit(1, "for tag, data in tags:")
            first = "if"
            for field, variable in tagged:
                self.emit(2, f"{first} tag == {field.tag}:")
                self.emit(3, "b, p, n = memoryview(data), 0, len(data)")
                self.decode_field(3, field, variable, in_tag=True)
                self.flush_decode(3)
                self.emit(3, "if p != n:")
                self.emit(4, f'raise DecodeError("tagged field {field.name} has bytes left over")')
                first = "elif"
            if tagged:
                self.emit(2, "else:")
            depth = 3 if tagged else 2
            self.emit(depth, "unknown = [] if unknown is None else unknown")
            self.emit(depth, "unknown.append((tag, data))")
            if tagged:
                self.emit(1, "b, p, n = outer")
            self.emit(1, f"m = {build}")
            self.emit(1, "m.unknown_tagged_fields = unknown")
            self.emit(1, "return m, p")
        function: Callable[[memoryview, int, int], tuple[Any, int]] = self.compiled("def decode_(b, p, n):", "decode_")
        return function

    def default(self, field: Field) -> str:
        if field.default is STRUCT:
            return f"{self.name(field.struct, 'T')}()"
        if field.default == [] and isinstance(field.default, list):
            return "[]"
        if field.type == "uuid":
            return "ZERO_UUID"
        return repr(field.default)

    def flush_decode(self, depth: int) -> None:
        if not self.pending:
            return
        letters = "".join(letter for _, letter in self.pending)
        variables = ", ".join(variable for variable, _ in self.pending)
        size = sum(_SIZES[letter] for _, letter in self.pending)
        comma = "," if len(self.pending) == 1 else ""
        if letters == "b":
            # A single signed byte: indexing beats a Struct.
            self.emit(depth, f"{variables} = b[p] - 256 if b[p] > 127 else b[p]")
        else:
            self.emit(depth, f"{variables}{comma} = {self.struct_name(letters)}.unpack_from(b, p)")
        self.emit(depth, f"p += {size}")
        for variable, letter in self.pending:
            if letter == "?":
                self.emit(depth, f"{variable} = bool({variable})")
        self.pending = []

    def decode_field(self, depth: int, field: Field, variable: str, *, in_tag: bool = False) -> None:
        flexible = self.flexible and field.flexible
        nullable = _within(field.nullable, self.version)
        if field.type in _FIXED:
            self.pending.append((variable, _FIXED[field.type][0]))
            return
        self.flush_decode(depth)
        if field.type.startswith("[]"):
            self.decode_length(depth, variable, "i", flexible, nullable, field.name, "None")
            inner = depth + 1 if nullable else depth
            self.decode_elements(inner, field, variable, flexible)
        elif field.type in ("string", "bytes", "records"):
            letter = "h" if field.type == "string" else "i"
            records = field.type == "records"
            self.decode_length(depth, variable, letter, flexible, nullable or records, field.name, "None")
            inner = depth + 1 if nullable or records else depth
            self.decode_end(inner, "k")
            self.decode_bytes(inner, field.type, variable)
            self.emit(inner, "p = e")
        elif field.type == "struct":
            name = self.name(_decoder(field.struct, self.version, self.flexible), "d")
            if nullable:
                # Null is -1 in one byte, but 0 in a tagged field.
                self.emit(depth, "k = b[p]")
                self.emit(depth, "p += 1")
                self.emit(depth, "if k == 0:" if in_tag else "if k > 127:")
                self.emit(depth + 1, f"{variable} = None")
                self.emit(depth, "else:")
                self.emit(depth + 1, f"{variable}, p = {name}(b, p, n)")
            else:
                self.emit(depth, f"{variable}, p = {name}(b, p, n)")
        else:
            raise AssertionError(f"unknown type {field.type}")

    def decode_bytes(self, depth: int, kind: str, variable: str) -> None:
        value = {"string": 'str(b[p:e], "utf-8")', "bytes": "bytes(b[p:e])", "records": "b[p:e]"}[kind]
        self.emit(depth, f"{variable} = {value}")

    def decode_end(self, depth: int, length: str) -> None:
        """Leaves in ``e`` where a field of a length that is not negative ends: it is checked before anything is
        allocated."""
        self.emit(depth, f"e = p + {length}")
        self.emit(depth, "if e > n:")
        self.emit(depth + 1, f"_end(p, {length}, n)")

    def decode_length(
        self, depth: int, variable: str, letter: str, flexible: bool, nullable: bool, name: str, null: str
    ) -> None:
        """Leaves the length in ``k``; where null is allowed, what follows belongs one level deeper."""
        if flexible:
            self.emit(depth, "k = b[p] - 1")
            self.emit(depth, "p += 1")
            self.emit(depth, "if k >= 127:")
            self.emit(depth + 1, "k, p = decode_uvarint(b, p - 1)")
            self.emit(depth + 1, "k -= 1")
        else:
            self.emit(depth, f"k, = {self.struct_name(letter)}.unpack_from(b, p)")
            self.emit(depth, f"p += {_SIZES[letter]}")
        self.emit(depth, "if k < 0:")
        if nullable:
            self.emit(depth + 1, f"{variable} = {null}")
            self.emit(depth, "else:")
        else:
            self.emit(depth + 1, f'raise _null("{name}")')

    def decode_elements(self, depth: int, field: Field, variable: str, flexible: bool) -> None:
        element = field.type[2:]
        # Each element takes at least one byte.
        self.emit(depth, "if k > n - p:")
        self.emit(depth + 1, "_count(k, n - p)")
        if element in _FIXED and element != "uuid":
            letter, size = _FIXED[element]
            self.emit(depth, f"if k * {size} > n - p:")
            self.emit(depth + 1, f"_end(p, k * {size}, n)")
            self.emit(depth, f'{variable} = list(_array_struct("{letter}", k).unpack_from(b, p))')
            self.emit(depth, f"p += k * {size}")
            return
        self.emit(depth, f"{variable} = []")
        self.emit(depth, f"a = {variable}.append")
        self.emit(depth, "for _ in range(k):")
        if element == "uuid":
            self.decode_end(depth + 1, "16")
            self.emit(depth + 1, "a(bytes(b[p:e]))")
            self.emit(depth + 1, "p = e")
        elif element == "struct":
            name = self.name(_decoder(field.struct, self.version, self.flexible), "d")
            self.emit(depth + 1, f"x, p = {name}(b, p, n)")
            self.emit(depth + 1, "a(x)")
        else:
            letter = "h" if element == "string" else "i"
            self.decode_length(depth + 1, "x", letter, flexible, False, field.name, "None")
            self.decode_end(depth + 1, "k")
            self.decode_bytes(depth + 1, element, "x")
            self.emit(depth + 1, "p = e")
            self.emit(depth + 1, "a(x)")

    # -- encoding

    def encoder(self) -> Callable[[Any, Callable[[Any], None]], None]:
        tagged: list[Field] = []
        for field in self.cls.FIELDS:
            if not field.low <= self.version <= field.high:
                if not field.ignorable:
                    self.flush_encode(1)
                    self.emit(1, f"if {self.differs(field)}:")
                    self.emit(2, f'raise _cannot_carry("{field.name}", {self.version})')
            elif _within(field.tagged, self.version):
                tagged.append(field)
            else:
                self.encode_field(1, field, f"m.{field.name}")
        if self.flexible:
            if not tagged:
                # The usual end, no tagged fields: one more byte in the pending Struct.
                self.flush_encode(1)
                self.emit(1, "if m.unknown_tagged_fields is None:")
                self.emit(2, 'o(b"\\0")')
                self.emit(1, "else:")
                self.emit(2, "o(_tag_section([], m.unknown_tagged_fields))")
            else:
                self.flush_encode(1)
                self.emit(1, "t = None")
                self.emit(1, "outer = o")
                for field in sorted(tagged, key=lambda each: each.tag or 0):
                    self.emit(1, f"if {self.differs(field)}:")
                    self.emit(2, "if t is None:")
                    self.emit(3, "t = []")
                    self.emit(2, "parts = []")
                    self.emit(2, "o = parts.append")
                    self.encode_field(2, field, f"m.{field.name}", in_tag=True)
                    self.flush_encode(2)
                    self.emit(2, f't.append(({field.tag}, b"".join(parts)))')
                # The usual end: every tagged field has its default, and is left out.
                self.emit(1, "if t is None and m.unknown_tagged_fields is None:")
                self.emit(2, 'o(b"\\0")')
                self.emit(1, "else:")
                self.emit(2, "outer(_tag_section(t or [], m.unknown_tagged_fields))")
        else:
            self.flush_encode(1)
        if not self.lines:
            self.emit(1, "pass")
        function: Callable[[Any, Callable[[Any], None]], None] = self.compiled("def encode_(m, o):", "encode_")
        return function

    def differs(self, field: Field, owner: str = "m") -> str:
        value = f"{owner}.{field.name}"
        if field.default is None:
            return f"{value} is not None"
        if field.default is STRUCT:
            # Field by field: nothing is made, nor compared by a method, for what is nearly always left out.
            parts = [f"{value} is None"] if field.nullable else []
            parts += [f"{value}.unknown_tagged_fields", *(self.differs(each, value) for each in field.struct.FIELDS)]
            return " or ".join(parts)
        if isinstance(field.default, list):
            return f"{value} is None or len({value}) != 0" if field.nullable else f"len({value}) != 0"
        return f"{value} != {self.default(field)}"

    def flush_encode(self, depth: int) -> None:
        if not self.pending:
            return
        letters = "".join(letter for _, letter in self.pending)
        values = ", ".join(value for value, _ in self.pending)
        self.emit(depth, f"o({self.struct_name(letters)}.pack({values}))")
        self.pending = []

    def encode_field(self, depth: int, field: Field, value: str, *, in_tag: bool = False) -> None:
        flexible = self.flexible and field.flexible
        nullable = _within(field.nullable, self.version)
        if field.type in _FIXED:
            self.pending.append((value, _FIXED[field.type][0]))
            return
        self.flush_encode(depth)
        variable = "v"
        self.emit(depth, f"v = {value}")
        if field.type == "struct":
            name = self.name(_encoder(field.struct, self.version, self.flexible), "e")
            if nullable:
                self.emit(depth, "if v is None:")
                self.emit(depth + 1, 'o(b"\\0")' if in_tag else 'o(b"\\xff")')
                self.emit(depth, "else:")
                self.emit(depth + 1, 'o(b"\\x01")')
                self.emit(depth + 1, f"{name}(v, o)")
            else:
                self.emit(depth, f"{name}(v, o)")
            return
        letter = "h" if field.type == "string" else "i"
        null = 'b"\\0"' if flexible else ('b"\\xff\\xff"' if letter == "h" else 'b"\\xff\\xff\\xff\\xff"')
        self.emit(depth, "if v is None:")
        if nullable or field.type == "records":
            self.emit(depth + 1, f"o({null})")
        else:
            self.emit(depth + 1, f'raise _null_given("{field.name}")')
        self.emit(depth, "else:")
        depth += 1
        if field.type.startswith("[]"):
            self.encode_length(depth, "len(v)", letter, flexible)
            self.encode_elements(depth, field, flexible)
        elif field.type == "string":
            self.emit(depth, "v = v.encode()")
            self.encode_string(depth, variable, flexible)
        else:
            self.encode_length(depth, "len(v)", letter, flexible)
            self.emit(depth, "o(v)")

    def encode_string(self, depth: int, variable: str, flexible: bool) -> None:
        if flexible:
            self.emit(depth, f"k = len({variable}) + 1")
            self.emit(depth, f"o((one_byte[k] if k < 128 else uvarint(k)) + {variable})")
        else:
            self.emit(depth, f"o({self.struct_name('h')}.pack(len({variable})) + {variable})")

    def encode_length(self, depth: int, length: str, letter: str, flexible: bool) -> None:
        if flexible:
            self.emit(depth, f"k = {length} + 1")
            self.emit(depth, "o(one_byte[k] if k < 128 else uvarint(k))")
        else:
            self.emit(depth, f"o({self.struct_name(letter)}.pack({length}))")

    def encode_elements(self, depth: int, field: Field, flexible: bool) -> None:
        element = field.type[2:]
        if element in _FIXED and element != "uuid":
            self.emit(depth, f'o(_array_struct("{_FIXED[element][0]}", len(v)).pack(*v))')
        elif element == "uuid":
            self.emit(depth, 'o(b"".join(v))')
        elif element == "struct":
            name = self.name(_encoder(field.struct, self.version, self.flexible), "e")
            self.emit(depth, "for x in v:")
            self.emit(depth + 1, f"{name}(x, o)")
        else:
            self.emit(depth, "for x in v:")
            if element == "string":
                self.emit(depth + 1, "x = x.encode()")
                self.encode_string(depth + 1, "x", flexible)
            else:
                self.encode_length(depth + 1, "len(x)", "i", flexible)
                self.emit(depth + 1, "o(x)")


_decoders: dict[tuple[type[Message], int, bool], Callable[[memoryview, int, int], tuple[Any, int]]] = {}
_encoders: dict[tuple[type[Message], int, bool], Callable[[Any, Callable[[Any], None]], None]] = {}

# Of whole messages.
_message_decoders: dict[tuple[type[Message], int], Callable[[memoryview, int, int], tuple[Any, int]]] = {}
_message_encoders: dict[tuple[type[Message], int], Callable[[Any, Callable[[Any], None]], None]] = {}


def _decoder(cls: type[Message], version: int, flexible: bool) -> Callable[[memoryview, int, int], tuple[Any, int]]:
    key = (cls, version, flexible)
    function = _decoders.get(key)
    if function is None:
        function = _decoders[key] = _Compiler(cls, version, flexible).decoder()
    return function


def _encoder(cls: type[Message], version: int, flexible: bool) -> Callable[[Any, Callable[[Any], None]], None]:
    key = (cls, version, flexible)
    function = _encoders.get(key)
    if function is None:
        function = _encoders[key] = _Compiler(cls, version, flexible).encoder()
    return function


def decode(cls: type[M], version: int, buffer: bytes | bytearray | memoryview, offset: int = 0) -> tuple[M, int]:
    """Read one message at ``offset``; returns it and where it ends. ``records`` fields are views into ``buffer``.

    Raises:
        DecodeError: the bytes do not parse, or the version is not one of the schema's.
    """
    decoder = _message_decoders.get((cls, version))
    if decoder is None:
        if not cls.MIN_VERSION <= version <= cls.MAX_VERSION:
            raise DecodeError(f"{cls.NAME} has no version {version}")
        decoder = _message_decoders[cls, version] = _decoder(cls, version, version >= cls.FLEXIBLE_FROM)
    view = buffer if isinstance(buffer, memoryview) else memoryview(buffer)
    try:
        message, end = decoder(view, offset, len(view))
    except (IndexError, StructError):
        raise DecodeError(f"{cls.NAME} v{version} ends early") from None
    except UnicodeDecodeError:
        raise DecodeError(f"{cls.NAME} v{version} has a string that is not UTF-8") from None
    if end > len(view):
        raise DecodeError(f"{cls.NAME} v{version} ends early")
    return message, end


def encode_parts(message: Message, version: int) -> list[bytes | memoryview]:
    """The message's bytes as a list of parts; records are not copied, everything small is joined.

    Raises:
        EncodeError: a field has a value that this version cannot carry.
    """
    cls = type(message)
    parts: list[Any] = []
    try:
        encoder = _message_encoders.get((cls, version))
        if encoder is None:
            if not cls.MIN_VERSION <= version <= cls.MAX_VERSION:
                raise EncodeError(f"{cls.NAME} has no version {version}")
            encoder = _message_encoders[cls, version] = _encoder(cls, version, version >= cls.FLEXIBLE_FROM)
        encoder(message, parts.append)
    except (StructError, AttributeError, TypeError, UnicodeEncodeError) as error:
        raise EncodeError(f"{cls.NAME} v{version}: {error} in {message!r:.300}") from error
    if not parts or max(map(len, parts)) < _KEEP_SEPARATE_BYTES:
        return [b"".join(parts)] if parts else []
    out: list[bytes | memoryview] = []
    start = 0
    for index, part in enumerate(parts):
        if len(part) >= _KEEP_SEPARATE_BYTES:
            if start < index:
                out.append(b"".join(parts[start:index]))
            out.append(part)
            start = index + 1
    if start < len(parts):
        out.append(b"".join(parts[start:]) if start else b"".join(parts))
    return out


def encode(message: Message, version: int) -> bytes:
    """The message's bytes. Raises :class:`EncodeError`."""
    parts = encode_parts(message, version)
    return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)
