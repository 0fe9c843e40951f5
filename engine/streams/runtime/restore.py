"""Stores from their changelogs: once before an active task begins, and on and on for standbys.

A changelog is restored when the *position* of the reader has come to the end that it had, not when some record was
seen: the last records may be transaction markers, may be aborted or compacted away. The end is that of all replicated
records, open transactions included, also under exactly-once, where only committed ones are read: the commit that the
task's input offsets were part of may not yet be known on the changelog's broker, and its records must not be missed.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, KafkaException, TopicPartition

from engine.streams.runtime.clients import Partition, Topics, input_records, is_end, is_out_of_range, make_consumer
from engine.streams.runtime.config import StreamsConfig
from engine.streams.runtime.worker_task import WorkerTask

log = logging.getLogger(__name__)

_Asked = Future[dict[Partition, int | Exception]]

_BATCH = 5_000
_SAVE_EVERY = 100_000
"""Records after which what was restored is made durable: a rebalance or a kill does not begin a long restore anew."""
_ASK_AGAIN_S = 0.2


class _Changelog:
    """One changelog partition and the store that it fills."""

    def __init__(self, owner: WorkerTask, store: str, at: Partition, limit: int | None) -> None:
        self.owner = owner
        self.store = store
        self.at = at
        self.limit = limit
        self.start: int | None = owner.task.stores[store].changelog_offset()
        self.position: int | None = self.start
        self.first = 0
        self.end: int | None = None
        self.asked: tuple[_Asked, _Asked] | None = None
        self.ask_at = 0.0
        self.is_silent = False
        """Whether nobody told its ends when they were asked for last."""
        self.reading = False
        self.restored = 0
        self.restored_bytes = 0
        self.unsaved = 0
        """Records since the store was last made durable."""

    def save(self) -> None:
        """Make durable what was restored, as of where the reader is."""
        if self.unsaved and self.position is not None:
            position = self.position if self.limit is None else min(self.position, self.limit)
            self.owner.task.stores[self.store].commit(position)
            self.unsaved = 0

    @property
    def is_done(self) -> bool:
        return self.end is not None and self.position is not None and self.position >= self.end


class ChangelogReader:
    """Restores the stores of all tasks of a worker. Nothing here blocks for longer than ``poll``'s time-out."""

    def __init__(self, config: StreamsConfig, topics: Topics, client_id: str) -> None:
        self._config = config
        self._topics = topics
        self._client_id = client_id
        self._consumer: Any = None
        self._changelogs: dict[Partition, _Changelog] = {}

    def close(self) -> None:
        """Let go of the consumer."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def add(self, owner: WorkerTask) -> None:
        """Begin with a task's stores; an active one's input offsets are known by now."""
        for store, topic in owner.task.changelog_topics().items():
            at = topic, owner.id.partition
            limit = None
            if at in owner.inputs:
                # A source topic serves: what is beyond the commit is still to be processed.
                if not owner.is_active:
                    continue
                limit = owner.committed.get(at, 0)
            self._changelogs[at] = _Changelog(owner, store, at, limit)

    def follows(self, owner: WorkerTask) -> bool:
        """Whether a task's changelogs are read already: it is, or was, a standby."""
        return any(each.owner is owner for each in self._changelogs.values())

    def promote(self, owner: WorkerTask) -> None:
        """A standby becomes active: it has to come to the end that its changelogs have now."""
        known = {at for at, each in self._changelogs.items() if each.owner is owner}
        for at in known:
            changelog = self._changelogs[at]
            changelog.asked, changelog.end, changelog.ask_at = None, None, 0.0
            changelog.start, changelog.restored, changelog.restored_bytes = changelog.position, 0, 0
        for store, topic in owner.task.changelog_topics().items():
            at = topic, owner.id.partition
            if at not in known:
                self._changelogs[at] = _Changelog(owner, store, at, owner.committed.get(at, 0))

    def remove(self, owner: WorkerTask) -> None:
        """Stop in whatever state it is."""
        gone = [each for each in self._changelogs.values() if each.owner is owner]
        for each in gone:
            del self._changelogs[each.at]
            each.save()
        self._stop_reading(gone)

    def is_restored(self, owner: WorkerTask) -> bool:
        """Whether all stores of the task are as far as they must be."""
        return all(each.is_done for each in self._changelogs.values() if each.owner is owner)

    def positions(self, owner: WorkerTask) -> dict[str, int]:
        """The next changelog offset of each of a task's stores."""
        return {
            each.store: each.position
            for each in self._changelogs.values()
            if each.owner is owner and each.position is not None
        }

    def finish(self, owner: WorkerTask) -> dict[Partition, int]:
        """The task is about to process: forget its changelogs; the positions that they were read to."""
        found = {
            each.at: each.position
            for each in self._changelogs.values()
            if each.owner is owner and each.position is not None
        }
        self.remove(owner)
        return found

    def progress(self, owner: WorkerTask) -> list[dict[str, Any]]:
        """How far each store of a task is: records restored, position, and the end to come to."""
        return [
            {
                "store": each.store,
                "topic": each.at[0],
                "partition": each.at[1],
                "restored": each.restored,
                "restored_bytes": each.restored_bytes,
                "begin": each.first if each.start is None else each.start,
                "position": each.position,
                "end": each.end,
                "remaining": None if each.end is None else max(0, each.end - (each.position or each.first)),
            }
            for each in list(self._changelogs.values())
            if each.owner is owner
        ]

    @property
    def is_busy(self) -> bool:
        """Whether an active task waits for its stores."""
        return any(each.owner.is_active for each in self._changelogs.values())

    def poll(self, timeout_s: float) -> int:
        """Read a batch of whatever changelog has some; how many records."""
        if not self._changelogs:
            return 0
        self._begin_reading()
        if self._consumer is None:
            return 0
        records, told = input_records(self._consumer.consume(_BATCH, timeout_s))
        count = 0
        for at, batch in records.items():
            changelog = self._changelogs.get(at)
            if changelog is None or not changelog.reading:
                continue
            kept = batch if changelog.limit is None else [each for each in batch if each.offset < changelog.limit]
            changelog.owner.task.restore(
                changelog.store,
                [(key, value, timestamp, headers) for _, timestamp, key, value, headers in kept if key is not None],
            )
            changelog.position = batch[-1].offset + 1
            changelog.restored += len(kept)
            changelog.restored_bytes += sum(len(each.key or b"") + len(each.value or b"") for each in kept)
            count += len(kept)
            changelog.unsaved += len(kept)
            if changelog.unsaved >= _SAVE_EVERY:
                changelog.save()
        for at, message in told:
            changelog = self._changelogs.get(at)
            if changelog is None or not changelog.reading:
                continue
            if is_end(message):
                changelog.position = max(changelog.position or 0, message.offset())
            elif is_out_of_range(message):
                self._begin_anew(changelog, "its offset is not in the changelog any more")
            elif message.error().fatal():
                raise KafkaException(message.error())
            else:
                log.info("changelog %s-%d: %s", *at, message.error())
        self._stop_reading([each for each in self._changelogs.values() if each.owner.is_active and each.is_done])
        return count

    def _begin_reading(self) -> None:
        """Ask for the ends of what is new, and read from where the answers are there."""
        now = time.monotonic()
        unasked = [each for each in self._changelogs.values() if each.end is None and each.asked is None]
        unasked = [each for each in unasked if each.ask_at <= now]
        if unasked:
            names = [each.at for each in unasked]
            first = self._topics.ask_offsets(names, latest=False)
            last = self._topics.ask_offsets(names, latest=True)
            for each in unasked:
                each.asked = first, last
        begun: list[TopicPartition] = []
        for each in self._changelogs.values():
            if each.asked is None or not all(future.done() for future in each.asked):
                continue
            (first_offset, end), each.asked = (_answer(future, each.at) for future in each.asked), None
            if isinstance(first_offset, BaseException) or isinstance(end, BaseException):
                if not each.is_silent:  # it may be long, and is asked again and again
                    log.info("offsets of %s-%d: %s; %s", *each.at, first_offset, end)
                each.is_silent = True
                each.ask_at = now + _ASK_AGAIN_S
                continue
            each.is_silent = False
            each.first = first_offset
            each.end = end if each.limit is None else min(end, each.limit)
            if each.position is not None and not each.first <= each.position <= end:
                self._wipe(each, "its offset is not in the changelog any more")
            if each.position is None and each.end <= each.first:
                each.position = each.first
            if (not each.is_done or not each.owner.is_active) and not each.reading:
                each.reading = True
                begun.append(TopicPartition(*each.at, OFFSET_BEGINNING if each.position is None else each.position))
        if begun:
            if self._consumer is None:
                self._consumer = make_consumer(self._config, "restore", self._client_id)
            self._consumer.incremental_assign(begun)

    def _begin_anew(self, changelog: _Changelog, why: str) -> None:
        self._wipe(changelog, why)
        self._stop_reading([changelog])
        changelog.end = None

    def _wipe(self, changelog: _Changelog, why: str) -> None:
        log.warning("store %s of task %s begins anew: %s", changelog.store, changelog.owner.id, why)
        changelog.owner.task.stores[changelog.store].wipe()
        changelog.position = None
        changelog.restored = changelog.restored_bytes = changelog.unsaved = 0

    def _stop_reading(self, changelogs: list[_Changelog]) -> None:
        ended = [each for each in changelogs if each.reading]
        for each in ended:
            each.reading = False
        if ended and self._consumer is not None:
            self._consumer.incremental_unassign([TopicPartition(*each.at) for each in ended])


def _answer(asked: _Asked, at: Partition) -> int | BaseException:
    error = asked.exception()
    return asked.result()[at] if error is None else error
