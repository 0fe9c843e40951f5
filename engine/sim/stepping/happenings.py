"""What a person cares about in a run: decisions with their reasons, faults, promises; numbered with the messages."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

from engine.model.notes import NoteKind


class Level(IntEnum):
    """How much a step is worth stopping at. Each includes the higher ones."""

    MESSAGE = 1
    BROKER_MESSAGE = 2
    DECISION = 3
    ELECTION = 4


class Happening(NamedTuple):
    """Something that was decided or done. ``callbacks`` is its place in the run; ``after`` is the number of the message
    that its broker had just received, -1 if it acted on its own (a timer, a disk that is done)."""

    number: int
    callbacks: int
    at_s: float
    level: Level
    kind: str
    source: str
    subject: str
    reason: str
    detail: dict[str, Any]
    after: int


# What the simulator adds to the notes of brokers.
BROKER_READY, METADATA_APPLIED = "broker_ready", "metadata_applied"
FAULT, OPERATION, YOUR_ACT, SCENARIO_ACT = "fault", "operation", "your_act", "scenario_act"
FAULTS = frozenset({FAULT, YOUR_ACT, SCENARIO_ACT})
RUN_ENDED, PROMISE_BROKEN = "run_ended", "promise_broken"

_ELECTIONS = frozenset({NoteKind.QUORUM_LEADER_ELECTED, NoteKind.LEADER_CHANGED})
# What follows from a message of an election, and is told after a disk's work.
ON_VOTES = frozenset(
    {
        NoteKind.VOTE_GRANTED,
        NoteKind.VOTE_REFUSED,
        NoteKind.CANDIDACY_STARTED,
        NoteKind.QUORUM_LEADER_ELECTED,
    }
)
_ALWAYS_STOP = frozenset({RUN_ENDED, PROMISE_BROKEN})


def level_of(kind: str) -> Level:
    """Of a decision's kind."""
    return Level.ELECTION if kind in _ELECTIONS or kind in _ALWAYS_STOP else Level.DECISION


def from_fact(fact: dict[str, Any]) -> tuple[str, str, str, dict[str, Any]] | None:
    """Kind, subject, reason and detail of a broker's fact; None for figures that come all the time."""
    match fact["type"]:
        case "note":
            return str(fact["kind"]), str(fact["subject"]), str(fact["reason"]), dict(fact["detail"])
        case "ready":
            return BROKER_READY, f"broker {fact['broker']}", "it serves clients", {}
        case "metadata_applied" if fact["changes"]:
            words = [
                f"{each['topic']}-{each['partition']} leader {each['leader']} epoch {each['leader_epoch']}"
                for each in fact["changes"]
            ]
            return METADATA_APPLIED, f"offset {fact['offset']}", "; ".join(words), {"offset": fact["offset"]}
    return None
