"""The workload's consumers: a reader that seeks, members of groups, one that commits without being a member."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from engine.model.errors import ErrorCode
from engine.sim.clients import SimClient, Unavailable
from engine.sim.consumer import SimMember, SimReader
from engine.sim.consumer_member import SimConsumerMember
from engine.sim.ledger import partition_name

if TYPE_CHECKING:
    from engine.sim.workload import Workload

_READ = ("safe", "unsafe", "moving")
GROUP_TOPIC = "safe"


class SeekingReader:
    """Reads assigned partitions, and goes back and forth in them."""

    def __init__(self, workload: Workload, client: SimClient, rng: random.Random) -> None:
        self._workload = workload
        self._rng = rng
        self._recorder = workload.ledger.client(client.name)
        self._name = client.name
        workload.expect(client.name)
        self._reader = SimReader(client, read_committed=rng.random() < 0.5, recorder=self._recorder)

    async def run(self) -> None:
        """Until the workload stops."""
        workload, rng, reader = self._workload, self._rng, self._reader
        while not workload.stopping:
            every = [(topic, number) for topic in _READ for number in range(workload.partitions(topic))]
            chosen = [each for each in every if rng.random() < 0.7] or every
            reader.positions = dict.fromkeys(chosen, 0)
            self._recorder.assign({partition_name(each): "beginning" for each in chosen})
            for _ in range(rng.randrange(20, 200)):
                if workload.stopping:
                    return
                if await reader.poll():
                    workload.progressed(self._name)
                else:
                    await asyncio.sleep(0.05)
                workload.done["poll"] += 1
                if rng.random() < 0.1:
                    self._seek(rng.choice(chosen))
                if workload.is_light:
                    await workload.rest(0.05)

    def _seek(self, each: tuple[str, int]) -> None:
        """Anywhere in what was committed: more often a little back than far."""
        reader, rng = self._reader, self._rng
        end = max(reader.high_watermarks.get(each, 0), reader.positions[each])
        kind = rng.random()
        if kind < 0.5:
            target = max(0, reader.positions[each] - rng.randrange(50))
        elif kind < 0.8:
            target = rng.randint(0, end)
        else:
            target = end
        reader.positions[each] = target
        self._recorder.seek({partition_name(each): target})
        self._workload.done["seek"] += 1


class GroupMember:
    """A member of a group; now and then it leaves, or vanishes without a word."""

    def __init__(
        self, workload: Workload, client: SimClient, rng: random.Random, group_id: str, instance_id: str | None
    ) -> None:
        self._workload = workload
        self._client = client
        self._rng = rng
        self._group_id = group_id
        self._instance_id = instance_id
        self._recorder = workload.ledger.client(client.name)
        self._member = self._new_member()
        for number in range(workload.partitions(GROUP_TOPIC)):
            workload.expect(f"group {group_id} in {GROUP_TOPIC}-{number}")
        workload.members.append(self)

    @property
    def _joined(self) -> str:
        return "join static" if self._instance_id else "join"

    @property
    def group_id(self) -> str:
        """Its group."""
        return self._group_id

    @property
    def owned(self) -> list[tuple[str, int]] | None:
        """Its partitions; None while it is in no generation."""
        return self._member.assignment if self._member.in_group else None

    def _new_member(self) -> SimMember:
        return SimMember(
            self._client,
            self._group_id,
            {GROUP_TOPIC: self._workload.partitions(GROUP_TOPIC)},
            session_timeout_ms=30_000 if self._workload.is_light else 6_000,
            instance_id=self._instance_id,
            recorder=self._recorder,
        )

    async def run(self) -> None:
        """Until the workload stops."""
        workload, rng = self._workload, self._rng
        while not workload.stopping:
            member = self._member
            try:
                if not member.in_group:
                    if not await member.join():
                        await asyncio.sleep(0.1)
                        continue
                    workload.done[self._joined] += 1
                    await self._resume_at_committed()
                    continue
                await self._turn()
                if rng.random() < 0.01 and not workload.calm:
                    if rng.random() < 0.5 and self._instance_id is None:
                        await member.leave()
                    else:
                        self._member = self._new_member()
                    await asyncio.sleep(rng.uniform(0, 4))
            except Unavailable:
                await asyncio.sleep(0.1)

    async def _resume_at_committed(self) -> None:
        member = self._member
        committed = await member.committed()
        if committed is None:
            member.in_group = False
            return
        member.reader.positions = {each: max(0, offset) for each, offset in committed.items()}

    async def _turn(self) -> None:
        member, workload = self._member, self._workload
        await member.reader.poll(max_wait_ms=100)
        await member.heartbeat_if_due()
        if not member.in_group or not member.reader.positions:
            await asyncio.sleep(0.05)
            return
        if self._rng.random() < 0.004 and not workload.calm:
            # It stands still for so long that others get its partitions, and commits all the same.
            await asyncio.sleep(self._rng.uniform(4, 9))
        positions = dict(member.reader.positions)
        code = await member.commit(positions)
        if code is ErrorCode.NONE:
            for topic, number in positions:
                workload.progressed(f"group {self._group_id} in {topic}-{number}")
        if code is None or code is ErrorCode.NONE:
            workload.done["commit" if code is ErrorCode.NONE else "commit info"] += 1
        if workload.is_light:
            await workload.rest(0.05)


class ConsumerGroupMember(GroupMember):
    """A member of a group of the consumer protocol (KIP-848); each life of it has another member id."""

    def __init__(
        self, workload: Workload, client: SimClient, rng: random.Random, group_id: str, instance_id: str | None
    ) -> None:
        self._lives = 0
        super().__init__(workload, client, rng, group_id, instance_id)

    def _new_member(self) -> SimConsumerMember:
        self._lives += 1
        return SimConsumerMember(
            self._client,
            self._group_id,
            {GROUP_TOPIC: self._workload.partitions(GROUP_TOPIC)},
            member_id=f"{self._client.name}-{self._lives}",
            instance_id=self._instance_id,
            recorder=self._recorder,
        )

    @property
    def _joined(self) -> str:
        return "join consumer static" if self._instance_id else "join consumer"

    async def _resume_at_committed(self) -> None:
        member = self._member
        assert isinstance(member, SimConsumerMember)
        if not member.has_changed or not member.assignment:
            return
        committed = await member.committed()
        if committed is not None and set(committed) == set(member.assignment):
            member.has_changed = False
            member.reader.positions = {each: max(0, offset) for each, offset in committed.items()}

    async def _turn(self) -> None:
        await self._resume_at_committed()
        await super()._turn()


class LoneCommitter:
    """Assigns partitions to itself, and commits to a group that has no members."""

    def __init__(self, workload: Workload, client: SimClient, rng: random.Random) -> None:
        self._workload = workload
        self._client = client
        self._rng = rng
        self._recorder = workload.ledger.client(client.name)

    async def run(self) -> None:
        """Until the workload stops: from what was committed on, and from there again."""
        workload, rng = self._workload, self._rng
        while not workload.stopping:
            member = SimMember(self._client, "lone", {GROUP_TOPIC: 1}, recorder=self._recorder)
            member.assignment = [(GROUP_TOPIC, 0)]
            committed = await member.committed()
            if committed is None:
                await asyncio.sleep(0.2)
                continue
            member.reader.positions = {each: max(0, offset) for each, offset in committed.items()}
            self._recorder.assign({partition_name(each): at for each, at in member.reader.positions.items()})
            for _ in range(rng.randrange(1, 40)):
                if workload.stopping:
                    return
                await member.reader.poll(max_wait_ms=100)
                code = await member.commit(dict(member.reader.positions))
                workload.done["lone commit" if code is ErrorCode.NONE else "lone commit refused"] += 1
                await workload.rest(rng.uniform(0, 0.3))
