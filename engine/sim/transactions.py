"""The workload's transactions: producers that fence each other, commit, abort and vanish; movers that copy exactly
once.

What is judged:

T3  by what clients are told (:class:`~engine.sim.told.Told`): nothing of a producer is taken that was sent after
    another one of its transactional id was initialized.
T4  by the movers: the copies in their topic are those of the records before the group's positions, each once, in
    order.
T5  by the history: a reader of what is committed sees no record of a transaction that was aborted, or is not yet
    committed.
T6  by all of these, while the network holds and repeats the requests of transactions that are over.
T7  at the end: every transaction has ended, readers of what is committed come to the end of the log.
T8  by what clients are told.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from engine.model.errors import ErrorCode
from engine.sim.clients import SimClient, Unavailable
from engine.sim.consumer import Polled, SimReader
from engine.sim.ledger import partition_name
from engine.sim.transactional_producer import Answered, Fate, TransactionalProducer
from engine.sim.violation import Violation
from engine.wire.messages.offset_fetch_request import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
)

if TYPE_CHECKING:
    from engine.sim.history_recorder import PendingSend
    from engine.sim.workload import Workload

TXN_TOPIC, MOVED_TOPIC = "transactional", "moved"
TXN_PARTITIONS = 3
SOURCE_TOPIC = "safe"
# Clients whose names begin so speak the protocol of transactions: the network's faults know them by that.
PREFIX = "transact"
_MOVER_GROUP = "movers"
_OFFSET_FETCH_VERSION = 8
_TIMEOUT_MS, _LIGHT_TIMEOUT_MS = 6_000, 30_000
_MOST_MOVED = 50
# Whoever waits for so long for a transaction's end has been forgotten.
_ENDS_WITHIN_S = 60.0

Partition = tuple[str, int]


def configs(voters: int) -> dict[str, int]:
    """What brokers are to do, of which so many are there from the beginning."""
    return {
        "transaction.state.log.num.partitions": 3,
        "transaction.state.log.replication.factor": min(3, voters),
        "transaction.state.log.min.isr": min(2, voters),
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1_000,
    }


def _producer(workload: Workload, client: SimClient, transactional_id: str) -> TransactionalProducer:
    return TransactionalProducer(
        client,
        transactional_id,
        timeout_ms=_LIGHT_TIMEOUT_MS if workload.is_light else _TIMEOUT_MS,
        keyed=workload.options.compacted,
    )


class Transactor:
    """Sends to some partitions in transactions, which it commits, aborts, or leaves open. Two share a transactional id:
    each fences the other when it begins."""

    def __init__(self, workload: Workload, client: SimClient, rng: random.Random, transactional_id: str) -> None:
        self._workload = workload
        self._rng = rng
        self._name = client.name
        self._recorder = workload.ledger.client(client.name)
        self.producer = _producer(workload, client, transactional_id)
        self._count = 0
        self._values = 0
        # One of those who fence each other: where the load is light the turn of each comes seldom.
        workload.expect(self._who)

    @property
    def _who(self) -> str:
        return f"transactional id {self.producer.transactional_id}"

    async def run(self) -> None:
        """Until the workload stops; one life after the other."""
        workload, rng = self._workload, self._rng
        while not workload.stopping:
            if not await self.producer.init(5.0):
                await asyncio.sleep(0.2)
                continue
            self._recorder.start()
            workload.done["transactional life"] += 1
            for _ in range(rng.randint(1, 12)):
                if workload.stopping or not await self._transaction():
                    break
                await workload.rest(rng.choice((0.02, 0.1, 0.5)))
            # The other one's turn; or this one's again, which then is fenced by nobody.
            await asyncio.sleep(rng.choice((0.0, 0.5, 3.0)))

    async def _transaction(self) -> bool:
        """Whether this life goes on."""
        workload, rng = self._workload, self._rng
        self._count += 1
        txn = f"t{self._count}"
        is_whole = True
        for _ in range(rng.choice((1, 2, 3, 5))):
            each = (TXN_TOPIC, rng.randrange(TXN_PARTITIONS))
            answered = await self._send(txn, each)
            if answered.fate is not Fate.OK:
                if answered.is_fenced:
                    workload.done["fenced"] += 1
                    return False
                is_whole = False
                break
        if rng.random() < 0.06:
            workload.done["left open"] += 1
            return False
        return await self._end(txn, commit=is_whole and rng.random() < 0.7)

    async def _send(self, txn: str, each: Partition) -> Answered:
        values = []
        for _ in range(self._rng.choice((1, 1, 4))):
            self._values += 1
            values.append(f"{self._name} {self._values} {txn}".encode())
        sends = [
            self._recorder.send(partition_name(each), value.decode(), acks="all", idempotent=True, txn=txn)
            for value in values
        ]
        answered, offset = await self.producer.send(each, values, 6.0)
        settle(sends, answered, offset)
        self._workload.done[f"txn send {answered.fate.value}"] += 1
        return answered

    async def _end(self, txn: str, *, commit: bool) -> bool:
        workload = self._workload
        ending = self._recorder.end_txn(txn, commit=commit)
        answered = await self.producer.end(commit, 10.0)
        match answered.fate:
            case Fate.OK:
                ending.ok()
            case Fate.REFUSED:
                ending.fail(answered.code.name)
            case Fate.UNKNOWN:
                ending.info(answered.code.name)
        workload.done[f"{'commit' if commit else 'abort'} of a transaction {answered.fate.value}"] += 1
        if answered.fate is Fate.OK and commit:
            workload.progressed(self._who)
        return answered.fate is Fate.OK


def settle(sends: list[PendingSend], answered: Answered, offset: int) -> None:
    """What became of the records of a batch."""
    for at, send in enumerate(sends):
        match answered.fate:
            case Fate.OK:
                send.ok(offset + at if offset >= 0 else None)
            case Fate.REFUSED:
                send.fail(answered.code.name)
            case Fate.UNKNOWN:
                send.info(answered.code.name)


class Mover:
    """Copies what others write, and commits its positions with the copies. Two share a transactional id and a group."""

    def __init__(self, workload: Workload, client: SimClient, rng: random.Random) -> None:
        self._workload = workload
        self._client = client
        self._rng = rng
        self._name = client.name
        self._recorder = workload.ledger.client(client.name)
        self._producer = _producer(workload, client, "mover")
        self._reader = SimReader(client)
        self._count = 0
        workload.expect("the movers")

    async def run(self) -> None:
        """Until the workload stops; one life after the other."""
        workload, rng = self._workload, self._rng
        while not workload.stopping:
            if not await self._producer.init(5.0):
                await asyncio.sleep(0.2)
                continue
            self._recorder.start()
            for _ in range(rng.randint(3, 60)):
                if workload.stopping or not await self._turn():
                    break
                await workload.rest(rng.choice((0.02, 0.1, 0.5)))
            await asyncio.sleep(rng.choice((0.0, 0.5, 3.0)))

    async def _turn(self) -> bool:
        """Copy a little of one partition; whether this life goes on."""
        workload, rng = self._workload, self._rng
        number = rng.randrange(workload.partitions(SOURCE_TOPIC))
        source = (SOURCE_TOPIC, number)
        position = (await committed_by_movers(self._client, [number])).get(number)
        if position is None:
            await asyncio.sleep(0.1)
            return True
        self._reader.positions = {source: position}
        found = (await self._reader.poll(max_wait_ms=50))[:_MOST_MOVED]
        if not found:
            return True
        self._count += 1
        txn = f"m{self._count}"
        each = (MOVED_TOPIC, number)
        values = [f"{record.offset} {self._name} {self._count}".encode() for record in found]
        sends = [
            self._recorder.send(partition_name(each), value.decode(), acks="all", idempotent=True, txn=txn)
            for value in values
        ]
        answered, offset = await self._producer.send(each, values, 6.0)
        settle(sends, answered, offset)
        if answered.is_fenced:
            return False
        is_whole = answered.fate is Fate.OK
        if is_whole:
            code = await self._producer.send_offsets(_MOVER_GROUP, {source: found[-1].offset + 1}, 6.0)
            is_whole = code is ErrorCode.NONE
            workload.done[f"txn offsets {'ok' if is_whole else 'refused'}"] += 1
        commit = is_whole and rng.random() < 0.8
        ending = self._recorder.end_txn(txn, commit=commit)
        ended = await self._producer.end(commit, 10.0)
        if ended.fate is Fate.OK:
            ending.ok()
            if commit:
                workload.progressed("the movers")
                workload.done["move"] += len(found)
        elif ended.fate is Fate.REFUSED:
            ending.fail(ended.code.name)
        else:
            ending.info(ended.code.name)
        return ended.fate is Fate.OK


async def committed_by_movers(client: SimClient, numbers: list[int]) -> dict[int, int]:
    """Positions of the movers' group that no open transaction is about to change, 0 for none; those that could be
    had."""
    topic = OffsetFetchRequestTopics(name=SOURCE_TOPIC, partition_indexes=numbers)
    group = OffsetFetchRequestGroup(group_id=_MOVER_GROUP, topics=[topic])
    request = OffsetFetchRequest(groups=[group], require_stable=True)
    try:
        coordinator = await client.coordinator(_MOVER_GROUP)
        answer = await client.ask(coordinator, request, _OFFSET_FETCH_VERSION, 3.0)
    except Unavailable:
        return {}
    (found,) = answer.groups
    if found.error_code:
        return {}
    return {
        each.partition_index: max(0, each.committed_offset)
        for topic in found.topics
        for each in topic.partitions
        if not each.error_code
    }


class CommittedReader:
    """Reads what is committed, all the time."""

    def __init__(self, workload: Workload, client: SimClient, rng: random.Random) -> None:
        self._workload = workload
        self._rng = rng
        self._name = client.name
        self._recorder = workload.ledger.client(client.name)
        self._reader = SimReader(client, read_committed=True, recorder=self._recorder)
        workload.expect(client.name)

    async def run(self) -> None:
        """Until the workload stops."""
        workload, rng, reader = self._workload, self._rng, self._reader
        every = [(topic, number) for topic in (TXN_TOPIC, MOVED_TOPIC) for number in range(TXN_PARTITIONS)]
        while not workload.stopping:
            reader.positions = dict.fromkeys(every, 0)
            self._recorder.assign({partition_name(each): "beginning" for each in every})
            for _ in range(rng.randrange(20, 300)):
                if workload.stopping:
                    return
                if await reader.poll(max_wait_ms=100):
                    workload.progressed(self._name)
                workload.done["poll committed"] += 1
                await workload.rest(0.1)


# -- the end ----------------------------------------------------------------------------------------------------------


def check_moved(number: int, position: int, source: list[Polled], moved: list[Polled]) -> None:
    """T4: what was copied of a partition is what stands before the group's position. Raises: Violation."""
    expected = [each.offset for each in source if each.offset < position]
    copied = [int(each.value.split()[0]) for each in moved]
    if copied == expected:
        return
    at = next((at for at, pair in enumerate(zip(copied, expected, strict=False)) if pair[0] != pair[1]), None)
    at = min(len(copied), len(expected)) if at is None else at
    raise Violation(
        "T4",
        f"the movers' position in {SOURCE_TOPIC}-{number} is {position}, and of the {len(expected)} records before it "
        f"{len(copied)} were copied; copy {at} is of {copied[at : at + 3]}, expected was {expected[at : at + 3]}",
    )


async def wait_until_all_ended(workload: Workload) -> None:
    """T7: no coordinator knows of a transaction that has not ended. Raises: Violation."""
    loop = workload.cluster.loop
    patience_s = _ENDS_WITHIN_S + (_LIGHT_TIMEOUT_MS if workload.is_light else 0) / 1000
    deadline = loop.time() + patience_s
    while (open_ones := _open_transactions(workload)) is None or open_ones:
        if loop.time() > deadline:
            raise Violation("T7", f"{patience_s:.0f} s after the last request: {open_ones}")
        await asyncio.sleep(0.25)


def _open_transactions(workload: Workload) -> list[str] | None:
    """None while some coordinator is not loaded."""
    found = []
    for machine in workload.cluster.machines.values():
        broker = machine.broker
        if broker is None:
            return None
        runtime = broker.transactions.runtime
        if runtime.is_loading():
            return None
        for number in runtime.active_partitions():
            for each in runtime.shard(number).transactions.values():
                if each.partitions:
                    found.append(f"{each.transactional_id} is {each.state.name} in {sorted(each.partitions)}")
    return found
