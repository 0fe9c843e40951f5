"""What the clients of a drill saw: silences of partitions, latencies, the account of their records. Pure.

A partition is silent while at least one record waits for it and none is acknowledged. So a pause of the producer is no
silence, and an outage counts from the first record that it kept waiting (or the last acknowledgement, if records waited
then already) to the next acknowledgement.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from engine.supervisor.ledger import Account

# Shorter ones are those of any two acknowledgements.
SHOWN_SILENCE_NS = 100_000_000


class Sent(NamedTuple):
    """One record. ``resolved_ns`` is when its producer was told what became of it; 0 while it waits."""

    partition: int
    sent_ns: int
    resolved_ns: int = 0
    acknowledged: bool = False


class Silence(NamedTuple):
    """``ended`` is false if the partition was still silent when the load ended."""

    partition: int
    from_ns: int
    to_ns: int
    ended: bool

    @property
    def ms(self) -> float:
        """Its length."""
        return (self.to_ns - self.from_ns) / 1e6


def silences(records: Iterable[Sent], end_ns: int) -> list[Silence]:
    """All of them, however short, by partition and time; ``end_ns`` is when the load ended."""
    by_partition: dict[int, list[Sent]] = {}
    for record in records:
        by_partition.setdefault(record.partition, []).append(record)
    return [
        silence
        for partition, own in sorted(by_partition.items())
        for silence in _silences_of(partition, own, end_ns)
        if silence.to_ns > silence.from_ns
    ]


def _silences_of(partition: int, records: list[Sent], end_ns: int) -> Iterable[Silence]:
    # A record that failed waited as long as one that was acknowledged, and one that waits still, to the end.
    by_end = sorted((record.resolved_ns or end_ns, record.sent_ns) for record in records)
    ends = [end for end, _ in by_end]
    # The earliest of those that were sent, among all that wait at a time or come later.
    first_sent = [0] * len(by_end)
    earliest = by_end[-1][1]
    for at in range(len(by_end) - 1, -1, -1):
        earliest = first_sent[at] = min(earliest, by_end[at][1])
    last_ns = 0
    for ack_ns in sorted(record.resolved_ns for record in records if record.acknowledged):
        at = bisect_right(ends, last_ns)
        if at < len(ends):
            yield Silence(partition, max(last_ns, first_sent[at]), ack_ns, True)
        last_ns = ack_ns
    at = bisect_right(ends, last_ns)
    if at < len(ends):
        yield Silence(partition, max(last_ns, first_sent[at]), end_ns, False)


def percentile_ms(records: Iterable[Sent], percent: float) -> float | None:
    """Of the time to the acknowledgement; ``None`` if none was acknowledged."""
    taken = sorted(record.resolved_ns - record.sent_ns for record in records if record.acknowledged)
    if not taken:
        return None
    return taken[min(len(taken) - 1, int(len(taken) * percent / 100))] / 1e6


def acknowledged_per_bucket(records: Iterable[Sent], from_ns: int, to_ns: int, bucket_ns: int) -> list[int]:
    """How many records were acknowledged in each stretch of ``bucket_ns``."""
    counts = [0] * max(1, -(-(to_ns - from_ns) // bucket_ns))
    for record in records:
        if record.acknowledged and from_ns <= record.resolved_ns < to_ns:
            counts[(record.resolved_ns - from_ns) // bucket_ns] += 1
    return counts


def together(accounts: Sequence[Account], lost_shown: int = 20) -> Account:
    """The accounts of several producers, each of which numbers its own records, as one."""
    return Account(
        sum(each.sent for each in accounts),
        sum(each.acknowledged for each in accounts),
        sum(each.lost for each in accounts),
        sum(each.duplicated for each in accounts),
        sum(each.reordered for each in accounts),
        sum(each.unacknowledged for each in accounts),
        tuple(lost for each in accounts for lost in each.lost_offsets)[:lost_shown],
    )
