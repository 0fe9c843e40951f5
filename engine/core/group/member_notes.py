"""Why members are out, or are not heard: the words and the numbers of their notes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.model.errors import ErrorCode, KafkaError
from engine.model.notes import Detail, Note, NoteKind

if TYPE_CHECKING:
    from engine.core.group.records import GroupEffects
    from engine.core.group.timers import Timers
    from engine.core.now import Now

# Errors at which a client has to join again: somebody else is in its place, or it is a member no more. A generation
# that is over is none: each rebalance catches some heartbeats on their way.
_FENCING = frozenset(
    (
        ErrorCode.FENCED_INSTANCE_ID,
        ErrorCode.FENCED_MEMBER_EPOCH,
        ErrorCode.UNKNOWN_MEMBER_ID,
        ErrorCode.UNRELEASED_INSTANCE_ID,
    )
)


def note_if_fenced(group_id: str, member_id: str, error: KafkaError, out: GroupEffects) -> None:
    """Tell of a member that is refused because it is not, or no longer, who it believes to be. The shell bounds how
    often that is told of one member."""
    if error.code in _FENCING:
        message = error.message or error.code.default_message
        detail: Detail = {"member_id": member_id, "error": error.code.name}
        out.notes.append(Note(NoteKind.MEMBER_FENCED, group_id, f"{member_id}: {error.code.name}: {message}", detail))


def silent_for_ms(timers: Timers[Any], timeout_ms: int, now: Now) -> int:
    """How long ago the member was heard last whose session timer has just come due."""
    return round(now.monotonic_ms - timers.popped_deadline_ms + timeout_ms)


def lapsed(timeout_ms: int, silent_ms: int) -> str:
    """Of a session."""
    return f"no heartbeat within its session timeout of {timeout_ms} ms: the last one was {silent_ms} ms ago"
