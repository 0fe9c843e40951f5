"""A distributed worker's share of the work: rounds of the group, and what follows from each.

Rounds are Kafka's incremental cooperative ones (KIP-415): what a worker has goes on while the group is in a round.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from engine.client.group_channel import GroupChannel
from engine.connect.errors import ConnectError
from engine.connect.runtime.assignor import IncrementalCooperativeAssignor
from engine.connect.runtime.group_member import CoordinatorLost, GroupMember, Joined
from engine.connect.runtime.group_protocol import (
    COMPATIBLE,
    CONFIG_MISMATCH,
    NO_ERROR,
    NO_WORK,
    SESSIONED,
    VERSIONS,
    Assignment,
    ProtocolError,
    Work,
    WorkerState,
    decode_assignment,
    decode_state,
    encode_assignment,
    encode_state,
)
from engine.connect.runtime.herder import TaskId

if TYPE_CHECKING:
    from engine.connect.runtime.config_state import ConfigState
    from engine.connect.runtime.worker_config import WorkerConfig

log = logging.getLogger(__name__)

_REQUEST_MS = 10_000
_LOST_S = 0.2


class WorkOwner(Protocol):
    """Who does the work."""

    configs: ConfigState

    async def refresh_configs(self) -> None:
        """Read configs to their end; raises ConnectError."""

    async def start_work(self, work: Work) -> None:
        """Start these."""

    async def stop_work(self, work: Work) -> None:
        """Stop these; their states are written when this returns."""

    async def leads_now(self) -> None:
        """A round made this worker the leader."""

    async def follows_now(self) -> None:
        """A round made another worker the leader."""


class GroupWork:
    """Of one worker. Coroutines of its event loop; :meth:`step` is called by one task alone."""

    def __init__(self, config: WorkerConfig, owner: WorkOwner, url: str, client_id: str) -> None:
        self.assignment: Assignment | None = None
        """What this worker has by the last round, in ``work``."""
        self.generation = -1
        self.version = 0
        """Of the protocol that the group agreed on."""
        self.wake = asyncio.Event()
        """Set when :meth:`step` has something to do."""
        self._owner = owner
        self._url = url
        self._sync_s = config["worker.sync.timeout.ms"] / 1000
        self._unsync_s = config["worker.unsync.backoff.ms"] / 1000
        self._protocols = (SESSIONED, COMPATIBLE) if config["connect.protocol"] == SESSIONED else (COMPATIBLE,)
        channel = GroupChannel(config.world(), config.bootstrap, config["group.id"], client_id, _REQUEST_MS)
        self.member = GroupMember(
            channel,
            session_timeout_ms=config["session.timeout.ms"],
            rebalance_timeout_ms=config["rebalance.timeout.ms"],
            heartbeat_interval_ms=config["heartbeat.interval.ms"],
            on_change=self.wake.set,
        )
        self._assignor = IncrementalCooperativeAssignor(config["scheduled.rebalance.max.delay.ms"])
        self._running = NO_WORK
        self._to_restart: set[TaskId] = set()
        self._next_round_at: float | None = None
        self._can_read = True
        self._urls: dict[str, str] = {}
        self._owners: dict[str, Work] = {}

    # -- who is who -----------------------------------------------------------------------------------------------

    @property
    def work(self) -> Work:
        """What this worker has."""
        return NO_WORK if self.assignment is None else self.assignment.work

    @property
    def is_leader(self) -> bool:
        """Whether this worker led the last round."""
        return self.assignment is not None and self.assignment.leader == self.member.member_id != ""

    @property
    def leader_url(self) -> str | None:
        """The leader's REST, or None."""
        return self.assignment.leader_url or None if self.assignment is not None else None

    def owner_url(self, item: str | TaskId) -> str | None:
        """Of who has a connector or task; the leader alone knows."""
        for member, work in self._owners.items():
            if item in work.connectors or item in work.tasks:
                return self._urls.get(member)
        return None

    # -- rounds -----------------------------------------------------------------------------------------------------

    def request_round(self) -> None:
        """What there is to do has changed: the group shall share it anew."""
        self.member.request_join()

    def restart_tasks(self, tasks: set[TaskId]) -> None:
        """These were stopped for new configs: the next round starts them again."""
        self._to_restart |= tasks

    async def step(self) -> bool:
        """Be in the group, with work as it says; whether all is settled. If not call it again.

        Raises:
            KafkaError: the group refuses this worker for good.
        """
        if not self._can_read and not await self._catch_up():
            # To join and to leave at once would be impolite.
            await asyncio.sleep(min(self._unsync_s, 1.0))
            return False
        if self.member.is_lost:
            await self._give_up_everything()
        if self._next_round_at is not None and self._next_round_at <= asyncio.get_running_loop().time():
            self._next_round_at = None
            self.member.request_join()
        if not self.member.must_join:
            return True
        try:
            joined = await self.member.join(self._states, self._assign)
        except CoordinatorLost as error:
            log.warning("%s", error)
            await self._give_up_everything()
            await asyncio.sleep(_LOST_S)
            return False
        await self._take(joined)
        return not self.member.must_join

    def wait_s(self) -> float | None:
        """How long nothing is to be done, unless something happens."""
        if self._next_round_at is None:
            return None
        return max(0.0, self._next_round_at - asyncio.get_running_loop().time())

    async def leave(self) -> None:
        """Go."""
        await self.member.leave()

    async def _give_up_everything(self) -> None:
        self.member.must_join = True
        if not self._running:
            return
        log.warning("the coordinator was not heard for session.timeout.ms: all work is stopped, others may have it")
        await self._owner.stop_work(self._running)
        self._running = NO_WORK
        self.assignment = None

    def _states(self) -> list[tuple[str, bytes]]:
        state = WorkerState(self._url, self._owner.configs.offset, self.assignment)
        return [(name, encode_state(state, VERSIONS[name])) for name in self._protocols]

    async def _catch_up(self) -> bool:
        try:
            async with asyncio.timeout(self._sync_s):
                await self._owner.refresh_configs()
        except (TimeoutError, ConnectError) as error:
            log.warning("the config topic cannot be read to its end: %s", error or "not in time")
            self._can_read = False
            return False
        self._can_read = True
        return True

    async def _take(self, joined: Joined) -> None:
        """A round is complete: do what the leader says."""
        told = decode_assignment(joined.assignment)
        self.generation, self.version = joined.generation, told.version
        has = NO_WORK if self.assignment is None else self.assignment.work
        if told.revoked:
            log.info("gives up %s", _shown(told.revoked))
            await self._owner.stop_work(_both(told.revoked, self._running))
            self._running = self._running.without(told.revoked)
        kept = has.without(told.revoked)
        self.assignment = Assignment(
            told.error,
            told.leader,
            told.leader_url,
            told.offset,
            told.work.union(kept),
            told.revoked,
            told.delay_ms,
            told.version,
        )
        log.info(
            "in generation %d of the group has %s, delay %d ms, leader %s",
            joined.generation,
            _shown(self.assignment.work),
            told.delay_ms,
            told.leader_url,
        )
        loop = asyncio.get_running_loop()
        self._next_round_at = loop.time() + told.delay_ms / 1000 if told.delay_ms > 0 else None
        await (self._owner.leads_now() if self.is_leader else self._owner.follows_now())
        if told.failed or self._owner.configs.offset < told.offset:
            await self._catch_up()
            if told.failed or not self._can_read:
                self.member.request_join()
                return
        # What was stopped for new configs is started again, if it is still this worker's.
        self._running = self._running.without(Work((), tuple(self._to_restart)))
        self._to_restart.clear()
        start = self.assignment.work.without(self._running)
        if start:
            await self._owner.start_work(start)
        self._running = self.assignment.work
        if told.revoked:
            # Given up: now others can be given it.
            self.assignment = Assignment(
                told.error,
                told.leader,
                told.leader_url,
                told.offset,
                self.assignment.work,
                NO_WORK,
                told.delay_ms,
                told.version,
            )
            self.member.request_join()

    # -- as the leader ------------------------------------------------------------------------------------------------

    async def _assign(self, protocol: str, leader: str, metadata: Mapping[str, bytes]) -> dict[str, bytes]:
        version = VERSIONS.get(protocol, 0)
        states: dict[str, WorkerState] = {}
        for member, data in metadata.items():
            try:
                states[member] = decode_state(data)
            except ProtocolError as error:
                raise ConnectError(f"a member of the group speaks another protocol: {error}") from error
        wanted = max(each.offset for each in states.values())
        offset = self._owner.configs.offset
        if offset < wanted:
            await self._catch_up()
            offset = self._owner.configs.offset
        url = states[leader].url
        if offset < wanted:
            log.warning("the leader has not the newest configs: another round")
            refusal = Assignment(CONFIG_MISMATCH, leader, url, wanted, version=version)
            return {member: encode_assignment(refusal, version) for member in states}
        configs = self._owner.configs
        connectors = tuple(sorted(configs.connectors))
        everything = Work(connectors, tuple(task for name in connectors for task in configs.tasks(name)))
        outcome = self._assignor.assign(
            everything,
            {
                member: NO_WORK if state.assignment is None else state.assignment.work
                for member, state in states.items()
            },
            last_completed_generation=self.member.last_completed_generation,
            generation=self.member.generation,
            now_ms=asyncio.get_running_loop().time() * 1000,
        )
        self._urls = {member: state.url for member, state in states.items()}
        self._owners = outcome.all
        return {
            member: encode_assignment(
                Assignment(
                    NO_ERROR,
                    leader,
                    url,
                    offset,
                    outcome.assigned[member],
                    outcome.revoked[member],
                    self._assignor.delay_ms,
                    version,
                ),
                version,
            )
            for member in states
        }


def _both(one: Work, other: Work) -> Work:
    return Work(
        tuple(each for each in one.connectors if each in other.connectors),
        tuple(each for each in one.tasks if each in other.tasks),
    )


def _shown(work: Work) -> str:
    return f"connectors [{', '.join(work.connectors)}] and tasks [{', '.join(str(each) for each in work.tasks)}]"
