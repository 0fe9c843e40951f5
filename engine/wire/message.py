"""The base of all generated messages: slots, equality, a field table that the codec compiles."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

# Marks a default that is an empty list or a fresh struct where None means null on the wire.
UNSET: Any = object()
# Stands for "a default-constructed struct" in a field table.
STRUCT: Any = object()

MAX_VERSION = 32767


class Field(NamedTuple):
    """One field of a message or struct, as Kafka's schema has it. Version ranges are inclusive."""

    name: str
    type: str
    low: int
    high: int
    nullable: tuple[int, int] | None
    tag: int | None
    tagged: tuple[int, int] | None
    default: Any
    ignorable: bool
    struct: Any
    flexible: bool


class Message:
    """A message or a struct inside one. Attributes are the schema's fields in snake_case."""

    __slots__ = ()
    NAME: ClassVar[str] = ""
    API_KEY: ClassVar[int] = -1
    MIN_VERSION: ClassVar[int] = 0
    MAX_VERSION: ClassVar[int] = -1
    FLEXIBLE_FROM: ClassVar[int] = MAX_VERSION
    FIELDS: ClassVar[tuple[Field, ...]] = ()

    unknown_tagged_fields: list[tuple[int, bytes]] | None

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, field.name) == getattr(other, field.name) for field in self.FIELDS) and (
            self.unknown_tagged_fields or []
        ) == (other.unknown_tagged_fields or [])

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        values = [(field.name, getattr(self, field.name)) for field in self.FIELDS]
        text = ", ".join(
            f"{name}=<{len(value)} bytes>" if isinstance(value, memoryview) else f"{name}={value!r}"
            for name, value in values
        )
        if self.unknown_tagged_fields:
            text += f", unknown_tagged_fields={self.unknown_tagged_fields!r}"
        return f"{type(self).__name__}({text})"
