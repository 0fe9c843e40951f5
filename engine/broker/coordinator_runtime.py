"""Runs the shards of a coordinator: one pure machine for each led partition of an internal topic.

The shell around :class:`engine.core.group.shard.GroupCoordinatorShard` and
:class:`engine.core.txn.shard.TransactionCoordinatorShard` (Kafka: CoordinatorRuntime). For each partition that this
broker leads it

- loads: replays the log from its start into a new shard (requests meanwhile: COORDINATOR_LOAD_IN_PROGRESS);
- acts: hands requests and deadlines to the shard, writes what the shard appends as one batch per turn of the loop with
  acks=all, and holds every reply and every send back until all that the shard appended before it is committed, so that
  nobody hears of something that a failover could take back;
- unloads when another broker leads: everyone who still waits is answered NOT_COORDINATOR.

A failed append leaves a shard ahead of its log; the shard is dropped and loaded again, which everyone notices who waits
for it. So a request that writes is refused beforehand where an append would be. An append that only timed out *is* in
the log: its clients are told to retry, the state stands, and later replies wait for the high watermark.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Generic

from engine.broker.coordinator_log import (
    APPENDED,
    CoordinatorLogs,
    RecordCodec,
    TransactionalProducer,
    TransactionMarker,
    client_error,
)
from engine.broker.coordinator_partition import (
    BATCH_OVERHEAD_BYTES,
    RECORD_OVERHEAD_BYTES,
    Partition,
    Shard,
    Write,
)
from engine.core.effects import Effects, Reply
from engine.core.now import Now
from engine.model.errors import ErrorCode, KafkaError
from engine.model.notes import Note, NoteKind
from engine.record.batch import iter_batches
from engine.record.control import transaction_outcome
from engine.record.reader import read_records
from engine.world import Buffer, World

log = logging.getLogger(__name__)

_LOAD_CHUNK_BYTES = 128 * 1024


class CoordinatorRuntime(Generic[Shard]):
    """The shards of the partitions that this broker leads. All calls on the event loop."""

    def __init__(
        self,
        world: World,
        topic: str,
        logs: CoordinatorLogs,
        codec: RecordCodec,
        new_shard: Callable[[], Shard],
        *,
        write_timeout_ms: int,
        publish: Callable[[Iterable[Note]], None],
        send: Callable[[int, list[Any]], None] | None = None,
        on_unloaded: Callable[[int], None] | None = None,
        complete_loading: Callable[[int, int, Shard], Awaitable[None]] | None = None,
    ) -> None:
        """``write_timeout_ms``: how long a write may wait to be committed (offsets.commit.timeout.ms).

        ``send(partition, messages)`` takes what shards send; None where they send nothing. ``on_unloaded(partition)``
        is told that a shard's messages are void. ``complete_loading(partition, leader_epoch, shard)`` adds to a shard
        what stands elsewhere than in the log, before anybody is answered from it.
        """
        self._clock = world.clock
        self._topic = topic
        self._logs = logs
        self._codec = codec
        self._new_shard = new_shard
        self._write_timeout_ms = write_timeout_ms
        self._publish = publish
        self._send = send
        self._on_unloaded = on_unloaded
        self._complete_loading = complete_loading
        self._partitions: dict[int, Partition[Shard]] = {}
        # An ordered set: the order of iteration must replay.
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._stopped = False
        logs.on_high_watermark_advanced(self._on_high_watermark)

    # -- leadership ---------------------------------------------------------------------------------------------

    def on_elected(self, number: int, leader_epoch: int) -> None:
        """This broker leads the partition in ``leader_epoch``: load it. Older epochs are ignored.

        If the epoch is the one after that in which it led before, nobody else wrote in between (the leader epoch also
        rises when the leader stays, for instance when the ISR shrinks): the shard acts on, and nobody notices.
        """
        current = self._partitions.get(number)
        if self._stopped or (current is not None and current.leader_epoch >= leader_epoch):
            return
        if current is not None:
            if current.leader_epoch + 1 == leader_epoch:
                current.leader_epoch = leader_epoch
                return
            self._unload(current, ErrorCode.NOT_COORDINATOR, f"led anew in leader epoch {leader_epoch}")
        self._load(number, leader_epoch)

    def on_resigned(self, number: int, leader_epoch: int | None = None) -> None:
        """Another broker leads the partition (since ``leader_epoch``), or it is gone (None)."""
        current = self._partitions.get(number)
        if current is not None and (leader_epoch is None or current.leader_epoch < leader_epoch):
            reason = (
                "the partition was deleted" if leader_epoch is None else f"leader epoch {leader_epoch} is another's"
            )
            self._unload(current, ErrorCode.NOT_COORDINATOR, reason)

    async def shutdown(self) -> None:
        """Stop acting for all partitions and answer all who wait; no append stays behind."""
        self._stopped = True
        for partition in list(self._partitions.values()):
            self._unload(partition, ErrorCode.NOT_COORDINATOR, "the broker is shutting down")
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- requests -----------------------------------------------------------------------------------------------

    def submit(
        self,
        number: int,
        operation: Callable[[Shard, Now, asyncio.Future[Any]], Effects[Any, Any]],
        *,
        writes: bool = False,
    ) -> asyncio.Future[Any]:
        """Run an input of the partition's shard with a new token, and return the token: a future of the reply.

        The future fails with KafkaError (NOT_COORDINATOR, or as :func:`client_error`) if the shard is unloaded or its
        append fails.

        Raises:
            KafkaError: NOT_COORDINATOR or COORDINATOR_LOAD_IN_PROGRESS; with ``writes``, for an input that is expected
                to append, also as :func:`client_error` if the log takes nothing now.
        """
        partition = self._active(number)
        if writes:
            self._check_append(number)
        token: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        partition.outstanding[token] = None
        self._step(partition, lambda shard, now: operation(shard, now, token))
        return token

    def run(self, number: int, operation: Callable[[Shard, Now], Effects[Any, Any]], *, writes: bool = False) -> None:
        """Run an input that nobody waits for. Raises as :meth:`submit`."""
        partition = self._active(number)
        if writes:
            self._check_append(number)
        self._step(partition, operation)

    def shard(self, number: int) -> Shard:
        """The shard, for reading what needs no commitment. Raises as :meth:`submit`."""
        return self._active(number).shard

    def leader_epoch(self, number: int) -> int:
        """The leader epoch that the partition acts in. Raises as :meth:`submit`."""
        return self._active(number).leader_epoch

    def active_partitions(self) -> list[int]:
        """Partitions that are loaded."""
        return sorted(number for number, partition in self._partitions.items() if partition.active)

    def shards(self) -> list[Shard]:
        """All shards, those that are being loaded too."""
        return [partition.shard for _, partition in sorted(self._partitions.items())]

    def known_partitions(self) -> list[int]:
        """Partitions that are loaded or being loaded."""
        return sorted(self._partitions)

    def is_loading(self) -> bool:
        """Some partition that this broker leads is not loaded yet."""
        return any(not partition.active for partition in self._partitions.values())

    def _check_append(self, number: int) -> None:
        try:
            self._logs.check_append(number)
        except KafkaError as error:
            raise KafkaError(client_error(error.code), error.message) from None

    def _step(self, partition: Partition[Shard], operation: Callable[[Shard, Now], Effects[Any, Any]]) -> None:
        try:
            self._perform(partition, operation(partition.shard, self._now()))
        except Exception:
            # A bug: the shard may have stopped half-way. Everyone who waits is answered, and the log has the truth.
            log.exception("an input of %s-%d failed", self._topic, partition.number)
            self._reload(partition, ErrorCode.UNKNOWN_SERVER_ERROR, "an input of the coordinator failed")

    def _active(self, number: int) -> Partition[Shard]:
        partition = self._partitions.get(number)
        if partition is None:
            raise KafkaError(ErrorCode.NOT_COORDINATOR, f"{self._topic}-{number} is not led by this broker")
        if not partition.active:
            raise KafkaError(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, f"{self._topic}-{number} is being loaded")
        return partition

    def _now(self) -> Now:
        return Now(self._clock.monotonic_ms(), self._clock.now_ms())

    # -- transactions -------------------------------------------------------------------------------------------

    def write_in_transaction(
        self,
        number: int,
        producer: TransactionalProducer,
        operation: Callable[[Shard, Now, asyncio.Future[Any]], Effects[Any, Any]],
    ) -> asyncio.Future[Any]:
        """Write what ``operation`` appends in the name of ``producer``, with a token as :meth:`submit`.

        The log may refuse a producer that was fenced. So this goes the other way round than other inputs: what the
        operation appends has no effect on the shard yet, is written at once, and replayed when it is in the log.

        Raises:
            KafkaError: the log's refusal as :func:`client_error`, and as :meth:`submit`.
        """
        partition = self._ready_to_append(number)
        token: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        effects = operation(partition.shard, self._now(), token)
        if not effects.append:
            partition.outstanding[token] = None
            self._perform(partition, effects)
            return token
        encoded = [self._codec.encode(record) for record in effects.append]
        offset = self._logs.log_end_offset(number)
        try:
            committed = self._logs.append(number, partition.leader_epoch, encoded, self._write_timeout_ms, producer)
        except KafkaError as error:
            raise KafkaError(client_error(error.code), error.message) from None

        def replay(shard: Shard) -> None:
            for index, (key, value) in enumerate(encoded):
                decoded = self._codec.decode(key, value)
                assert decoded is not None, f"{self._topic} does not know what it wrote"
                shard.replay(*decoded, record_offset=offset + index, producer_id=producer.producer_id)

        self._after_append(partition, token, effects.reply, committed, replay)
        self._publish(effects.notes)
        return token

    def complete_transaction(self, number: int, marker: TransactionMarker) -> asyncio.Future[Any]:
        """Write the end of a transaction; the future that is returned is None once it is committed. Raises as
        :meth:`write_in_transaction`."""
        partition = self._ready_to_append(number)
        try:
            committed = self._logs.append_marker(number, partition.leader_epoch, marker, self._write_timeout_ms)
        except KafkaError as error:
            raise KafkaError(client_error(error.code), error.message) from None
        token: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def replay(shard: Shard) -> None:
            shard.replay_end_transaction_marker(marker.producer_id, marker.committed)

        self._after_append(partition, token, [Reply(token, None)], committed, replay)
        return token

    def _ready_to_append(self, number: int) -> Partition[Shard]:
        """The partition, with everything in its log that its shard has appended."""
        partition = self._active(number)
        self._check_append(number)
        self._flush(partition)
        if partition.closed:
            raise KafkaError(ErrorCode.NOT_COORDINATOR, f"{self._topic}-{number} is being loaded again")
        return partition

    def _after_append(
        self,
        partition: Partition[Shard],
        token: asyncio.Future[Any],
        replies: list[Reply],
        committed: Coroutine[Any, Any, None],
        replay: Callable[[Shard], None],
    ) -> None:
        partition.outstanding[token] = None
        write = self._new_write(partition)
        write.started = True
        write.replies += replies
        self._start(self._wait_until_committed(partition, write, committed))

        def apply(shard: Shard, _: Now) -> Effects[Any, Any]:
            replay(shard)
            return Effects()

        self._step(partition, apply)

    # -- loading ------------------------------------------------------------------------------------------------

    def _load(self, number: int, leader_epoch: int) -> None:
        partition = Partition(number, leader_epoch, self._new_shard())
        self._partitions[number] = partition
        partition.loading = self._start(self._replay_log(partition))

    async def _replay_log(self, partition: Partition[Shard]) -> None:
        number = partition.number
        started_ms = self._clock.monotonic_ms()
        count = 0
        try:
            offset = self._logs.log_start_offset(number)
            while offset < self._logs.log_end_offset(number):
                chunk = self._logs.read(number, offset, _LOAD_CHUNK_BYTES)
                next_offset, replayed = self._replay_chunk(partition.shard, chunk, offset)
                count += replayed
                if next_offset <= offset:
                    break  # nothing but the rest of a batch: the log end was inside it
                offset = next_offset
                await asyncio.sleep(0)
                if partition.closed:
                    return
            if self._complete_loading is not None:
                await self._complete_loading(number, partition.leader_epoch, partition.shard)
                if partition.closed:
                    return
            partition.high_watermark = self._logs.high_watermark(number)
            partition.max_batch_bytes = self._logs.max_batch_bytes(number)
        except KafkaError as error:
            log.warning("%s-%d could not be loaded: %s", self._topic, number, error)
            self._unload(partition, client_error(error.code), f"the log could not be read: {error.message}")
            return
        except Exception as error:
            log.exception("%s-%d could not be loaded", self._topic, number)
            self._unload(partition, ErrorCode.NOT_COORDINATOR, f"the log could not be replayed: {error!r}")
            return
        partition.loading = None
        partition.active = True
        if partition.high_watermark < offset:
            # The tail was replayed but may not be committed yet: nothing may be told before it is.
            tail = Write()
            tail.started = True
            tail.required_offset = offset
            partition.writes.append(tail)
        took_ms = self._clock.monotonic_ms() - started_ms
        self._publish(
            [
                Note(
                    NoteKind.COORDINATOR_LOADED,
                    f"{self._topic}-{number}",
                    f"this broker leads in leader epoch {partition.leader_epoch}",
                    {"leader_epoch": partition.leader_epoch, "records": count, "took_ms": round(took_ms, 3)},
                )
            ]
        )
        try:
            self._perform(partition, partition.shard.on_loaded(self._now()))
        except Exception as error:
            log.exception("%s-%d was loaded and cannot begin", self._topic, number)
            self._unload(partition, ErrorCode.NOT_COORDINATOR, f"the coordinator could not begin: {error!r}")

    def _replay_chunk(self, shard: Shard, chunk: Buffer, offset: int) -> tuple[int, int]:
        """Replay whole batches; returns the next offset and the number of records."""
        count = 0
        for header, batch in iter_batches(chunk):
            if header.last_offset < offset:
                continue
            if header.is_control:
                outcome = transaction_outcome(batch)
                if outcome is not None:
                    shard.replay_end_transaction_marker(header.producer_id, outcome)
            else:
                producer_id = header.producer_id if header.is_transactional else -1
                for record in read_records(batch):
                    if record.offset < offset or record.key is None:
                        continue
                    decoded = self._codec.decode(record.key, record.value)
                    if decoded is not None:
                        shard.replay(decoded[0], decoded[1], record_offset=record.offset, producer_id=producer_id)
                    count += 1
            offset = header.last_offset + 1
        return offset, count

    # -- unloading ----------------------------------------------------------------------------------------------

    def _unload(self, partition: Partition[Shard], error: ErrorCode, reason: str) -> None:
        if self._partitions.get(partition.number) is partition:
            del self._partitions[partition.number]
        partition.closed = True
        if partition.timer is not None:
            partition.timer.cancel()
        if partition.loading is not None and partition.loading is not asyncio.current_task():
            partition.loading.cancel()
        if partition.active:
            # Parked requests get the machine's own answer; held-back replies would promise what may not be durable.
            try:
                for token, response in partition.shard.on_unloaded(error).reply:
                    self._deliver(partition, token, response)
            except Exception:
                # Where an input failed before, this may fail too; the error is everyone's answer below.
                log.exception("%s-%d could not be unloaded in order", self._topic, partition.number)
            subject = f"{self._topic}-{partition.number}"
            self._publish([Note(NoteKind.COORDINATOR_UNLOADED, subject, reason, {"error": error.name})])
        partition.active = False
        for token in list(partition.outstanding):
            self._fail(partition, token, error)
        partition.writes.clear()
        if self._on_unloaded is not None:
            self._on_unloaded(partition.number)

    def _reload(self, partition: Partition[Shard], error: ErrorCode, reason: str) -> None:
        self._unload(partition, error, reason)
        self._load(partition.number, partition.leader_epoch)

    # -- effects ------------------------------------------------------------------------------------------------

    def _perform(self, partition: Partition[Shard], effects: Effects[Any, Any]) -> None:
        if effects.append:
            self._queue(partition, effects)
        elif effects.reply:
            self._hold(partition, effects.reply)
        if effects.send:
            self._hold_sends(partition, effects.send)
        if effects.notes:
            self._publish(effects.notes)
        self._arm_timer(partition)

    def _queue(self, partition: Partition[Shard], effects: Effects[Any, Any]) -> None:
        """Add records to the batch of this turn of the loop, or to a further one when it is full."""
        encoded = [self._codec.encode(record) for record in effects.append]
        sizes = [len(key) + len(value or b"") + RECORD_OVERHEAD_BYTES for key, value in encoded]
        limit = partition.max_batch_bytes
        write = self._open_write(partition)
        if effects.reply and BATCH_OVERHEAD_BYTES + sum(sizes) <= limit:
            # The records of one request stand or fall together.
            if write.records and write.size_bytes + sum(sizes) > limit:
                write = self._new_write(partition)
            write.records += encoded
            write.size_bytes += sum(sizes)
            write.replies += effects.reply
            return
        for record, size in zip(encoded, sizes, strict=True):
            if write.records and write.size_bytes + size > limit:
                write = self._new_write(partition)
            write.records.append(record)
            write.size_bytes += size
        # More than a batch holds: each record is true by itself, and the reply follows the last one.
        write.replies += effects.reply

    def _open_write(self, partition: Partition[Shard]) -> Write:
        if partition.writes and not partition.writes[-1].started:
            return partition.writes[-1]
        asyncio.get_running_loop().call_soon(self._flush, partition)
        return self._new_write(partition)

    @staticmethod
    def _new_write(partition: Partition[Shard]) -> Write:
        write = Write()
        partition.writes.append(write)
        return write

    def _hold(self, partition: Partition[Shard], replies: list[Reply]) -> None:
        """Deliver replies behind everything appended so far."""
        if not partition.writes:
            for token, response in replies:
                self._deliver(partition, token, response)
            return
        last = partition.writes[-1]
        last.replies += replies
        if last.required_offset is not None:
            # Its own time is up already: these replies get theirs.
            asyncio.get_running_loop().call_later(
                self._write_timeout_ms / 1000, self._give_up, partition, [token for token, _ in replies]
            )

    def _hold_sends(self, partition: Partition[Shard], sends: list[Any]) -> None:
        """Send behind everything appended so far, however long that takes."""
        assert self._send is not None, f"a shard of {self._topic} sends {sends}"
        if partition.writes:
            partition.writes[-1].sends += sends
        else:
            self._send(partition.number, sends)

    def _give_up(self, partition: Partition[Shard], tokens: list[Any]) -> None:
        for token in tokens:
            self._fail(partition, token, ErrorCode.COORDINATOR_NOT_AVAILABLE)

    def _flush(self, partition: Partition[Shard]) -> None:
        """Write what is queued."""
        for write in list(partition.writes):
            if partition.closed:
                return  # an earlier one failed and the shard was reloaded: this one must not reach the log
            if not write.started:
                write.started = True
                try:
                    committed = self._logs.append(
                        partition.number, partition.leader_epoch, write.records, self._write_timeout_ms
                    )
                except Exception as error:
                    self._write_failed(partition, write, error)
                else:
                    self._start(self._wait_until_committed(partition, write, committed))

    async def _wait_until_committed(
        self, partition: Partition[Shard], write: Write, committed: Coroutine[Any, Any, None]
    ) -> None:
        try:
            await committed
        except Exception as error:
            if not partition.closed:
                self._write_failed(partition, write, error)
            return
        write.committed = True
        self._release(partition)

    def _write_failed(self, partition: Partition[Shard], write: Write, error: Exception) -> None:
        if not isinstance(error, KafkaError):
            log.error("append to %s-%d failed", self._topic, partition.number, exc_info=error)
            error = KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, "append failed")
        self._append_failed(partition, write, error)

    def _append_failed(self, partition: Partition[Shard], write: Write, error: KafkaError) -> None:
        answer = client_error(error.code)
        if error.code in APPENDED:
            for token, _ in write.replies:
                self._fail(partition, token, answer)
            write.replies.clear()
            try:
                write.required_offset = self._logs.log_end_offset(partition.number)
                partition.high_watermark = self._logs.high_watermark(partition.number)
            except KafkaError as not_leading:
                self._unload(partition, ErrorCode.NOT_COORDINATOR, not_leading.message)
                return
            self._release(partition)
            return
        reason = f"an append failed: {error.code.name}: {error.message}"
        log.warning("%s-%d: %s", self._topic, partition.number, reason)
        # If this broker does not lead any more, reading the log will say so.
        self._reload(partition, answer, reason)

    def _on_high_watermark(self, number: int, high_watermark: int) -> None:
        partition = self._partitions.get(number)
        if partition is not None and partition.writes:
            partition.high_watermark = high_watermark
            self._release(partition)

    def _release(self, partition: Partition[Shard]) -> None:
        """Deliver the replies behind all leading writes that are committed."""
        writes = partition.writes
        while writes:
            write = writes[0]
            required = write.required_offset
            if not write.committed and (required is None or partition.high_watermark < required):
                return
            writes.popleft()
            for token, response in write.replies:
                self._deliver(partition, token, response)
            if write.sends and self._send is not None:
                self._send(partition.number, write.sends)

    @staticmethod
    def _deliver(partition: Partition[Shard], token: Any, response: Any) -> None:
        partition.outstanding.pop(token, None)
        if not token.done():
            token.set_result(response)

    @staticmethod
    def _fail(partition: Partition[Shard], token: Any, error: ErrorCode) -> None:
        partition.outstanding.pop(token, None)
        if not token.done():
            token.set_exception(KafkaError(error, error.name))
            # The client may have gone: then nobody asks for the exception, and that is no accident.
            token.exception()

    # -- time ---------------------------------------------------------------------------------------------------

    def _arm_timer(self, partition: Partition[Shard]) -> None:
        deadline_ms = partition.shard.next_deadline_ms()
        if deadline_ms is None:
            return
        if partition.timer is not None:
            if partition.timer_at_ms <= deadline_ms:
                return  # it fires early, finds nothing due, and is armed again
            partition.timer.cancel()
        delay_ms = max(deadline_ms - self._clock.monotonic_ms(), 0.0)
        partition.timer_at_ms = deadline_ms
        partition.timer = asyncio.get_running_loop().call_later(delay_ms / 1000, self._on_timer, partition)

    def _on_timer(self, partition: Partition[Shard]) -> None:
        partition.timer = None
        if not partition.closed:
            self._step(partition, lambda shard, now: shard.on_timer(now))

    def _start(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        return task
