"""Messages of PostgreSQL's logical replication, as its output plug-in ``pgoutput`` writes them.

Of "Logical Replication Message Formats" in PostgreSQL's manual, protocol version 1. Numbers are big-endian; LSNs are 64
bits wide; times are microseconds since 2000, here since 1970. Parts of transactions that are not committed yet (version
2's streaming) come only to who asks for them; nobody here does.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from engine.connect.errors import DataError

EPOCH_2000_US: Final = 946_684_800_000_000


class _Unchanged:
    """A large value that an update did not touch, and that the log therefore does not have (TOAST)."""

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED: Final = _Unchanged()
Value = str | bytes | _Unchanged | None
"""A column's value as text (bytes: in binary form)."""
Row = list[Value]


class Begin(NamedTuple):
    """A transaction; its changes follow. ``final_lsn`` is the LSN of its commit."""

    final_lsn: int
    commit_us: int
    xid: int


class Commit(NamedTuple):
    """The transaction ends; ``end_lsn`` is behind its commit."""

    lsn: int
    end_lsn: int
    commit_us: int


class Origin(NamedTuple):
    """Where the transaction was made first, if it came here by replication."""

    lsn: int
    name: str


class Column(NamedTuple):
    """A column; ``in_key``: part of the replica identity."""

    in_key: bool
    name: str
    type_oid: int
    type_modifier: int


class Relation(NamedTuple):
    """A table, before its first change and after each change of its own. ``replica_identity``: d, n, f or i."""

    oid: int
    schema: str
    name: str
    replica_identity: str
    columns: tuple[Column, ...]


class TypeName(NamedTuple):
    """A type that is not built in."""

    oid: int
    schema: str
    name: str


class Insert(NamedTuple):
    relation: int
    new: Row


class Update(NamedTuple):
    """``old`` has the old key only (``old_is_key``), the whole old row, or is None if the key did not change."""

    relation: int
    old: Row | None
    old_is_key: bool
    new: Row


class Delete(NamedTuple):
    """``old`` has the key only (``old_is_key``), or the whole row."""

    relation: int
    old: Row
    old_is_key: bool


class Truncate(NamedTuple):
    relations: tuple[int, ...]
    cascade: bool
    restart_identity: bool


class LogicalMessage(NamedTuple):
    """What ``pg_logical_emit_message`` wrote."""

    transactional: bool
    lsn: int
    prefix: str
    content: bytes


Message = Begin | Commit | Origin | Relation | TypeName | Insert | Update | Delete | Truncate | LogicalMessage

_KINDS = {
    "B": "Begin", "C": "Commit", "O": "Origin", "R": "Relation", "Y": "Type", "I": "Insert", "U": "Update",
    "D": "Delete", "T": "Truncate", "M": "Message",
}  # fmt: skip
_STREAMED = {"S": "Stream Start", "E": "Stream Stop", "c": "Stream Commit", "A": "Stream Abort"}


def decode(payload: bytes | memoryview) -> Message:
    """One message.

    Raises:
        DataError: it is none of protocol version 1, is cut short, or something follows it.
    """
    reader = _Reader(bytes(payload))
    try:
        kind = chr(reader.byte())
        message = _read(kind, reader)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        what = _KINDS.get(chr(payload[0]), "?") if payload else "empty"
        raise DataError(f"a message of pgoutput ({what}, {len(payload)} bytes) cannot be read: {error}") from None
    if reader.at != len(payload):
        raise DataError(f"a message of pgoutput ({_KINDS[kind]}) has {len(payload) - reader.at} bytes too many")
    return message


def _read(kind: str, reader: _Reader) -> Message:
    match kind:
        case "B":
            return Begin(reader.int64(), reader.time_us(), reader.uint32())
        case "C":
            reader.byte()  # flags: none are defined
            return Commit(reader.int64(), reader.int64(), reader.time_us())
        case "I":
            relation = reader.uint32()
            reader.expect("N")
            return Insert(relation, reader.row())
        case "U":
            relation, old, old_kind = reader.uint32(), None, chr(reader.byte())
            if old_kind in "KO":
                old = reader.row()
                reader.expect("N")
            elif old_kind != "N":
                raise DataError(f"a message of pgoutput (Update) has a part {old_kind!r}: K, O or N are known")
            return Update(relation, old, old_kind == "K", reader.row())
        case "D":
            relation, old_kind = reader.uint32(), chr(reader.byte())
            if old_kind not in "KO":
                raise DataError(f"a message of pgoutput (Delete) has a part {old_kind!r}: K or O are known")
            return Delete(relation, reader.row(), old_kind == "K")
        case "R":
            oid, schema, name = reader.uint32(), reader.text(), reader.text()
            identity = chr(reader.byte())
            columns = [
                Column(bool(reader.byte() & 1), reader.text(), reader.uint32(), reader.int32())
                for _ in range(reader.uint16())
            ]
            return Relation(oid, schema or "pg_catalog", name, identity, tuple(columns))
        case "T":
            count, options = reader.uint32(), reader.byte()
            return Truncate(tuple(reader.uint32() for _ in range(count)), bool(options & 1), bool(options & 2))
        case "Y":
            return TypeName(reader.uint32(), reader.text() or "pg_catalog", reader.text())
        case "O":
            return Origin(reader.int64(), reader.text())
        case "M":
            transactional = bool(reader.byte() & 1)
            lsn, prefix = reader.int64(), reader.text()
            return LogicalMessage(transactional, lsn, prefix, reader.bytes(reader.uint32()))
    if kind in _STREAMED:
        raise DataError(f"pgoutput sent {_STREAMED[kind]}: streaming of open transactions was not asked for")
    raise DataError(f"pgoutput sent a message of an unknown kind {kind!r}")


class _Reader:
    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def byte(self) -> int:
        value = self.data[self.at]
        self.at += 1
        return value

    def uint16(self) -> int:
        self.at += 2
        return int.from_bytes(self._span(2), "big")

    def uint32(self) -> int:
        self.at += 4
        return int.from_bytes(self._span(4), "big")

    def int32(self) -> int:
        self.at += 4
        return int.from_bytes(self._span(4), "big", signed=True)

    def int64(self) -> int:
        self.at += 8
        return int.from_bytes(self._span(8), "big", signed=True)

    def _span(self, size: int) -> bytes:
        if self.at > len(self.data):
            raise IndexError("it is cut short")
        return self.data[self.at - size : self.at]

    def time_us(self) -> int:
        return self.int64() + EPOCH_2000_US

    def bytes(self, size: int) -> bytes:
        self.at += size
        return self._span(size)

    def text(self) -> str:
        end = self.data.find(0, self.at)
        if end < 0:
            raise IndexError("a text has no end")
        value = self.data[self.at : end].decode()
        self.at = end + 1
        return value

    def expect(self, kind: str) -> None:
        found = chr(self.byte())
        if found != kind:
            raise DataError(f"a message of pgoutput has a part {found!r} where {kind!r} belongs")

    def row(self) -> Row:
        values: Row = []
        for _ in range(self.uint16()):
            kind = self.byte()
            if kind == 0x74:  # t
                values.append(self.bytes(self.uint32()).decode())
            elif kind == 0x6E:  # n
                values.append(None)
            elif kind == 0x75:  # u
                values.append(UNCHANGED)
            elif kind == 0x62:  # b
                values.append(self.bytes(self.uint32()))
            else:
                raise DataError(f"a message of pgoutput has a value of an unknown kind {chr(kind)!r}")
        return values


def lsn_text(lsn: int) -> str:
    """As PostgreSQL writes it: ``16/B374D848``."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def parse_lsn(text: str) -> int:
    """Of ``16/B374D848``.

    Raises:
        DataError: it is none.
    """
    high, slash, low = text.partition("/")
    try:
        if slash:
            return (int(high, 16) << 32) | int(low, 16)
    except ValueError:
        pass
    raise DataError(f"{text!r} is no LSN such as 16/B374D848")
