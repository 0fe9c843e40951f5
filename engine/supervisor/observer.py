"""Watches any Kafka cluster through its own protocol and makes snapshots and events of what it sees.

Each broker is polled on its own: own connection, own time-out, own age. What one of them does not answer leaves the
others' figures fresh and its own as old as they are.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.client.admin import AdminClient
from engine.client.admin.configs import ConfigEntry, ConfigResource, ConfigSource, ResourceType
from engine.client.admin.group_descriptions import GroupDescription
from engine.client.admin.offsets import CommittedOffset, OffsetAt, OffsetSpec
from engine.client.admin.replicas import ReplicaWatermarks
from engine.client.admin.share_offsets import ShareOffset
from engine.client.channel import Address
from engine.client.errors import ClientError, UnsupportedApi
from engine.model.errors import KafkaError
from engine.model.topic_partition import TopicPartition
from engine.supervisor.cluster_diff import changes
from engine.supervisor.observation import BrokerContact, Observation
from engine.supervisor.snapshot import ClusterEvent, ClusterSnapshot, Source

if TYPE_CHECKING:
    from engine.world import World

_CONSUMER_REPLICA = -1
_KEPT_EVENTS = 2_000
# After a connection broke or a refresh was asked for, metadata is polled this often for a while.
_BURST_INTERVAL_S = 0.15
_BURST_MS = 4_000
_MIN_SNAPSHOT_INTERVAL_S = 0.1
# So many are asked for, and made into a picture, before others have their turn.
_PARTITIONS_A_STEP = 500


class Pace(NamedTuple):
    """How often what is asked, in milliseconds.

    ``fast_ms``: metadata, brokers, quorum, high watermarks, groups, and (twice as often) where each replica of the
    watched topics stands; ``slow_ms``: all replicas' log ends, log starts, log directories; ``configs_ms``: topic
    configs. A cluster with more than ``partitions_at_pace`` partitions is asked less often, in proportion.
    ``share_offsets_timeout_ms``: for where share groups stand, which their coordinators have from others.
    """

    fast_ms: float = 1_000
    slow_ms: float = 5_000
    configs_ms: float = 30_000
    request_timeout_ms: float = 2_000
    share_offsets_timeout_ms: float = 10_000
    partitions_at_pace: int = 1_000


class ClusterObserver:
    """``start()`` it, then read :attr:`snapshot` or iterate :meth:`snapshots` and :meth:`events`."""

    def __init__(
        self,
        world: World,
        bootstrap: Iterable[Address],
        *,
        source: Source = Source.ATTACHED,
        pace: Pace | None = None,
        derive_events: bool = True,
        client_id: str = "kconsole-observer",
    ) -> None:
        """``derive_events`` False for a cluster whose brokers tell what happens by themselves."""
        self._clock = world.clock
        self._pace = pace or Pace()
        bootstrap = tuple(bootstrap)

        def admin_client(request_timeout_ms: float) -> AdminClient:
            return AdminClient(
                world,
                bootstrap,
                client_id=client_id,
                request_timeout_ms=request_timeout_ms,
                connect_timeout_ms=self._pace.request_timeout_ms,
            )

        self.admin = admin_client(self._pace.request_timeout_ms)
        self.admin.brokers.on_lost(self._connection_lost)
        self._share_admin = admin_client(self._pace.share_offsets_timeout_ms)
        self._quorum_admin = admin_client(self._pace.request_timeout_ms)
        self._share_polls: dict[int, asyncio.Task[None]] = {}
        self._source = source
        self._derive_events = derive_events
        self._seen = Observation(source)
        self._watched: frozenset[str] = frozenset()
        self._tasks: list[asyncio.Task[None]] = []
        self._brokers: dict[int, asyncio.Task[None]] = {}
        self._hurry = asyncio.Event()
        self._asked_for = asyncio.Event()
        self._burst_until_ms = 0.0
        self._dirty = asyncio.Event()
        self._no_quorum_api = False
        self._revision = 0
        self._published = asyncio.Event()
        self._sequence = 0
        self._events: deque[ClusterEvent] = deque(maxlen=_KEPT_EVENTS)
        self._groups_known = False
        self.snapshot = ClusterSnapshot(at_ms=self._clock.now_ms(), source=source)

    # -- what its user calls

    def start(self) -> None:
        """Begin to poll, in tasks of the running loop."""
        if not self._tasks:
            self._tasks = [
                asyncio.ensure_future(self._steadily(each))
                for each in (self._poll_metadata, self._poll_configs, self._publish)
            ]

    async def close(self) -> None:
        """End all polling and close all connections; iterations end."""
        tasks = [*self._tasks, *self._brokers.values(), *self._share_polls.values()]
        self._tasks, self._brokers, self._share_polls = [], {}, {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.admin.close()
        self._share_admin.close()
        self._quorum_admin.close()
        self._revision = -1
        self._wake()

    def watch(self, topics: Iterable[str]) -> None:
        """Ask each replica of these topics where its log starts, ends and is committed: at once, and twice as often
        as for all else."""
        wanted = frozenset(topics)
        if wanted == self._watched:
            return
        self._watched = wanted
        self.refresh()
        asked, self._asked_for = self._asked_for, asyncio.Event()
        asked.set()

    def refresh(self) -> None:
        """Something happened, or was just done: look now, and often for a few seconds."""
        self._burst_until_ms = self._clock.monotonic_ms() + _BURST_MS
        self._hurry.set()

    def publish(self) -> None:
        """Something beside what is watched here has changed: make another picture soon."""
        self._dirty.set()

    def tell(self, event: ClusterEvent) -> None:
        """An event that somebody else found, among those that are found here."""
        self._sequence += 1
        self._events.append(replace(event, sequence=self._sequence))
        self._wake()

    async def snapshots(self) -> AsyncIterator[ClusterSnapshot]:
        """The latest picture, and each later one; a slow reader misses those between."""
        seen = 0
        while self._revision >= 0:
            published = self._published
            if self._revision > seen:
                seen = self._revision
                yield self.snapshot
            else:
                await published.wait()

    async def events(self) -> AsyncIterator[list[ClusterEvent]]:
        """Events in batches: first those that are kept, then each as it is found."""
        last = 0
        while self._revision >= 0:
            published = self._published
            batch = [each for each in self._events if each.sequence > last]
            if batch:
                last = batch[-1].sequence
                yield batch
            else:
                await published.wait()

    def _wake(self) -> None:
        published, self._published = self._published, asyncio.Event()
        published.set()

    async def _steadily(self, poll: Callable[[], Awaitable[None]]) -> None:
        """What was not foreseen in one answer must not end the watch for good."""
        while True:
            try:
                await poll()
            except Exception as error:
                self._seen.on_fault(f"the observer failed and begins again: {error!r}")
                self._dirty.set()
                await asyncio.sleep(self._pace.fast_ms / 1000)

    # -- publishing

    async def _publish(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            # In steps, between which others have their turn: whoever looks at thousands of partitions still types.
            for _ in self._seen.renewing(_PARTITIONS_A_STEP):
                await asyncio.sleep(0)
            before, after = self.snapshot, self._seen.snapshot(self._clock.now_ms())
            if self._derive_events:
                for change in changes(before, after, groups=self._groups_known):
                    self._sequence += 1
                    self._events.append(
                        ClusterEvent(
                            self._sequence,
                            after.at_ms,
                            str(change.kind),
                            change.subject,
                            change.reason,
                            "observed",
                            change.detail,
                        )
                    )
            self._groups_known = self._groups_known or self._all_groups_listed()
            self.snapshot = after
            self._revision += 1
            self._wake()
            await asyncio.sleep(_MIN_SNAPSHOT_INTERVAL_S)

    def _all_groups_listed(self) -> bool:
        """Whether every broker that can be reached has listed its groups, described by now."""
        reachable = [each.broker_id for each in self.snapshot.brokers if each.reachable]
        return bool(reachable) and all(self._seen.groups.listed_by(each) is not None for each in reachable)

    def _connection_lost(self, address: Address) -> None:
        for broker_id in self._seen.broker_ids:
            if self._seen.address_of(broker_id) == address:
                lost = BrokerContact(False, self._clock.now_ms(), "the connection broke")
                self._seen.on_contact(broker_id, lost)
                self._dirty.set()
        self.refresh()

    # -- the cluster as a whole

    def _stretch(self) -> float:
        """How much slower than its pace a large cluster is polled."""
        metadata = self._seen.metadata
        partitions = sum(len(each.partitions) for each in metadata.topics.values()) if metadata else 0
        return max(1.0, partitions / self._pace.partitions_at_pace)

    async def _poll_metadata(self) -> None:
        while True:
            self._hurry.clear()
            await asyncio.gather(self._ask_metadata(), self._ask_cluster(), self._ask_quorum())
            for broker_id in self._seen.broker_ids:
                if broker_id not in self._brokers:
                    poll = partial(self._poll_broker, broker_id)
                    self._brokers[broker_id] = asyncio.ensure_future(self._steadily(poll))
            for broker_id in [each for each in self._brokers if each not in self._seen.broker_ids]:
                self._brokers.pop(broker_id).cancel()
            self._dirty.set()
            if self._clock.monotonic_ms() < self._burst_until_ms:
                await asyncio.sleep(_BURST_INTERVAL_S * self._stretch())
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pace.fast_ms * self._stretch() / 1000):
                    await self._hurry.wait()

    async def _ask_metadata(self) -> None:
        try:
            metadata = await self.admin.metadata()
            self._seen.on_metadata(metadata, self._clock.now_ms())
            ailing = self._seen.ailing_topics()
            self._seen.on_eligible_replicas(await self.admin.describe_topics(ailing) if ailing else {})
        except (ClientError, KafkaError) as error:
            self._seen.on_metadata_failed(str(error))

    async def _ask_cluster(self) -> None:
        with contextlib.suppress(ClientError, KafkaError):
            self._seen.on_cluster(await self.admin.describe_cluster())

    async def _ask_quorum(self) -> None:
        if self._no_quorum_api:
            return
        # Brokers pass it on to the quorum's leader, and without one their answers never come: on connections of its own
        # that breaks nothing else that is asked of them.
        self._quorum_admin.brokers.learn(self.admin.brokers.nodes)
        try:
            self._seen.on_quorum(await self._quorum_admin.describe_quorum(), self._clock.now_ms())
        except UnsupportedApi:
            self._no_quorum_api = True
            self._seen.on_no_quorum()
        except (ClientError, KafkaError):
            pass  # an election: the last picture stays, with its age

    async def _poll_configs(self) -> None:
        while True:
            names = self._seen.topic_names
            if names:
                resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
                for resource, outcome in (await self.admin.describe_configs(resources)).items():
                    if isinstance(outcome, list):
                        self._seen.on_configs(resource.name, _worth_showing(outcome))
                self._dirty.set()
            known = set(names)
            waited_ms = 0.0
            while waited_ms < self._pace.configs_ms and set(self._seen.topic_names) == known:
                # The first topics are waited for, so that theirs are there with them.
                pause_ms = self._pace.fast_ms if known else _BURST_INTERVAL_S * 1000
                await asyncio.sleep(pause_ms / 1000)
                waited_ms += pause_ms

    # -- one broker

    async def _poll_broker(self, broker_id: int) -> None:
        next_slow_ms = 0.0
        while True:
            began_ms = self._clock.monotonic_ms()
            slow = began_ms >= next_slow_ms
            if slow:
                next_slow_ms = began_ms + self._pace.slow_ms * self._stretch()
            error = await self._ask_broker(broker_id, slow=slow)
            if error and slow:
                next_slow_ms = 0.0
            news = self._seen.on_contact(broker_id, BrokerContact(not error, self._clock.now_ms(), error))
            self._dirty.set()
            if news:
                self.refresh()
            pause_ms = self._pace.fast_ms * self._stretch() - (self._clock.monotonic_ms() - began_ms)
            await self._pause(broker_id, max(pause_ms, self._pace.fast_ms / 4), look=not error)

    async def _pause(self, broker_id: int, pause_ms: float, *, look: bool) -> None:
        """Until the next poll, or until other topics are watched. Half way, what is watched is looked at again."""
        asked_for = self._asked_for
        for _ in range(2):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_ms / 2000):
                    await asked_for.wait()
                return
            if not (look and self._watched):
                continue
            watched = [each for each in self._seen.topic_names if each in self._watched]
            led, held = self._seen.led_by(broker_id, watched), self._seen.replicas_on(broker_id, watched)
            await asyncio.gather(
                _failure(self._ask_high_watermarks, broker_id, led), _failure(self._ask_replicas, broker_id, held)
            )
            look = False
            self._dirty.set()

    async def _ask_broker(self, broker_id: int, *, slow: bool) -> str:
        """Ask one broker what only it can tell; returns why it could not be reached, or nothing."""
        names = self._seen.topic_names
        watched = names if slow else [each for each in names if each in self._watched]
        led, held = self._seen.led_by(broker_id, names), self._seen.replicas_on(broker_id, watched)
        asked = [
            _failure(self._ask_groups, broker_id),
            _failure(self._ask_high_watermarks, broker_id, led),
            _failure(self._ask_replicas, broker_id, held),
        ]
        if slow:
            asked += [_failure(self._ask_log_starts, broker_id, led), _failure(self._ask_log_dirs, broker_id)]
        failures = [each for each in await asyncio.gather(*asked) if each]
        return failures[0] if failures else ""

    async def _offsets(
        self, broker_id: int, partitions: list[TopicPartition], spec: OffsetSpec, replica_id: int
    ) -> dict[TopicPartition, int]:
        found: dict[TopicPartition, int] = {}
        for first in range(0, len(partitions), _PARTITIONS_A_STEP):
            step = dict.fromkeys(partitions[first : first + _PARTITIONS_A_STEP], spec)
            outcomes = await self.admin.list_offsets_of(broker_id, step, replica_id=replica_id)
            found |= {each: outcome.offset for each, outcome in outcomes.items() if isinstance(outcome, OffsetAt)}
        return found

    async def _ask_high_watermarks(self, broker_id: int, partitions: list[TopicPartition]) -> None:
        found = await self._offsets(broker_id, partitions, OffsetSpec.LATEST, _CONSUMER_REPLICA)
        self._seen.on_high_watermarks(found, self._clock.now_ms(), self._clock.monotonic_ms())

    async def _ask_replicas(self, broker_id: int, partitions: list[TopicPartition]) -> None:
        # -2: the answer is the replica's own log end, whoever leads.
        ends = await self._offsets(broker_id, partitions, OffsetSpec.LATEST, -2)
        watched = {each: offset for each, offset in ends.items() if each.topic in self._watched}
        marks: dict[TopicPartition, ReplicaWatermarks] = {}
        if watched:
            with contextlib.suppress(KafkaError, UnsupportedApi):
                outcomes = await self.admin.replica_watermarks_of(broker_id, watched)
                marks = {each: mark for each, mark in outcomes.items() if isinstance(mark, ReplicaWatermarks)}
        self._seen.on_replicas(broker_id, ends, marks, self._clock.now_ms())

    async def _ask_log_starts(self, broker_id: int, partitions: list[TopicPartition]) -> None:
        self._seen.on_log_starts(await self._offsets(broker_id, partitions, OffsetSpec.EARLIEST, _CONSUMER_REPLICA))

    async def _ask_log_dirs(self, broker_id: int) -> None:
        outcome = (await self.admin.describe_log_dirs([broker_id]))[broker_id]
        if not isinstance(outcome, tuple):
            raise outcome
        self._seen.on_log_dirs(broker_id, outcome)

    async def _ask_groups(self, broker_id: int) -> None:
        listed = await self.admin.list_groups_of(broker_id)
        groups = self._seen.groups
        groups.on_listing(broker_id, listed, self._clock.now_ms())
        if not listed:
            return
        types = {each.group_id: each.group_type for each in listed}
        shared = sorted(group_id for group_id, kind in types.items() if kind == "share")
        described, offsets = await asyncio.gather(
            self.admin.describe_groups_of(broker_id, types),
            self._offsets_of_groups(broker_id, sorted(types.keys() - set(shared))),
        )
        self._look_at_share_offsets(broker_id, shared)
        now_ms = self._clock.now_ms()
        for group_id in sorted(types):
            description = described[group_id]
            if isinstance(description, GroupDescription):
                groups.on_described(description, now_ms)
            else:
                groups.on_failed(group_id, str(description))
            if group_id in offsets:
                groups.on_offsets(group_id, offsets[group_id], now_ms, self._seen.log_end_for_consumers)

    async def _offsets_of_groups(
        self, broker_id: int, group_ids: list[str]
    ) -> dict[str, dict[TopicPartition, CommittedOffset]]:
        answers = await self.admin.list_group_offsets_of(broker_id, group_ids) if group_ids else {}
        return {
            group_id: {at: each for at, each in answer.items() if isinstance(each, CommittedOffset)}
            for group_id, answer in answers.items()
            if isinstance(answer, dict)
        }

    def _look_at_share_offsets(self, broker_id: int, group_ids: list[str]) -> None:
        """Ask for the positions of share groups, unless the last question is not answered yet."""
        running = self._share_polls.get(broker_id)
        if group_ids and (running is None or running.done()):
            self._share_polls[broker_id] = asyncio.ensure_future(self._ask_share_offsets(broker_id, group_ids))

    async def _ask_share_offsets(self, broker_id: int, group_ids: list[str]) -> None:
        # The coordinator asks other brokers itself, and one that hangs makes it late: on a connection of its own such
        # an answer keeps none from coming.
        self._share_admin.brokers.learn(self.admin.brokers.nodes)
        answers = await self._share_admin.list_share_group_offsets_of(broker_id, group_ids)
        for group_id, answer in answers.items():
            if isinstance(answer, dict):
                found = {at: each for at, each in answer.items() if isinstance(each, ShareOffset)}
                self._seen.groups.on_share_offsets(group_id, found, self._clock.now_ms())
        self._dirty.set()


async def _failure(ask: Callable[..., Awaitable[None]], *arguments: Any) -> str:
    """Why the broker could not be reached. A refusal is an answer, and so is an API that it has not."""
    try:
        await ask(*arguments)
    except (KafkaError, UnsupportedApi):
        return ""
    except ClientError as error:
        return str(error)
    return ""


def _worth_showing(entries: Iterable[ConfigEntry]) -> dict[str, str]:
    return {
        each.name: each.value
        for each in entries
        if each.value is not None
        and (each.source is ConfigSource.DYNAMIC_TOPIC_CONFIG or each.name == "min.insync.replicas")
    }
