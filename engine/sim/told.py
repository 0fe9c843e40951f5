"""What clients were told that must not be told twice: partitions of a generation, past generations, producer ids."""

from __future__ import annotations

from collections.abc import Iterable

from engine.sim.violation import Violation

Partition = tuple[str, int]


class Told:
    """One for a run: every client tells it what brokers said. The first :attr:`violation` is for the run to raise."""

    def __init__(self) -> None:
        self._owner: dict[tuple[str, int, Partition], str] = {}
        self._generation: dict[str, int] = {}
        self._producer_ids: dict[int, str] = {}
        # Since when all is well, and every request must be answered; None: it is not.
        self.whole_since_s: float | None = None
        self.violation: Violation | None = None

    def _broken(self, promise: str, what: str) -> None:
        self.violation = self.violation or Violation(promise, what)

    def newest_generation(self, group_id: str) -> int:
        """Of which anybody has an assignment; -1 before.

        What JoinGroup tells of is not written down yet: a coordinator that takes over may know the generation before.
        """
        return self._generation.get(group_id, -1)

    def on_assigned(self, group_id: str, generation_id: int, owner: str, partitions: Iterable[Partition]) -> None:
        """SyncGroup was answered (G1). ``owner``: the member id, or of a static member the instance id."""
        self._generation[group_id] = max(self._generation.get(group_id, -1), generation_id)
        for each in partitions:
            known = self._owner.setdefault((group_id, generation_id, each), owner)
            if known != owner:
                self._broken("G1", f"{group_id} generation {generation_id}: {each} belongs to {known} and to {owner}")

    def on_committed(self, group_id: str, generation_id: int, newest_when_asked: int) -> None:
        """OffsetCommit of a member was taken (G2). ``newest_when_asked``: the newest generation when it was sent."""
        if generation_id < newest_when_asked:
            self._broken(
                "G2",
                f"{group_id}: a commit of generation {generation_id} was taken; it was sent in {newest_when_asked}",
            )

    def on_unanswered(self, what: str, asked_s: float) -> None:
        """A request was not answered in its time (V2)."""
        if self.whole_since_s is not None and asked_s >= self.whole_since_s:
            self._broken("V2", f"{what}, asked at {asked_s:.3f} s, was not answered")

    def on_producer_id(self, producer_id: int, client: str) -> None:
        """InitProducerId without transactional id was answered (T8)."""
        known = self._producer_ids.get(producer_id)
        if known is not None:
            self._broken("T8", f"the producer id {producer_id} was given to {known} and to {client}")
        self._producer_ids[producer_id] = client
