"""Answers of partitions, and what becomes of several: one list in the order of the store."""

from __future__ import annotations

import base64
import heapq
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from engine.streams.queries.query import Kind, Query

_STATES: Final = ("RESTORING", "UNREACHABLE", "UNSURE", "BUSY", "STANDBY", "ABSENT")
"""Why a partition does not answer, the most telling first."""


class PartitionAnswer(NamedTuple):
    """What one partition of a store answered."""

    entries: list[dict[str, Any]]
    truncated: bool
    worker: str
    stale: bool = False
    """Whether it is a standby's."""


class Answers(NamedTuple):
    """Partitions that answered, and why others did not, in a word."""

    found: dict[int, PartitionAnswer]
    missing: dict[int, str]

    def document(self) -> dict[str, Any]:
        """As workers send it to each other."""
        return {
            "found": [{"of": partition, **answer._asdict()} for partition, answer in self.found.items()],
            "missing": [{"of": partition, "state": state} for partition, state in self.missing.items()],
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Answers:
        """What :meth:`document` wrote.

        Raises:
            ValueError: it did not.
        """
        try:
            return cls(
                {
                    int(each["of"]): PartitionAnswer(
                        [dict(entry) for entry in each["entries"]],
                        bool(each["truncated"]),
                        str(each["worker"]),
                        bool(each["stale"]),
                    )
                    for each in document["found"]
                },
                {int(each["of"]): str(each["state"]) for each in document["missing"]},
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"no answer of a worker: {error}") from error


def joined(answers: Iterable[Answers]) -> Answers:
    """Several workers' answers as one; the first that has a partition counts."""
    found: dict[int, PartitionAnswer] = {}
    missing: dict[int, str] = {}
    for each in answers:
        for partition, answer in each.found.items():
            found.setdefault(partition, answer)
        for partition, state in each.missing.items():
            # A store that is on its way somewhere, or a dead worker, says more than its absence elsewhere.
            if partition not in missing or _rank(state) < _rank(missing[partition]):
                missing[partition] = state
    return Answers(found, {partition: state for partition, state in missing.items() if partition not in found})


def _rank(state: str) -> int:
    return _STATES.index(state) if state in _STATES else 0


def order_of(query: Query) -> Callable[[Mapping[str, Any]], Any]:
    """What entries of a query are ordered by, within a partition and over all: as Kafka's stores iterate."""

    def raw(entry: Mapping[str, Any]) -> bytes:
        return base64.b64decode(entry["key_base64"])

    if query.kind is Kind.WINDOW:
        return lambda entry: (entry["window"]["start"], raw(entry))
    if query.kind is Kind.SESSION:
        return lambda entry: (raw(entry), entry["window"]["end"], entry["window"]["start"])
    return raw


def merged(query: Query, answers: Answers) -> tuple[list[dict[str, Any]], bool]:
    """The entries of all partitions in order, no more than the limit; whether there are more."""
    lists = [answer.entries for _, answer in sorted(answers.found.items())]
    entries = list(heapq.merge(*lists, key=order_of(query), reverse=query.reverse))
    truncated = any(answer.truncated for answer in answers.found.values())
    return entries[: query.limit], truncated or len(entries) > query.limit
