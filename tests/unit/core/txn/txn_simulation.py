"""Producers of one transactional id that do not know of each other, copies of old requests, lost answers, coordinators
that take over: what must hold after every step. The harness adds the law of the log."""

from __future__ import annotations

import random

from engine.core.txn.metadata import LAST_CLIENT_EPOCH
from engine.core.txn.records import MarkersToWrite
from engine.core.txn.states import COMPLETED, PREPARED, TransactionState
from engine.model.errors import ErrorCode
from engine.model.topic_partition import TopicPartition
from tests.unit.core.txn.txn_harness import ID, TxnHarness

PARTITIONS = [TopicPartition("orders", number) for number in range(3)]
STEPS = 120


class Simulation:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        # Clients of version 2 only: with version 0 a late copy ends the wrong transaction, as KAFKA-17754 has it.
        self.harness = TxnHarness(transaction_version=2)
        # What clients believe to be: (producer id, epoch), the oldest first.
        self.producers: list[tuple[int, int]] = []
        self.initialized: set[tuple[int, int]] = set()
        # Told to a client: the producer id and epoch of a transaction → whether it was committed.
        self.told: dict[tuple[int, int], bool] = {}
        # Written by leaders: the same, by the epoch of the marker.
        self.outcome: dict[tuple[int, int], bool] = {}
        self.added: dict[tuple[int, int], set[TopicPartition]] = {}
        self.marked: dict[tuple[int, int], set[TopicPartition]] = {}
        self.undelivered: list[MarkersToWrite] = []
        self.seen = 0

    def somebody(self) -> tuple[int, int]:
        """Mostly the last one who came, at times a zombie."""
        return self.producers[-1] if self.random.random() < 0.7 else self.random.choice(self.producers)

    def step(self) -> None:
        draw, harness = self.random.random(), self.harness
        if draw < 0.08 or not self.producers:
            answer = harness.init()
            if not answer.error_code:
                producer = (answer.producer_id, answer.producer_epoch)
                assert producer not in self.initialized, "T8: an epoch was given to two producers"
                self.initialized.add(producer)
                self.producers.append(producer)
        elif draw < 0.13:
            producer_id, epoch = self.somebody()
            answer = harness.init(producer_id=producer_id, epoch=epoch)
            if not answer.error_code:
                self.producers.append((answer.producer_id, answer.producer_epoch))
        elif draw < 0.45:
            producer = self.somebody()
            partition = self.random.choice(PARTITIONS)
            if harness.add(*producer, partition) is ErrorCode.NONE:
                assert producer not in self.told, "T6: a transaction that was ended goes on"
                self.added.setdefault(producer, set()).add(partition)
        elif draw < 0.65:
            producer, committed = self.somebody(), self.random.random() < 0.6
            result = harness.end(*producer, committed)
            if result.error is ErrorCode.NONE:
                before = self.told.setdefault(producer, committed)
                assert before == committed, "T4: a client was told of both ends"
                if self.random.random() < 0.8:
                    self.producers.append((result.producer_id, result.producer_epoch))
        elif draw < 0.9:
            self.deliver()
        elif draw < 0.95:
            harness.advance(self.random.randrange(30_000))
        elif draw < 0.97:
            # The epochs of a producer are nearly used up.
            metadata = harness.shard.transactions.get(ID)
            if metadata is not None and metadata.state in COMPLETED and metadata.producer_epoch < 1000:
                after = metadata._replace(producer_epoch=LAST_CLIENT_EPOCH - 2)
                harness.put(after)
                self.producers.append((after.producer_id, after.producer_epoch))
        else:
            if self.random.random() < 0.5:
                # What the one before had still to send died with it.
                self.undelivered.clear()
            harness.fail_over()
        self.collect()

    def collect(self) -> None:
        new = self.harness.sent[self.seen :]
        self.seen = len(self.harness.sent)
        self.undelivered += [each for each in new if isinstance(each, MarkersToWrite)]

    def deliver(self) -> None:
        """A leader writes a marker, or all do; some answers are lost, some markers arrive twice."""
        if not self.undelivered:
            return
        markers = self.random.choice(self.undelivered)
        chosen = [each for each in markers.partitions if self.random.random() < 0.7]
        transaction = (markers.producer_id, markers.producer_epoch)
        before = self.outcome.setdefault(transaction, markers.committed)
        assert before == markers.committed, "T4: markers of both kinds"
        self.marked.setdefault(transaction, set()).update(chosen)
        if self.random.random() < 0.8 and (chosen or not markers.partitions):
            decided = self.harness.metadata
            self.harness.write_markers(*chosen, of=markers)
            if decided.state in PREPARED and self.harness.state in COMPLETED:
                written = self.marked.get((decided.producer_id, decided.producer_epoch), set())
                assert written >= decided.partitions, "T4: complete before all of its markers are written"

    def come_to_rest(self) -> None:
        for _ in range(10):
            self.harness.advance(100_000)
            self.collect()
            for markers in self.undelivered:
                transaction = (markers.producer_id, markers.producer_epoch)
                assert self.outcome.setdefault(transaction, markers.committed) == markers.committed
                self.marked.setdefault(transaction, set()).update(markers.partitions)
                self.harness.write_markers(of=markers)
            self.undelivered.clear()
        state = self.harness.state
        assert state is TransactionState.EMPTY or state in COMPLETED, f"T7: {state} for ever"
        assert state not in PREPARED
        for (producer_id, epoch), committed in self.told.items():
            marker = (producer_id, epoch + 1)
            assert self.outcome.get(marker) is committed, "T4: another end than the client was told"
            assert self.marked.get(marker, set()) >= self.added.get((producer_id, epoch), set()), "T4: a part is open"


def simulate(seed: int) -> None:
    """One run from its seed to rest. Raises ``AssertionError`` that names the promise."""
    simulation = Simulation(seed)
    for _ in range(STEPS):
        simulation.step()
    if ID in simulation.harness.shard.transactions:
        simulation.come_to_rest()
