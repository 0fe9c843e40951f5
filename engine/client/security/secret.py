"""Words that are never shown. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

HIDDEN = "[hidden]"

# As Kafka's ConfigDef.Type.PASSWORD and librdkafka's sensitive properties have it.
_SENSITIVE = re.compile(
    r"password|secret|jaas|\.key$|key\.pem$|keystore\.certificate\.chain|oauthbearer\.config|zookeeper\.digest", re.I
)


def is_sensitive(name: str) -> bool:
    """Whether a property's value is kept from all eyes."""
    return _SENSITIVE.search(name) is not None


class Secret:
    """A string that tells itself only to who asks for it by name: not in a log, a traceback or a table."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The word itself, for the wire alone."""
        return self._value

    def __repr__(self) -> str:
        return HIDDEN

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class ClientProperties(Mapping[str, str]):
    """Client properties; what is sensitive among them is hidden wherever they are printed as a whole."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values = {name: Secret(value) for name, value in (values or {}).items()}

    def __getitem__(self, name: str) -> str:
        return self._values[name].reveal()

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def shown(self) -> dict[str, str]:
        """What people may see."""
        return {name: HIDDEN if is_sensitive(name) else self[name] for name in self._values}

    def __repr__(self) -> str:
        return f"ClientProperties({self.shown()!r})"
