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


DEFAULT_VALUES = ValueOptions()
