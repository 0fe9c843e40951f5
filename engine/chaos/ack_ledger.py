"""What was acknowledged with acks=all, and whether it is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_EXAMPLES = 3


@dataclass(slots=True)
class AckLedger:
    """The records that were acknowledged with acks=all: partition -> value -> offset (-1: the answer had none)."""

    acks: dict[str, dict[str, int]] = field(default_factory=dict)

    def acknowledged(self, partition: str, value: str, offset: int) -> None:
        """One more."""
        self.acks.setdefault(partition, {})[value] = offset

    def so_far(self) -> dict[str, dict[str, int]]:
        """What was acknowledged until now; more may follow meanwhile."""
        return {partition: dict(acks) for partition, acks in list(self.acks.items())}


@dataclass(frozen=True, slots=True)
class Found:
    """What became of ``checked`` records; ``lost`` names those that are not where they were acknowledged to be."""

    checked: int
    lost: tuple[str, ...]

    def __str__(self) -> str:
        if not self.lost:
            return f"{self.checked:,} acknowledged records read back, 0 lost"
        examples = ", ".join(self.lost[:_EXAMPLES])
        return f"{self.checked:,} acknowledged records read back, {len(self.lost):,} LOST: {examples}"


def compare(acknowledged: Mapping[str, Mapping[str, int]], there: Mapping[str, Mapping[int, str]]) -> Found:
    """``there``: partition -> offset -> value."""
    lost: list[str] = []
    for partition, acks in sorted(acknowledged.items()):
        found = there.get(partition, {})
        values = set(found.values())
        for value, offset in acks.items():
            if value not in values if offset < 0 else found.get(offset) != value:
                lost.append(f"{value} at {partition} {offset}")
    return Found(sum(map(len, acknowledged.values())), tuple(lost))
