"""Quotas of users, clients and addresses as rows, and what a form says of them. Pure; names are Kafka's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from console.viewmodel import text
from console.viewmodel.cells import UNKNOWN, Cell, Column, Span, cell

USER, CLIENT_ID, IP = "user", "client-id", "ip"
OF_CLIENTS = ("producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate")
OF_ADDRESSES = ("connection_creation_rate",)
QUOTAS = (*OF_CLIENTS, *OF_ADDRESSES)
# What stands for the default of a type in forms, as in Kafka's older tools.
DEFAULT = "<default>"

Entity = tuple[tuple[str, str | None], ...]


class QuotaRow(NamedTuple):
    """An entity with its quotas. Of a part, the name ``None`` is the default of its type."""

    entity: Entity
    values: Mapping[str, float]
    age_ms: float = 0.0

    @property
    def key(self) -> str:
        """``user alice, client-id <default>``."""
        return entity_words(self.entity)

    def part(self, kind: str) -> str | None:
        """Its name of a type, DEFAULT, or ``None``: not part of it."""
        for each, name in self.entity:
            if each == kind:
                return DEFAULT if name is None else name
        return None


class QuotaChange(NamedTuple):
    """What is to become of an entity's quotas; ``None`` removes one."""

    entity: Entity
    before: Mapping[str, float]
    changes: Mapping[str, float | None]


def entity_words(entity: Entity) -> str:
    """``user alice, client-id <default>``."""
    return ", ".join(f"{kind} {DEFAULT if name is None else name}" for kind, name in entity)


def number(value: float) -> str:
    """Without a fraction where there is none."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def written(value: float | None) -> str:
    """As a form has it."""
    return "" if value is None else (str(int(value)) if value == int(value) else repr(value))


def read_amount(key: str, words: str) -> float | None:
    """``20M`` of bytes, ``12.5`` of anything; empty is ``None``. Raises: ValueError: a sentence."""
    try:
        if key.endswith("_byte_rate"):
            amount = text.rate_bytes(words)
            return None if amount is None else float(amount)
        if not words.strip():
            return None
        value = float(words)
    except ValueError:
        shape = "bytes a second, as 500k or 20M" if key.endswith("_byte_rate") else "a number"
        raise ValueError(f"{key}: {shape}, or empty for none") from None
    if not math.isfinite(value) or value <= 0:
        raise ValueError(f"{key}: above 0, or empty for none")
    return value


def change_of(values: Mapping[str, str], rows: Sequence[QuotaRow]) -> QuotaChange:
    """What a form wants, beside what there is. Raises: ValueError: a sentence."""
    said = {kind: values[kind].strip() for kind in (USER, CLIENT_ID, IP)}
    entity: Entity = tuple((kind, None if name == DEFAULT else name) for kind, name in sorted(said.items()) if name)
    if not entity:
        raise ValueError(f"name a user, a client-id, both, or an ip; {DEFAULT} for all that have none of their own")
    if said[IP] and len(entity) > 1:
        raise ValueError("an ip stands alone: its quota is connections a second")
    wanted = {key: read_amount(key, values[key]) for key in QUOTAS}
    wrong = [key for key in (OF_CLIENTS if said[IP] else OF_ADDRESSES) if wanted[key] is not None]
    if wrong:
        raise ValueError(f"{wrong[0]} is no quota of {'an ip' if said[IP] else 'users and clients'}")
    before = next((row.values for row in rows if row.entity == entity), {})
    changes = {key: value for key, value in wanted.items() if value != before.get(key)}
    if not changes:
        raise ValueError("nothing changes: give a quota another value")
    return QuotaChange(entity, before, changes)


def removal_of(row: QuotaRow) -> QuotaChange:
    """All of an entity's quotas gone."""
    return QuotaChange(row.entity, row.values, dict.fromkeys(row.values))


def change_cells(change: QuotaChange) -> list[Cell]:
    """Old and new of each quota."""
    lines: list[Cell] = []
    for key, value in change.changes.items():
        old = change.before.get(key)
        lines.append(
            (
                Span(f"{key:<26}"),
                Span("none" if old is None else number(old), "muted" if old is None else "offline"),
                Span("  →  ", "muted"),
                Span("none" if value is None else number(value), "muted" if value is None else "in_sync"),
            )
        )
    return lines


def _part(kind: str, row: QuotaRow) -> Cell:
    name = row.part(kind)
    return cell("") if name is None else cell(name, "accent" if name == DEFAULT else "text")


def _value(key: str, row: QuotaRow) -> Cell:
    value = row.values.get(key)
    if value is None:
        return UNKNOWN
    if key.endswith("_byte_rate"):
        return cell(text.rate(value))
    return cell(f"{number(value)}%" if key == "request_percentage" else f"{number(value)}/s")


def _column(key: str, title: str, width: int, priority: int = 0) -> Column:
    return Column(
        key,
        title,
        lambda row: _value(key, row),
        width,
        lambda row: row.values.get(key, 0.0),
        right=True,
        descending=True,
        priority=priority,
        flashes=True,
    )


QUOTA_COLUMNS: tuple[Column, ...] = (
    Column("user", "USER", lambda row: _part(USER, row), 9, lambda row: row.part(USER) or "", max_width=40),
    Column(
        "client-id",
        "CLIENT-ID",
        lambda row: _part(CLIENT_ID, row),
        9,
        lambda row: row.part(CLIENT_ID) or "",
        max_width=40,
    ),
    Column("ip", "IP", lambda row: _part(IP, row), 9, lambda row: row.part(IP) or "", max_width=39),
    _column("producer_byte_rate", "PRODUCE", 10),
    _column("consumer_byte_rate", "CONSUME", 10),
    _column("request_percentage", "REQUESTS", 8),
    _column("controller_mutation_rate", "MUTATIONS", 9, 1),
    _column("connection_creation_rate", "CONNECTIONS", 11, 1),
)
