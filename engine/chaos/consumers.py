"""Consumers (librdkafka): readers that are assigned partitions and seek about, members of groups that commit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from engine.chaos.clients import ClientThread, Shared
from engine.sim.history import Isolation, Record
from engine.sim.history_recorder import ClientRecorder, PendingCommit, PendingPoll

_BATCH = 200
_WAIT_S = 0.2
_COOPERATIVE = "cooperative-sticky"
_OUT_OF_RANGE = "Offset out of range"
# How far a reader goes back or forward.
_SEEK_RECORDS = 2000


def _name(each: TopicPartition | Message) -> str:
    # A message has methods where an offset has attributes.
    if isinstance(each, TopicPartition):
        return f"{each.topic}-{each.partition}"
    return f"{each.topic()}-{each.partition()}"


def records_of(messages: Sequence[Message]) -> list[Record]:
    """What was received, without the padding. Raises: Astray; other errors pass by themselves."""
    records: list[Record] = []
    for message in messages:
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._AUTO_OFFSET_RESET:
                raise Astray(f"{_name(message)}: {error.str()}", records)
            continue
        value, offset = message.value(), message.offset()
        assert value is not None and offset is not None, "a record has a value and an offset"
        records.append((_name(message), offset, value.decode().rstrip(" ")))
    return records


class Astray(Exception):
    """The client does not know any more where to read on, and was told not to guess.

    librdkafka falls into this by itself while it asks a leader of the past, one that is cut off, where an epoch ends
    that this one has never heard of. That is no loss; an offset out of range is.
    """

    def __init__(self, why: str, records: list[Record]) -> None:
        super().__init__(why)
        self.records = records
        """What came before."""


def _note_astray(client: ClientThread, why: Astray, may_lose: bool) -> None:
    client.count("consumer astray")
    client.shared.logger.info("%s is astray: %s", client.name, why)
    if _OUT_OF_RANGE in str(why) and not may_lose:
        client.shared.suspicious.append(f"{client.name} was told that what it had read is not there: {why}")


class Reader(ClientThread):
    """Reads all partitions of a topic by assignment; now and then it goes on elsewhere, or begins anew."""

    def __init__(
        self,
        shared: Shared,
        name: str,
        topic: str,
        partitions: int,
        seed: int,
        *,
        isolation: Isolation,
        may_lose: bool,
    ) -> None:
        """``may_lose``: the topic's records may be gone when they are read again."""
        super().__init__(shared, name, seed)
        self._topic = topic
        self._may_lose = may_lose
        self._partitions = partitions
        self._isolation: Isolation = isolation
        self._positions = dict.fromkeys(range(partitions), 0)

    def work(self) -> None:
        while not self.is_stopping:
            self.record.start()
            consumer = Consumer(
                self.shared.settings(
                    self.name,
                    group_id=f"unused-{self.name}",
                    enable_auto_commit=False,
                    auto_offset_reset="error",
                    isolation_level=self._isolation,
                    fetch_wait_max_ms=100,
                )
            )
            back = self.rng.choice((0, 0, 100, _SEEK_RECORDS))
            self._positions = {number: max(0, offset - back) for number, offset in self._positions.items()}
            self._assign(consumer)
            for _ in range(self.rng.randrange(100, 1000)):
                if self.is_stopping:
                    break
                self._poll(consumer)
                if self.rng.random() < 0.02:
                    self._move(consumer)
            self.record.crash()
            consumer.close()

    def _assign(self, consumer: Consumer) -> None:
        """Read on from the present positions. Seeks are assignments: librdkafka's seek may wait for ever."""
        positions = self._positions
        consumer.assign([TopicPartition(self._topic, number, offset) for number, offset in positions.items()])
        self.record.assign({f"{self._topic}-{number}": offset for number, offset in positions.items()})
        self.count("assign")

    def _poll(self, consumer: Consumer) -> None:
        pending = self.record.poll(isolation=self._isolation)
        try:
            messages = consumer.consume(_BATCH, _WAIT_S)
        except KafkaException as error:
            pending.info(str(error))
            self.count("poll info")
            return
        why: Astray | None = None
        try:
            records = records_of(messages)
        except Astray as astray:
            why, records = astray, astray.records
        pending.ok(records)
        self.count("poll ok")
        for name, offset, _ in records:
            self._positions[int(name.rpartition("-")[2])] = offset + 1
        if why is not None:
            _note_astray(self, why, self._may_lose)
            if self._may_lose:
                self._positions = dict.fromkeys(self._positions, 0)
            self._assign(consumer)

    def _move(self, consumer: Consumer) -> None:
        """Go on elsewhere in one partition."""
        number = self.rng.randrange(self._partitions)
        position = self._positions[number]
        if self.rng.random() < 0.7:
            self._positions[number] = max(0, position - self.rng.randrange(_SEEK_RECORDS))
        else:
            # Up to the end as far as it is known: there is nothing to be read beyond it.
            _, end = consumer.get_watermark_offsets(TopicPartition(self._topic, number), cached=True)
            self._positions[number] = max(position, min(end, position + self.rng.randrange(_SEEK_RECORDS)))
        self._assign(consumer)
        self.count("seek")


class GroupMember(ClientThread):
    """A member of a group: reads, commits what it read, leaves or vanishes now and then."""

    def __init__(self, shared: Shared, name: str, group: str, topic: str, strategy: str, seed: int) -> None:
        super().__init__(shared, name, seed)
        self._group = group
        self._topic = topic
        self._strategy = strategy
        self._progress: dict[tuple[str, int], int] = {}
        self._commits: list[tuple[dict[str, int], PendingCommit]] = []
        self._poll: PendingPoll | None = None
        self._received: list[Record] = []

    def work(self) -> None:
        while not self.is_stopping:
            self.record.start()
            consumer = self._join()
            for _ in range(self.rng.randrange(20, 400)):
                if self.is_stopping:
                    break
                try:
                    self._turn(consumer)
                except Astray as why:
                    _note_astray(self, why, may_lose=False)
                    break
            if self.rng.random() < 0.7 or self.is_stopping:
                consumer.close()
                self.record.crash()
                self.count("member left")
            else:
                # Without close() nobody tells the coordinator: it has to find out by itself.
                self.record.crash()
                del consumer
                self.count("member vanished")
            self._progress.clear()
            self._commits.clear()
            self.pause(self.rng.uniform(0, 3))

    def _join(self) -> Consumer:
        settings = self.shared.settings(
            self.name,
            group_id=self._group,
            partition_assignment_strategy=self._strategy,
            enable_auto_commit=False,
            auto_offset_reset="error",
            isolation_level="read_uncommitted",
            session_timeout_ms=6000,
            heartbeat_interval_ms=500,
            fetch_wait_max_ms=100,
        )
        consumer = Consumer({**settings, "on_commit": self._committed})
        self.record.subscribe(self._group, [self._topic], auto_offset_reset="earliest")

        # They are called from within a poll, which is recorded as two: before and after.
        def assigned(to: Consumer, partitions: list[TopicPartition]) -> None:
            was_polling = self._end_poll()
            self.record.rebalance(assigned=map(_name, partitions))
            self.count("rebalance")
            self._begin_at_committed(to, partitions)
            self._begin_poll(was_polling)

        def revoked(of: Consumer, partitions: list[TopicPartition]) -> None:
            was_polling = self._end_poll()
            self._commit(of)
            self._forget(partitions)
            self._begin_poll(was_polling)

        def lost(_: Consumer, partitions: list[TopicPartition]) -> None:
            was_polling = self._end_poll()
            self._forget(partitions)
            self._begin_poll(was_polling)

        consumer.subscribe([self._topic], on_assign=assigned, on_revoke=revoked, on_lost=lost)
        return consumer

    def _begin_at_committed(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """At the beginning where nothing is committed. Left to itself librdkafka may read on where it was long ago."""
        if not partitions:
            return
        try:
            found = consumer.committed(partitions, timeout=10)
        except KafkaException as error:
            # By itself it asks again, for as long as it takes.
            self.shared.logger.info("%s could not ask for committed offsets: %s", self.name, error)
            return
        known = [TopicPartition(each.topic, each.partition, max(0, each.offset)) for each in found]
        if self._strategy == _COOPERATIVE:
            consumer.incremental_assign(known)
        else:
            consumer.assign(known)

    def _forget(self, partitions: list[TopicPartition]) -> None:
        self.record.rebalance(revoked=map(_name, partitions))
        for each in partitions:
            self._progress.pop((each.topic, each.partition), None)

    def _begin_poll(self, is_wanted: bool = True) -> None:
        if is_wanted:
            self._poll = self.record.poll()

    def _end_poll(self) -> bool:
        """Note what was received; whether a poll was under way."""
        pending, records = self._poll, self._received
        self._poll, self._received = None, []
        if pending is None:
            return False
        pending.ok(records)
        self.count("poll ok")
        for name, offset, _ in records:
            topic, _, number = name.rpartition("-")
            self._progress[topic, int(number)] = offset + 1
        return True

    def _turn(self, consumer: Consumer) -> None:
        self._begin_poll()
        # One by one: of a batch nobody knows what in it came before a rebalance.
        message = consumer.poll(_WAIT_S)
        try:
            while message is not None:
                self._received += records_of([message])
                message = consumer.poll(0) if len(self._received) < _BATCH else None
        finally:
            self._end_poll()
        if self.rng.random() < 0.3:
            self._commit(consumer)
        if self.rng.random() < 0.05:
            self._ask(consumer)

    def _commit(self, consumer: Consumer) -> None:
        """Asynchronously: librdkafka may wait for ever for the answer to a commit when its coordinator goes."""
        if not self._progress:
            return
        offsets = [TopicPartition(topic, number, offset) for (topic, number), offset in self._progress.items()]
        self._progress.clear()
        named = {_name(each): each.offset for each in offsets}
        pending = self.record.commit(self._group, named)
        try:
            consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            pending.info(str(error))
            self.count("commit info")
            return
        self._commits.append((named, pending))

    def _committed(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """What became of a commit. Called from within a poll."""
        named = {_name(each): each.offset for each in partitions}
        found = next((each for each in self._commits if each[0] == named), None)
        if found is None:
            return
        self._commits.remove(found)
        errors = [str(each) for each in (error, *(partition.error for partition in partitions)) if each is not None]
        if errors:
            # It may have been sent before: what a later attempt was told says nothing of an earlier one.
            found[1].info(errors[0])
            self.count("commit info")
        else:
            found[1].ok()
            self.count("commit ok")

    def _ask(self, consumer: Consumer) -> None:
        partitions = consumer.assignment()
        if not partitions:
            return
        pending = self.record.committed(self._group, map(_name, partitions))
        try:
            answers = consumer.committed(partitions, timeout=5)
        except KafkaException as error:
            pending.fail(str(error))
            self.count("committed fail")
            return
        if any(each.error is not None for each in answers):
            pending.fail("an error of a partition")
            self.count("committed fail")
            return
        pending.ok({_name(each): max(-1, each.offset) for each in answers})
        self.count("committed ok")


def read_to_the_end(shared: Shared, record: ClientRecorder, topics: dict[str, int], timeout_s: float) -> list[str]:
    """Read every partition from its beginning to its end, into the history; what could not be read."""
    unread: list[str] = []
    consumer = Consumer(
        shared.settings(
            record.process,
            group_id=f"unused-{record.process}",
            enable_auto_commit=False,
            auto_offset_reset="error",
            fetch_wait_max_ms=50,
        )
    )
    record.start()
    for topic, count in topics.items():
        for number in range(count):
            if not _read_partition(consumer, record, TopicPartition(topic, number, 0), time.monotonic() + timeout_s):
                unread.append(f"{topic}-{number}")
    consumer.close()
    record.crash()
    return unread


def _read_partition(consumer: Consumer, record: ClientRecorder, each: TopicPartition, deadline: float) -> bool:
    consumer.assign([each])
    name, position = _name(each), 0
    record.assign({name: 0})
    while time.monotonic() < deadline:
        pending = record.poll()
        try:
            watermarks: Any = consumer.get_watermark_offsets(each, 5)
            end = watermarks[1]
            messages = consumer.consume(5000, 0.3) if position < end else []
        except KafkaException as error:
            pending.info(str(error))
            consumer.assign([TopicPartition(each.topic, each.partition, position)])
            record.assign({name: position})
            continue
        records = records_of(messages)
        if records:
            position = records[-1][1] + 1
        if position >= end:
            pending.ok(records, reached_end={name: end})
            return True
        pending.ok(records)
    return False
