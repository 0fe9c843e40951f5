"""JSON in znodes: written as Kafka writes it, read with an error that names the znode instead of one of Python's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from engine.model.ids import Uuid, uuid_from_str

# json.dumps would make an encoder for each call.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_INT32 = 2**31
_INT64 = 2**63


class ZnodeCorrupt(Exception):
    """A znode does not hold what Kafka or kconsole would have written there."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(
            f"the znode {path} is not what Kafka writes there: {why}; put it right with ZooKeeper's zkCli.sh (get, "
            "set), or restore ZooKeeper's data from a backup"
        )
        self.path = path
        self.why = why


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """Compact JSON in UTF-8, fields in the mapping's order."""
    return _encode(value).encode()


class JsonFields:
    """The object in a znode (or an object inside it), asked field by field.

    Every question raises :class:`ZnodeCorrupt` when the field is absent (and has no default), of another type or out of
    bounds. Fields that nobody asks for are passed over, as Kafka's readers do.
    """

    __slots__ = ("_object", "_where", "path")

    def __init__(self, path: str, value: Any, where: str = "") -> None:
        self.path = path
        self._where = where
        if not isinstance(value, dict):
            self.corrupt(f"{where or 'the value'} is {_kind(value)}, not an object")
        self._object: dict[str, Any] = value

    @classmethod
    def parse(cls, path: str, data: bytes) -> JsonFields:
        """The JSON object that a znode holds. Raises: ZnodeCorrupt: it holds none."""
        try:
            return cls(path, json.loads(data.decode(), parse_constant=_no_constant))
        except (ValueError, RecursionError) as error:
            # What is in it may be secret.
            raise ZnodeCorrupt(path, f"its {len(data)} bytes are not JSON ({error})") from None

    def corrupt(self, why: str) -> NoReturn:
        """Raises: ZnodeCorrupt: always."""
        raise ZnodeCorrupt(self.path, why)

    def __contains__(self, name: str) -> bool:
        """Whether there is such a field and it is not null."""
        return self._object.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        """The names of its fields."""
        return (self._unicode(name, name) for name in self._object)

    def __len__(self) -> int:
        return len(self._object)

    def integer(self, name: str, default: int | None = None, *, low: int = -_INT32, high: int = _INT32 - 1) -> int:
        """A whole number between ``low`` and ``high`` (int32's bounds unless told)."""
        return self._number(name, self._get(name, default), low, high)

    def long(self, name: str, default: int | None = None, *, low: int = -_INT64) -> int:
        """A whole number of 64 bits, also where Kafka writes it as text."""
        value = self._get(name, default)
        if isinstance(value, str):
            value = self._parsed(name, value)
        return self._number(name, value, low, _INT64 - 1)

    def text(self, name: str, default: str | None = None) -> str:
        """A string."""
        value = self._get(name, default)
        return self._unicode(name, value)

    def boolean(self, name: str, default: bool | None = None) -> bool:
        """True or false."""
        value = self._get(name, default)
        if not isinstance(value, bool):
            self._wrong(name, value, "true or false")
        return value

    def uuid(self, name: str) -> Uuid:
        """An id as Kafka prints it."""
        return self._uuid(name, self.text(name))

    def uuids(self, name: str) -> list[Uuid]:
        """A list of such ids."""
        return [self._uuid(name, each) for each in self.texts(name)]

    def integers(self, name: str, default: list[int] | None = None, *, low: int = -_INT32) -> list[int]:
        """A list of int32s."""
        return [self._number(name, each, low, _INT32 - 1) for each in self._list(name, default)]

    def texts(self, name: str, default: list[str] | None = None) -> list[str]:
        """A list of strings."""
        return [self._unicode(name, each) for each in self._list(name, default)]

    def object(self, name: str, default: dict[str, Any] | None = None) -> JsonFields:
        """An object inside."""
        return JsonFields(self.path, self._get(name, default), self._named(name))

    def objects(self, name: str) -> list[JsonFields]:
        """A list of objects."""
        return [JsonFields(self.path, each, self._named(name)) for each in self._list(name, None)]

    def as_texts(self) -> dict[str, str]:
        """All fields, which must be strings; numbers and booleans are taken as what they print as, as Kafka does."""
        return {self._unicode(name, name): self._as_text(name, value) for name, value in self._object.items()}

    def _as_text(self, name: str, value: Any) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, (int, float)):
            return str(value)
        return self._unicode(name, value)

    def _unicode(self, name: str, value: Any) -> str:
        if not isinstance(value, str):
            self._wrong(name, value, "a string")
        # JSON can name half a character, which no other encoding can hold.
        if not value.isascii() and any("\ud800" <= each <= "\udfff" for each in value):
            self.corrupt(f"{self._named(name)} is not valid Unicode")
        return value

    def _get(self, name: str, default: Any) -> Any:
        value = self._object.get(name)
        if value is None:
            value = default
        if value is None:
            self.corrupt(f"{self._named(name)} is missing")
        return value

    def _list(self, name: str, default: list[Any] | None) -> list[Any]:
        value = self._get(name, default)
        if not isinstance(value, list):
            self._wrong(name, value, "a list")
        return list(value)

    def _number(self, name: str, value: Any, low: int, high: int) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            self._wrong(name, value, "a whole number")
        if not low <= value <= high:
            self.corrupt(f"{self._named(name)} is {value}, which is not between {low} and {high}")
        return value

    def _parsed(self, name: str, text: str) -> int:
        digits = text.removeprefix("-")
        if not digits.isascii() or not digits.isdigit() or len(digits) > 19:
            self._wrong(name, text, "a whole number")
        return int(text)

    def _uuid(self, name: str, text: str) -> Uuid:
        try:
            return uuid_from_str(text)
        except ValueError as error:
            self.corrupt(f"{self._named(name)}: {error}")

    def _named(self, name: str) -> str:
        return f"{self._where}.{name}" if self._where else name

    def _wrong(self, name: str, value: Any, wanted: str) -> NoReturn:
        self.corrupt(f"{self._named(name)} is {_kind(value)}, not {wanted}")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:60] + "…"
