"""What a command line says of values."""

from __future__ import annotations

from typing import NamedTuple


class ValueOptions(NamedTuple):
    """Serdes are as :mod:`console.values.serde_words` has them. Files that are ``None`` are the user's own."""

    registry: str | None = None
    key_serde: str | None = None
    value_serde: str | None = None
    serdes_file: str | None = None
    masking_file: str | None = None

    def __repr__(self) -> str:
        # The URL of a registry may have a password in it.
        return f"ValueOptions({', '.join(name for name, said in self._asdict().items() if said is not None)})"

    def over(self, others: ValueOptions) -> ValueOptions:
        """What is said here, else what ``others`` say."""
        return ValueOptions(*(mine if mine is not None else other for mine, other in zip(self, others, strict=True)))


DEFAULT_VALUES = ValueOptions()
