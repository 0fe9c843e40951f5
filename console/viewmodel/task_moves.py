"""Tasks of applications over streams that went from one worker to another. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from engine.supervisor.snapshot import ClusterSnapshot, MemberState


def worker_name(member: MemberState) -> str:
    """Short, and the same wherever a worker is named: the process, and of Java's the thread."""
    if not member.process_id:
        return member.instance_id or member.client_id
    thread = member.client_id.rpartition("-StreamThread-")[2]
    return member.process_id[:8] + (f"-{thread}" if thread.isdigit() and "-StreamThread-" in member.client_id else "")


class Move(NamedTuple):
    """A task that another worker had before."""

    before: str
    at_ms: int


class TaskMoves:
    """Which worker has each active task of each application, and which one had it before. Fed with every picture."""

    def __init__(self) -> None:
        self._has: dict[str, dict[tuple[str, int], tuple[str, str]]] = {}
        self._moves: dict[str, dict[tuple[str, int], Move]] = {}

    def take(self, snapshot: ClusterSnapshot) -> None:
        """A task that nobody has for a while is still the one of who had it last."""
        groups = [each for each in snapshot.groups if each.is_streams]
        for gone in set(self._has) - {each.group_id for each in groups}:
            del self._has[gone]
            self._moves.pop(gone, None)
        for group in groups:
            has = self._has.setdefault(group.group_id, {})
            for member in group.members:
                # Threads of one process have one endpoint; one that was started again has another, or is alone.
                now = (f"{member.process_id or member.member_id} {member.user_endpoint}", worker_name(member))
                for name, numbers in member.tasks.active if member.tasks is not None else ():
                    for number in numbers:
                        before = has.get((name, number))
                        if before is not None and before[0] != now[0]:
                            moves = self._moves.setdefault(group.group_id, {})
                            moves[name, number] = Move(before[1], snapshot.at_ms)
                        has[name, number] = now

    def of(self, group_id: str) -> Mapping[tuple[str, int], Move]:
        """The last move of each task that moved."""
        return self._moves.get(group_id, {})
