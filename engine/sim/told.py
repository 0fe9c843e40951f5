"""What clients were told that must not be told twice: partitions of groups, past generations, producer ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from engine.sim.violation import Violation

Partition = tuple[str, int]


class Owners:
    """Whose partitions of consumer groups (KIP-848) are, as members were told and believe.

    A member gives up a partition where it reads that it is taken away, so at the moment that another one is told to
    have it, nobody owns it but members that were fenced, and those the coordinator must refuse from then on.
    """

    def __init__(self, broken: Callable[[str, str], None]) -> None:
        self._broken = broken
        # Who was given a partition last, and when.
        self._owner: dict[tuple[str, Partition], tuple[str, float]] = {}
        self._owned: dict[tuple[str, str], frozenset[Partition]] = {}
        # Members whose partition was given to another one: what, to whom, and when.
        self._fenced: dict[tuple[str, str], tuple[Partition, str, float]] = {}

    def on_given(self, group_id: str, member_id: str, partitions: Iterable[Partition], now_s: float) -> None:
        """A member was told its assignment; what is not in it it has given up."""
        before = self._owned.get((group_id, member_id), frozenset())
        after = self._owned[group_id, member_id] = frozenset(partitions)
        for each in sorted(after - before):
            owner, _ = self._owner.get((group_id, each), (member_id, 0.0))
            if owner != member_id and each in self._owned.get((group_id, owner), ()):
                self._fenced.setdefault((group_id, owner), (each, member_id, now_s))
            self._owner[group_id, each] = (member_id, now_s)

    def on_gone(self, group_id: str, member_id: str) -> None:
        """A member was fenced, leaves or begins anew: it believes to own nothing."""
        self._owned.pop((group_id, member_id), None)
        self._fenced.pop((group_id, member_id), None)

    def on_heartbeat(self, group_id: str, member_id: str, sent_epoch: int, told_epoch: int, asked_at_s: float) -> None:
        """A heartbeat was answered well (G1, G5)."""
        if told_epoch < sent_epoch:
            self._broken("G5", f"{group_id}: the epoch of {member_id} went from {sent_epoch} back to {told_epoch}")
        each, other, given_at_s = self._fenced.get((group_id, member_id), (None, "", 0.0))
        if each is not None and given_at_s < asked_at_s:
            self._broken("G1", f"{group_id}: {each} belongs to {member_id} and to {other}")

    def on_committed(self, group_id: str, member_id: str, partitions: Iterable[Partition], asked_at_s: float) -> None:
        """A commit was taken (G2)."""
        for each in partitions:
            owner, given_at_s = self._owner.get((group_id, each), (member_id, 0.0))
            if owner != member_id and given_at_s < asked_at_s:
                self._broken("G2", f"{group_id}: a commit of {member_id} was taken after {each} was given to {owner}")


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
        self.owners = Owners(self._broken)

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
