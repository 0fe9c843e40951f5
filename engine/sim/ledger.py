"""What clients were told and what they read, held against each other: nothing acknowledged is lost or doubled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.sim.invariants import Violation
from engine.sim.producer import Outcome, Sent

if TYPE_CHECKING:
    from engine.sim.consumer import Polled
    from engine.sim.invariants import Invariants

Partition = tuple[str, int]


class _Send:
    __slots__ = ("idempotent", "outcome", "producer", "safe")

    def __init__(self, producer: str, safe: bool, idempotent: bool) -> None:
        self.producer = producer
        self.safe = safe
        self.idempotent = idempotent
        self.outcome: Sent | None = None


class RecordLedger:
    """``safe`` sends are those with acks=all."""

    def __init__(self, invariants: Invariants) -> None:
        self._invariants = invariants
        self._sends: dict[Partition, dict[bytes, _Send]] = {}
        # What was ever read where, by anybody.
        self._at: dict[Partition, dict[int, bytes]] = {}
        self._final: dict[Partition, list[Polled]] = {}
        # Groups: the last commit that was answered with success, and the offsets of those that were not answered.
        self._committed: dict[tuple[str, Partition], int] = {}
        self._maybe_committed: dict[tuple[str, Partition], list[int]] = {}

    # -- sends --------------------------------------------------------------------------------------------------

    def on_send(self, each: Partition, values: list[bytes], producer: str, *, safe: bool, idempotent: bool) -> None:
        """A batch is about to be sent."""
        sends = self._sends.setdefault(each, {})
        for value in values:
            sends[value] = _Send(producer, safe, idempotent)

    def on_sent(self, each: Partition, values: list[bytes], sent: Sent) -> None:
        """What its producer was told. Raises: Violation."""
        sends = self._sends[each]
        for value in values:
            sends[value].outcome = sent
        if sent.outcome is not Outcome.OK or not sends[values[0]].safe:
            return
        end = sent.base_offset + len(values)
        known = self._invariants.acknowledged_end
        known[each] = max(known.get(each, 0), end)
        for at, value in enumerate(values):
            self._note(each, sent.base_offset + at, value, "acknowledged")

    def _note(self, each: Partition, offset: int, value: bytes, how: str) -> None:
        known = self._at.setdefault(each, {}).setdefault(offset, value)
        if known != value:
            raise Violation("R5", f"{each} offset {offset}: {value!r} was {how} there, and {known!r} before")

    # -- reads --------------------------------------------------------------------------------------------------

    def on_polled(self, each: Polled) -> None:
        """A consumer read a record. Raises: Violation: another one was seen there."""
        partition = (each.topic, each.partition)
        sends = self._sends.get(partition, {})
        if each.value not in sends:
            raise Violation("R9", f"{partition} offset {each.offset}: {each.value!r} was never sent")
        if sends[each.value].safe or not self._has_unsafe(partition):
            self._note(partition, each.offset, each.value, "read")

    def _has_unsafe(self, each: Partition) -> bool:
        return any(not send.safe for send in self._sends.get(each, {}).values())

    def on_final_read(self, each: Partition, records: list[Polled]) -> None:
        """Everything that a partition holds at the end."""
        self._final[each] = records

    # -- groups -------------------------------------------------------------------------------------------------

    def on_commit(self, group_id: str, offsets: dict[Partition, int], known: bool) -> None:
        """A commit was answered with success (``known``), or not answered."""
        for each, offset in offsets.items():
            if known:
                self._committed[group_id, each] = offset
                self._maybe_committed.pop((group_id, each), None)
            else:
                self._maybe_committed.setdefault((group_id, each), []).append(offset)

    def on_committed(self, group_id: str, offsets: dict[Partition, int]) -> None:
        """What the coordinator says was committed. Raises: Violation: it went back."""
        for each, offset in offsets.items():
            told = self._committed.get((group_id, each))
            if told is not None and offset < told and offset not in self._maybe_committed.get((group_id, each), ()):
                raise Violation("G3", f"group {group_id} {each}: committed {told}, and the coordinator says {offset}")

    # -- the end ------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raises: Violation."""
        for each, sends in self._sends.items():
            final = self._final.get(each)
            if final is None:
                raise Violation("V1", f"{each} could not be read at the end")
            self._check_partition(each, sends, final)

    def _check_partition(self, each: Partition, sends: dict[bytes, _Send], final: list[Polled]) -> None:
        places: dict[bytes, list[int]] = {}
        for record in final:
            places.setdefault(record.value, []).append(record.offset)
        for value, send in sends.items():
            found = places.get(value, [])
            outcome = send.outcome
            if outcome is None:
                continue
            if outcome.outcome is Outcome.OK and send.safe and not found:
                raise Violation("R9", f"{each}: {value!r} was acknowledged at offset {outcome.base_offset} and is lost")
            if outcome.outcome is Outcome.FAIL and found:
                raise Violation("T2", f"{each}: {value!r} was refused ({outcome.error}) and is there, at {found}")
            if send.idempotent and len(found) > 1:
                raise Violation(
                    "T1", f"{each}: {value!r} of an idempotent producer is there {len(found)} times: {found}"
                )
        self._check_order(each, sends, final)

    def _check_order(self, each: Partition, sends: dict[bytes, _Send], final: list[Polled]) -> None:
        """Records of one idempotent producer stand in the order in which it sent them."""
        last: dict[str, tuple[int, bytes]] = {}
        numbers = {value: at for at, value in enumerate(sends)}
        for record in final:
            send = sends.get(record.value)
            if send is None:
                raise Violation("R9", f"{each} offset {record.offset}: {record.value!r} was never sent")
            if not send.idempotent:
                continue
            number = numbers[record.value]
            before = last.get(send.producer)
            if before is not None and number < before[0]:
                raise Violation("T1", f"{each}: {record.value!r} stands behind {before[1]!r}, which was sent later")
            last[send.producer] = (number, record.value)

    @property
    def acknowledged(self) -> int:
        """Records acknowledged with acks=all."""
        return sum(
            send.safe and send.outcome is not None and send.outcome.outcome is Outcome.OK
            for sends in self._sends.values()
            for send in sends.values()
        )
