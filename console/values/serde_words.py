"""How a serde is written: ``string``, ``avro``, ``avro:order.avsc``, ``protobuf:pay.proto:acme.Payment``. Pure."""

from __future__ import annotations

import difflib
import os
from typing import NamedTuple

from console.values.serdes import ALIASES, SIMPLE, SerdeError

AUTO = "auto"
WITH_SCHEMA = ("avro", "protobuf")
NAMES = (AUTO, *SIMPLE, *WITH_SCHEMA)
HELP = (
    "auto, string, json, hex, int16, int32, int64, float, double, uuid, msgpack, cbor, avro, avro:FILE.avsc, protobuf, \
protobuf:FILE.proto:MESSAGE"
)


class SerdeWord(NamedTuple):
    """A serde by its name. ``file``: of a local schema; without one the registry has it. ``message``: of Protobuf."""

    name: str = AUTO
    file: str = ""
    message: str = ""

    @classmethod
    def parse(cls, written: str, folder: str = "") -> SerdeWord:
        """Relative files are below ``folder``. Raises: SerdeError: nothing of that name."""
        name, _, rest = written.strip().partition(":")
        name = ALIASES.get(name.lower(), name.lower())
        if name not in NAMES:
            near = difflib.get_close_matches(name, (*NAMES, *ALIASES), 1, 0.6)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(NAMES)}"
            raise SerdeError(f"there is no serde {name!r}: {hint}")
        if not rest:
            return cls(name)
        if name not in WITH_SCHEMA:
            raise SerdeError(f"{name} takes nothing after it")
        file, _, message = rest.rpartition(":") if name == "protobuf" and ":" in rest else (rest, "", "")
        if os.sep in message or message.endswith((".proto", ".desc")):
            file, message = rest, ""
        path = os.path.expanduser(file)
        return cls(name, os.path.join(folder, path) if folder else path, message)

    def absolute(self) -> SerdeWord:
        """With its file wherever one is."""
        return self._replace(file=os.path.abspath(self.file)) if self.file else self

    def __str__(self) -> str:
        return ":".join(each for each in self if each)
