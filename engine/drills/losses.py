"""Which election lost which acknowledged record. Pure.

What stands in a log after everything was read back tells where each leader's epoch begins. A record that was
acknowledged and is gone was overwritten, or cut off, by the first leader that was elected after its acknowledgement and
began to write at its offset or before: a leader from the ISR that did not have it (the producer had asked for acks=1 or
0), or one from outside of the ISR (an unclean election), which may lose what acks=all acknowledged as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple


class Loss(NamedTuple):
    """A record that was acknowledged and is not there; ``offset`` is -1 where its acknowledgement named none."""

    partition: int
    offset: int
    acknowledged_ns: int


class Election(NamedTuple):
    """A partition's leader is another one from then on."""

    partition: int
    at_ns: int
    leader_epoch: int
    leader: int
    unclean: bool


class Lost(NamedTuple):
    """Numbers of records, by what lost them; ``unexplained`` were lost without any election."""

    unclean: int = 0
    clean: int = 0
    unexplained: int = 0

    @property
    def words(self) -> str:
        """For people."""
        parts = [
            (self.unclean, "at unclean elections"),
            (self.clean, "at elections from the ISR"),
            (self.unexplained, "without an election"),
        ]
        return ", ".join(f"{number:,} {where}" for number, where in parts if number)


def attribute(
    losses: Iterable[Loss], elections: Iterable[Election], epoch_starts: Mapping[tuple[int, int], int]
) -> Lost:
    """What lost each.

    Args:
        epoch_starts: by partition and leader epoch, the first offset of it that was read back.
    """
    by_partition: dict[int, list[Election]] = {}
    for election in sorted(elections, key=lambda each: each.at_ns):
        if election.leader >= 0:
            by_partition.setdefault(election.partition, []).append(election)
    counts = [0, 0, 0]
    for loss in losses:
        found = _culprit(loss, by_partition.get(loss.partition, ()), epoch_starts)
        counts[2 if found is None else 0 if found.unclean else 1] += 1
    return Lost(*counts)


def _culprit(loss: Loss, elections: Sequence[Election], epoch_starts: Mapping[tuple[int, int], int]) -> Election | None:
    later = [each for each in elections if each.at_ns > loss.acknowledged_ns]
    for each in later:
        start = epoch_starts.get((each.partition, each.leader_epoch))
        if start is not None and loss.offset >= 0 and start <= loss.offset:
            return each
    # Nobody wrote there since: whoever was elected from outside of the ISR, else the first, had less.
    return next((each for each in later if each.unclean), later[0] if later else None)
