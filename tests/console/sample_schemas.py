"""A schema registry as a test wants it: two subjects, one of them with three versions, of which one is deleted."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from console.gateway import GatewayError
from console.viewmodel.keeping import Told
from console.viewmodel.schemas import Level, SchemaReference, SchemaRow

URL = "http://127.0.0.1:8081"


def order(*fields: str) -> str:
    """A record with fields that have a default, but for the first."""
    said = [{"name": fields[0], "type": "long"}]
    said += [{"name": name, "type": "string", "default": ""} for name in fields[1:]]
    return json.dumps({"type": "record", "name": "Order", "namespace": "shop", "fields": said})


MONEY = 'syntax = "proto3";\n\npackage shop;\n\nmessage Payment {\n  shop.Money amount = 1;\n}\n'
ROWS = (
    SchemaRow("orders-value", 1, 1, "AVRO", order("id"), is_deleted=True),
    SchemaRow("orders-value", 2, 2, "AVRO", order("id", "item")),
    SchemaRow("orders-value", 3, 4, "AVRO", order("id", "item", "note")),
    SchemaRow("payments-value", 1, 3, "PROTOBUF", MONEY, (SchemaReference("money.proto", "money", 1),)),
)


class ScriptedSchemas:
    """Answers from its rows; what is wrong with a schema is what the test says."""

    def __init__(self, is_gone: Callable[[], bool]) -> None:
        self._is_gone = is_gone
        self.rows = list(ROWS)
        self.levels: dict[str | None, str] = {None: "BACKWARD", "orders-value": "FULL"}
        self.problems: list[str] = []
        self.calls: list[tuple[Any, ...]] = []
        self.missing = ""

    def _check(self) -> None:
        if self._is_gone():
            raise GatewayError(f"{URL}: Connection refused")
        if self.missing:
            raise GatewayError(self.missing)

    async def url(self) -> str:
        self._check()
        return URL

    async def subjects(self) -> Told:
        self._check()
        newest = {row.subject: row for row in self.rows if not row.is_deleted}
        return Told({"": list(newest.values())})

    async def versions(self, subject: str) -> Told:
        self._check()
        return Told({"": sorted((row for row in self.rows if row.subject == subject), key=lambda row: -row.version)})

    async def level(self, subject: str | None = None) -> Level:
        self._check()
        own = self.levels.get(subject)
        return Level(own or self.levels[None], own is not None)

    async def check(self, row: SchemaRow) -> list[str]:
        self._check()
        return self.problems

    async def register(self, row: SchemaRow) -> str:
        self.calls.append(("register", row))
        return f"{row.subject} has it with id 9"

    async def set_level(self, subject: str | None, level: str | None) -> None:
        self.calls.append(("set_level", subject, level))
        self.levels.pop(subject, None)
        if level is not None:
            self.levels[subject] = level

    async def delete(self, row: SchemaRow) -> None:
        self.calls.append(("delete", row.subject, row.version, row.is_deleted))
