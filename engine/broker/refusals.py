"""What clients are refused, as facts for people: why, with the numbers behind it.

Of each kind the first of a second is told, with how many came before that were not: a client that floods the broker
costs a look into a dictionary.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import TYPE_CHECKING

from engine.model.errors import ErrorCode
from engine.model.ids import Uuid
from engine.model.notes import Detail, Note, NoteKind

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.broker.replica import Replica
    from engine.world import Clock

Publish = Callable[[Iterable[Note]], None]

_INTERVAL_MS = 1_000
_MAX_KINDS = 1_000
_TOO_FEW = (ErrorCode.NOT_ENOUGH_REPLICAS, ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND)
_ELSEWHERE = (ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.FENCED_LEADER_EPOCH)


class Seldom:
    """Says of each thing once a second that it may be told."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # When it was told, how many since.
        self._told: dict[Hashable, tuple[float, int]] = {}

    def untold(self, key: Hashable) -> int | None:
        """``None``: not now. Otherwise how many of the kind were not told since the last one that was."""
        now_ms = self._clock.monotonic_ms()
        told_at_ms, untold = self._told.get(key, (float("-inf"), 0))
        if now_ms - told_at_ms < _INTERVAL_MS:
            self._told[key] = (told_at_ms, untold + 1)
            return None
        if len(self._told) >= _MAX_KINDS:
            self._told.clear()
        self._told[key] = (now_ms, 0)
        return untold


class Refusals:
    """Tells of refused appends and of clients over their quotas."""

    def __init__(self, clock: Clock, publish: Publish) -> None:
        self._seldom = Seldom(clock)
        self._publish = publish

    def note(
        self,
        context: RequestContext,
        topic_id: Uuid | None,
        partition: int,
        code: ErrorCode,
        message: str | None,
        topic_name: str = "",
    ) -> None:
        """An append was refused. ``topic_name`` is what the client called it, where it did."""
        untold = self._seldom.untold((topic_id or topic_name, partition, code))
        if untold is None:
            return
        image = context.broker.metadata.image
        topic = image.topics_by_id.get(topic_id) if topic_id is not None else None
        name = topic.name if topic is not None else topic_name
        subject = f"{name}-{partition}" if name else "unknown topic"
        reason = message or code.default_message
        detail: Detail = {"error": code.name, "client_id": context.client_id, "refused_before": untold}
        if topic is not None:
            replica = context.broker.replicas.get(topic.name, partition)
            state = topic.partitions.get(partition)
            if code in _TOO_FEW and replica is not None:
                reason, more = _too_few(replica, code)
                detail |= more
            elif code in _ELSEWHERE and state is not None:
                reason = f"its leader is broker {state.leader}, in epoch {state.leader_epoch}"
                detail |= {"leader": state.leader, "leader_epoch": state.leader_epoch}
        elif code in (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.UNKNOWN_TOPIC_ID):
            reason = f"{reason.rstrip('.')}; this broker knows {len(image.topics_by_id)} topics"
        self._publish([Note(NoteKind.PRODUCE_REFUSED, subject, f"{code.name}: {reason}", detail)])

    def timed_out(self, context: RequestContext, replica: Replica, timeout_ms: int) -> None:
        """An append is in the log, and was not committed within the time that its producer gave it."""
        untold = self._seldom.untold((replica.topic_id, replica.topic_partition.partition, ErrorCode.REQUEST_TIMED_OUT))
        if untold is None:
            return
        partition = replica.partition
        reason = (
            f"REQUEST_TIMED_OUT: appended, and not committed within timeout.ms={timeout_ms}: log end "
            f"{replica.log.log_end_offset}, high watermark {partition.high_watermark}, ISR {sorted(partition.isr)}"
        )
        detail: Detail = {
            "error": ErrorCode.REQUEST_TIMED_OUT.name,
            "client_id": context.client_id,
            "refused_before": untold,
            "timeout_ms": timeout_ms,
            "log_end_offset": replica.log.log_end_offset,
            "high_watermark": partition.high_watermark,
            "isr": sorted(partition.isr),
        }
        self._publish([Note(NoteKind.PRODUCE_REFUSED, str(replica.topic_partition), reason, detail)])

    def throttled(self, context: RequestContext, api: str, throttle_ms: int) -> None:
        """A client is over its quota: it is not heard for so long (KIP-219)."""
        untold = self._seldom.untold((context.client_id, api))
        if untold is None:
            return
        client = context.client_id or ""
        quota = context.broker.client_throttle.told_quota(api, client)
        reason = f"{api} is over its quota{f' of {quota}' if quota else ''}: not heard for {throttle_ms} ms"
        detail: Detail = {"api": api, "throttle_ms": throttle_ms, "throttled_before": untold}
        self._publish([Note(NoteKind.CLIENT_THROTTLED, f"client {client or '(no client.id)'}", reason, detail)])


def _too_few(replica: Replica, code: ErrorCode) -> tuple[str, Detail]:
    partition = replica.partition
    isr, minimum = sorted(partition.isr), partition.effective_min_isr
    after = ", after it was appended" if code is ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND else ""
    out = sorted(set(partition.replicas) - set(isr))
    missing = f"; {', '.join(map(str, out))} {'is' if len(out) == 1 else 'are'} not in sync" if out else ""
    reason = f"the ISR {isr} is below min.insync.replicas={minimum}{after}{missing}"
    return reason, {"isr": isr, "min_insync_replicas": minimum, "not_in_sync": out}


def tells_seldom(clock: Clock, publish: Publish) -> Publish:
    """``publish``, which tells of each member of a group that is refused once a second at most."""
    seldom = Seldom(clock)

    def tell(notes: Iterable[Note]) -> None:
        publish([note for note in notes if note.kind is not NoteKind.MEMBER_FENCED or _first(note)])

    def _first(note: Note) -> bool:
        return seldom.untold((note.subject, note.detail.get("member_id"), note.detail.get("error"))) is not None

    return tell
