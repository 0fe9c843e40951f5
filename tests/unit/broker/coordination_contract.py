"""What every :class:`engine.broker.coordination.Coordinator` promises, asked of whole brokers.

The same functions run on the quorum (tests/sim/test_coordination_on_quorum.py) and on ZooKeeper
(tests/integration/test_coordination_on_zookeeper.py); each makes a :class:`CoordinatedCluster` of its own.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from engine.broker.broker import Broker
from engine.broker.metadata_listener import MetadataListener
from engine.broker.quorum.batches import encode_records
from engine.core.raft.identity import OffsetAndEpoch
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.message import Message
from engine.wire.messages.allocate_producer_ids_request import AllocateProducerIdsRequest
from engine.wire.messages.config_record import ConfigRecord

NODES = (1, 2, 3)
# Configs of groups need no group.
_GROUP = 32
# More than either log keeps for those who come late.
_MORE_THAN_IS_KEPT = 600
_BURST = 1000


@dataclass
class Append:
    """A batch that a test proposed, and what became of it."""

    name: str
    offset: int | None = None
    committed: bool = False
    error: KafkaError | None = None

    @property
    def is_settled(self) -> bool:
        return self.committed or self.error is not None


@dataclass
class Journal:
    """What the brokers' coordinators told: each life of a broker has a list of its own."""

    # by node and life: offset of the first record, epoch, records
    committed: dict[tuple[int, int], list[tuple[int, int, tuple[bytes, ...]]]] = field(default_factory=dict)
    # node and epoch of each that was told to lead, in the order of time
    led: list[tuple[int, int]] = field(default_factory=list)
    # The listeners themselves are kept, so that no later one has the number of an earlier.
    _lives: dict[int, tuple[int, MetadataListener]] = field(default_factory=dict)

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        """Write down all that is told from now on."""
        on_committed, on_leader, on_snapshot = (
            MetadataListener.on_committed,
            MetadataListener.on_leader_changed,
            MetadataListener.on_snapshot_loaded,
        )

        def committed(told: MetadataListener, base: int, epoch: int, time_ms: int, records: list[Message]) -> None:
            if records:
                self._of(told).append((base, epoch, tuple(encode_records(records))))
            on_committed(told, base, epoch, time_ms, records)

        def leader(told: MetadataListener, leader_id: int | None, epoch: int, became: bool, start: int) -> None:
            if became:
                self.led.append((told._broker.config.node_id, epoch))
            on_leader(told, leader_id, epoch, became, start)

        def snapshot(told: MetadataListener, snapshot_id: OffsetAndEpoch, records: list[Message]) -> None:
            self._of(told)
            on_snapshot(told, snapshot_id, records)

        patch.setattr(MetadataListener, "on_committed", committed)
        patch.setattr(MetadataListener, "on_leader_changed", leader)
        patch.setattr(MetadataListener, "on_snapshot_loaded", snapshot)

    def _of(self, told: MetadataListener) -> list[tuple[int, int, tuple[bytes, ...]]]:
        life, _ = self._lives.setdefault(id(told), (len(self._lives), told))
        return self.committed.setdefault((told._broker.config.node_id, life), [])

    def check_that_all_were_told_the_same(self) -> None:
        """Whoever was told of an offset, in whatever life, was told the same of it; nobody was told backwards."""
        known: dict[int, tuple[int, tuple[bytes, ...]]] = {}
        for life, told in self.committed.items():
            bases = [base for base, _, _ in told]
            assert bases == sorted(set(bases)), f"{life} was told out of order: {bases}"
            for base, epoch, records in told:
                assert known.setdefault(base, (epoch, records)) == (epoch, records), f"{life} differs at {base}"


class CoordinatedCluster(ABC):
    """Three brokers, each of which may become the controller, under one kind of coordination."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    # -- of the kind --------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def brokers(self) -> dict[int, Broker]:
        """Those that run, and serve or are about to."""

    @abstractmethod
    async def start(self, node_id: int) -> None:
        """Start a broker that does not run; return when it serves."""

    @abstractmethod
    async def kill(self, node_id: int) -> None:
        """SIGKILL."""

    @abstractmethod
    async def deafen(self, node_id: int) -> None:
        """From now on the node hears nothing of the others, nor they of it, until :meth:`heal`: if it is the
        controller, it goes on to believe so, and is replaced."""

    @abstractmethod
    async def heal(self) -> None:
        """The network is whole."""

    @abstractmethod
    async def lose_session(self, node_id: int) -> None:
        """The node's session with the coordination lapses, though the process lives: all hear of it."""

    @abstractmethod
    def run_on(self, node_id: int, work: Coroutine[Any, Any, None]) -> None:
        """Run as a part of this broker; it ends with it."""

    @abstractmethod
    async def ask(self, node_id: int, request: Message, version: int) -> Any:
        """A controller's answer, on its own listener."""

    # -- of all -------------------------------------------------------------------------------------------------

    async def until(self, holds: Callable[[], Any], what: str, timeout_s: float = 30) -> Any:
        """Wait for something, looking often."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while not (value := holds()):
            assert loop.time() < deadline, f"not within {timeout_s} s: {what}"
            await asyncio.sleep(0.003)
        return value

    async def controller(self, *, besides: int | None = None) -> int:
        """The node of the active controller, when there is one; of two that believe to be, the later."""

        def active() -> list[tuple[int, int]]:
            return [
                (broker.coordinator.leader_and_epoch.epoch, node_id)
                for node_id, broker in self.brokers.items()
                if node_id != besides and broker.controller is not None and broker.controller.is_active
            ]

        found: list[tuple[int, int]] = await self.until(active, f"a controller besides {besides}")
        return max(found)[1]

    def append(self, node_id: int, name: str, *, epoch: int | None = None, value: str = "x") -> Append:
        """Propose a batch of three records on a node, in its epoch unless another is given."""
        done = Append(name)
        coordinator = self.brokers[node_id].coordinator
        in_epoch = coordinator.leader_and_epoch.epoch if epoch is None else epoch
        records: list[Message] = [ConfigRecord(_GROUP, f"{name}-{part}", "contract", value) for part in range(3)]

        async def propose() -> None:
            try:
                done.offset = coordinator.propose(records, epoch=in_epoch)
                await coordinator.wait_committed(done.offset, in_epoch)
                done.committed = True
            except KafkaError as error:
                done.error = error

        self.run_on(node_id, propose())
        return done

    def seen(self, node_id: int, name: str, value: str = "x") -> int:
        """How many records of a batch a broker's metadata has."""
        configs = self.brokers[node_id].metadata.image.configs
        return sum(configs.get((_GROUP, f"{name}-{part}")) == {"contract": value} for part in range(3))

    async def settle(self) -> None:
        """Wait until all that run have applied the same; then their metadata must be the same."""
        while True:
            leader = await self.controller()
            last = self.append(leader, "settled")
            await self.until(lambda last=last: last.is_settled, "the last append is settled")  # type: ignore[misc]
            if last.committed:
                break

        def is_level() -> bool:
            offsets = {broker.metadata.image.offset for broker in self.brokers.values()}
            return len(offsets) == 1 and max(offsets) >= (last.offset or 0)

        await self.until(is_level, "all have applied the same")
        images = {
            node_id: sorted(map(repr, broker.metadata.image.to_records())) for node_id, broker in self.brokers.items()
        }
        for node_id, records in images.items():
            only_one = set(records) ^ set(images[leader])
            assert not only_one, f"{node_id} and {leader} differ: {sorted(only_one)[:6]}"
        self.journal.check_that_all_were_told_the_same()


# ── The contract ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def there_is_one_controller_an_epoch_and_epochs_grow(cluster: CoordinatedCluster) -> None:
    for _ in range(2):
        leader = await cluster.controller()
        await cluster.kill(leader)
        await cluster.controller()
        await cluster.start(leader)
    deaf = await cluster.controller()
    await cluster.deafen(deaf)
    await cluster.controller(besides=deaf)
    await cluster.heal()
    await cluster.settle()
    lapsed = await cluster.controller()
    await cluster.lose_session(lapsed)
    await cluster.settle()
    epochs = [epoch for _, epoch in cluster.journal.led]
    assert len(epochs) >= 5
    assert epochs == sorted(set(epochs)), cluster.journal.led


async def an_old_epochs_append_is_refused_and_never_seen(cluster: CoordinatedCluster) -> None:
    old = await cluster.controller()
    old_epoch = cluster.brokers[old].coordinator.leader_and_epoch.epoch
    await cluster.deafen(old)
    # In time, perhaps; nobody tells it.
    early = cluster.append(old, "early")
    new = await cluster.controller(besides=old)
    fresh = cluster.append(new, "fresh")
    await cluster.until(lambda: fresh.committed, "the new controller's append")
    # Too late, whatever it believes.
    stale = cluster.append(old, "stale", epoch=old_epoch)
    await asyncio.sleep(0)
    assert early.offset is not None and not early.is_settled
    await cluster.heal()
    await cluster.until(lambda: early.is_settled and stale.is_settled, "the old controller hears")
    assert stale.error is not None and stale.error.code is ErrorCode.NOT_CONTROLLER
    new = await cluster.controller()
    for node_id, epoch in ((old, old_epoch), (new, old_epoch), (new, old_epoch + 100)):
        again = cluster.append(node_id, "again", epoch=epoch)
        await cluster.until(lambda again=again: again.is_settled, "it is refused")  # type: ignore[misc]
        assert again.error is not None and again.error.code is ErrorCode.NOT_CONTROLLER, (node_id, epoch)
    await cluster.settle()
    seen = [{name: cluster.seen(node_id, name) for name in ("early", "fresh", "stale", "again")} for node_id in NODES]
    kept = seen[0]["early"]
    assert kept == 3 or (kept == 0 and not early.committed)
    assert seen == [{"early": kept, "fresh": 3, "stale": 0, "again": 0}] * 3


async def what_was_committed_stays_and_a_batch_is_there_whole_or_not_at_all(cluster: CoordinatedCluster) -> None:
    rounds = []
    for committed_before_the_kill in (0, 1, 7):
        leader = await cluster.controller()
        appends = [cluster.append(leader, f"after-{committed_before_the_kill}-{number}") for number in range(20)]
        wanted = appends[committed_before_the_kill]
        await cluster.until(
            lambda wanted=wanted, at_once=committed_before_the_kill == 0: wanted.committed or at_once,  # type: ignore[misc]
            "as many are committed as are wanted",
        )
        await cluster.kill(leader)
        rounds.append((appends, {each.name for each in appends if each.committed}))
        await cluster.controller()
        await cluster.start(leader)
    await cluster.settle()
    for appends, committed in rounds:
        seen = [{cluster.seen(node_id, each.name) for node_id in NODES} for each in appends]
        assert all(each in ({0}, {3}) for each in seen), seen
        # in order: none is there whose predecessor is not
        assert seen == sorted(seen, key=max, reverse=True)
        assert all(seen[number] == {3} for number, each in enumerate(appends) if each.name in committed)


async def what_others_replay_is_the_same_whenever_they_come(cluster: CoordinatedCluster) -> None:
    for number in range(4):
        leader = await cluster.controller()
        follower = next(node_id for node_id in NODES if node_id != leader)
        await cluster.kill(follower)
        appends = [cluster.append(leader, f"while-{number}-{each}", value=str(each)) for each in range(10)]
        await cluster.until(lambda appends=appends: all(each.committed for each in appends), "all are committed")  # type: ignore[misc]
        await cluster.start(follower)
    await cluster.settle()


async def a_broker_whose_session_ended_is_told_down_and_comes_back_with_a_higher_epoch(
    cluster: CoordinatedCluster,
) -> None:
    leader = await cluster.controller()
    killed, cut_off = (node_id for node_id in NODES if node_id != leader)

    def registration(of: int, at: int) -> Any:
        return cluster.brokers[at].metadata.image.brokers[of]

    before = registration(killed, leader).broker_epoch
    await cluster.kill(killed)
    for witness in (leader, cut_off):
        await cluster.until(lambda at=witness: registration(killed, at).fenced, f"{witness} is told that it is down")  # type: ignore[misc]
    await cluster.start(killed)
    for witness in NODES:
        await cluster.until(lambda at=witness: not registration(killed, at).fenced, f"{witness} is told that it is up")  # type: ignore[misc]
        assert registration(killed, witness).broker_epoch > before

    epoch = registration(cut_off, leader).broker_epoch
    losing = asyncio.ensure_future(cluster.lose_session(cut_off))
    await cluster.until(lambda: registration(cut_off, killed).fenced, "a session that lapses fences as well")
    await losing
    await cluster.until(lambda: not registration(cut_off, killed).fenced, "it is back")
    assert registration(cut_off, killed).broker_epoch >= epoch
    await cluster.settle()


async def requests_of_an_earlier_life_are_refused(cluster: CoordinatedCluster) -> None:
    leader = await cluster.controller()
    other = next(node_id for node_id in NODES if node_id != leader)
    before = cluster.brokers[leader].metadata.image.brokers[other].broker_epoch
    await cluster.kill(other)
    await cluster.start(other)
    leader = await cluster.controller()
    now = cluster.brokers[leader].metadata.image.brokers[other].broker_epoch
    for epoch, code in ((before, ErrorCode.STALE_BROKER_EPOCH), (now, ErrorCode.NONE)):
        response = await cluster.ask(leader, AllocateProducerIdsRequest(other, epoch), 0)
        assert ErrorCode(response.error_code) is code, (epoch, now)


async def who_missed_more_than_is_kept_has_it_all_the_same(cluster: CoordinatedCluster) -> None:
    leader = await cluster.controller()
    late = next(node_id for node_id in NODES if node_id != leader)
    await cluster.kill(late)
    appends: list[Append] = []
    for number in range(_MORE_THAN_IS_KEPT):
        appends.append(cluster.append(leader, f"missed-{number % 50}", value=str(number)))
        if number % 100 == 99:
            await cluster.until(lambda: all(each.committed for each in appends), "all are committed")
    base = appends[0].offset or 0
    await cluster.start(late)
    await cluster.settle()
    # by the whole, not by each batch
    (_, told), *_ = sorted(
        ((life, told) for (node_id, life), told in cluster.journal.committed.items() if node_id == late), reverse=True
    )
    assert told[0][0] > base, "it was told of everything that it had missed, one by one"


async def who_comes_while_others_write_is_level_with_them(cluster: CoordinatedCluster) -> None:
    leader = await cluster.controller()
    late = next(node_id for node_id in NODES if node_id != leader)
    await cluster.kill(late)
    appends = [cluster.append(leader, f"before-{number}") for number in range(300)]
    await cluster.until(lambda: all(each.committed for each in appends), "all are committed")

    written = 0
    coordinator = cluster.brokers[leader].coordinator
    epoch = coordinator.leader_and_epoch.epoch

    async def write() -> None:
        nonlocal written
        while not is_level.is_set():
            record = ConfigRecord(_GROUP, f"meanwhile-{written % 20}", "contract", str(written))
            await coordinator.wait_committed(coordinator.propose([record], epoch=epoch), epoch)
            written += 1

    is_level = asyncio.Event()
    cluster.run_on(leader, write())
    await cluster.until(lambda: written > 20, "somebody writes")
    before = written
    await cluster.start(late)
    is_level.set()
    assert written > before
    await cluster.settle()


async def of_a_burst_everybody_sees_the_end(cluster: CoordinatedCluster) -> None:
    leader = await cluster.controller()
    appends = [cluster.append(leader, f"burst-{number % 10}", value=str(number)) for number in range(_BURST)]
    await cluster.until(lambda: all(each.is_settled for each in appends), "all are settled", timeout_s=60)
    assert {each.error for each in appends} == {None}
    await cluster.until(
        lambda: all(
            cluster.seen(node_id, f"burst-{last % 10}", str(last)) == 3
            for node_id in NODES
            for last in range(_BURST - 10, _BURST)
        ),
        "everybody sees the last values",
    )
    await cluster.settle()


async def blocks_of_producer_ids_never_overlap(cluster: CoordinatedCluster) -> None:
    given: list[tuple[int, int]] = []
    for _ in range(3):
        leader = await cluster.controller()
        image = cluster.brokers[leader].metadata.image
        answers = await asyncio.gather(
            *(
                cluster.ask(leader, AllocateProducerIdsRequest(node_id, image.brokers[node_id].broker_epoch), 0)
                for node_id in NODES
                for _ in range(3)
            )
        )
        given += [(each.producer_id_start, each.producer_id_start + each.producer_id_len) for each in answers]
        assert {each.error_code for each in answers} == {0}
        await cluster.kill(leader)
        await cluster.controller()
        await cluster.start(leader)
        await cluster.settle()
    given.sort()
    assert len(given) == 27 and all(low < high for low, high in given)
    assert all(one[1] <= other[0] for one, other in pairwise(given)), given


CONTRACT: list[Callable[[CoordinatedCluster], Awaitable[None]]] = [
    there_is_one_controller_an_epoch_and_epochs_grow,
    an_old_epochs_append_is_refused_and_never_seen,
    what_was_committed_stays_and_a_batch_is_there_whole_or_not_at_all,
    what_others_replay_is_the_same_whenever_they_come,
    a_broker_whose_session_ended_is_told_down_and_comes_back_with_a_higher_epoch,
    requests_of_an_earlier_life_are_refused,
    who_missed_more_than_is_kept_has_it_all_the_same,
    who_comes_while_others_write_is_level_with_them,
    of_a_burst_everybody_sees_the_end,
    blocks_of_producer_ids_never_overlap,
]
