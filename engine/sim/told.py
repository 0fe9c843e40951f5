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
        # Whose an epoch of a producer is, and the newest one that each transactional id was initialized with.
        self._epochs: dict[tuple[int, int], str] = {}
        self._newest_epoch: dict[str, tuple[int, int]] = {}
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

    def newest_epoch(self, transactional_id: str) -> tuple[int, int] | None:
        """Producer id and epoch with which a producer of the id began last."""
        return self._newest_epoch.get(transactional_id)

    def on_transactional_id(
        self, transactional_id: str, producer_id: int, producer_epoch: int, client: str, *, is_new: bool
    ) -> None:
        """A producer was told what to go on as (T8). ``is_new``: by InitProducerId, which fences all before it."""
        known = self._producer_ids.setdefault(producer_id, transactional_id)
        if known != transactional_id:
            self._broken("T8", f"the producer id {producer_id} was given to {known} and to {transactional_id}")
        owner = self._epochs.setdefault((producer_id, producer_epoch), client)
        if owner != client:
            self._broken("T8", f"epoch {producer_epoch} of producer {producer_id} was given to {owner} and to {client}")
        if is_new:
            newest = self._newest_epoch.get(transactional_id, (-1, -1))
            # An answer that was long on its way is of the past.
            if newest[0] != producer_id or newest[1] < producer_epoch:
                self._newest_epoch[transactional_id] = (producer_id, producer_epoch)

    def on_transactional(
        self,
        what: str,
        transactional_id: str,
        producer_id: int,
        producer_epoch: int,
        newest_when_asked: tuple[int, int] | None,
    ) -> None:
        """Something of a producer's transaction was taken (T3). ``newest_when_asked``: who had been initialized when it
        was sent."""
        if newest_when_asked is not None and (
            newest_when_asked[0] == producer_id and producer_epoch < newest_when_asked[1]
        ):
            self._broken(
                "T3",
                f"{what} of epoch {producer_epoch} of {transactional_id} was taken, which was sent when epoch "
                f"{newest_when_asked[1]} had been given out",
            )
