"""What the quorum answers to others: each request is an input of the machine, whose reply is awaited."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

from engine.broker.metadata_log import MetadataLog
from engine.broker.quorum import voter_requests, wire_requests, wire_responses
from engine.broker.quorum.address_book import AddressBook
from engine.broker.quorum.describe import describe_quorum
from engine.core.raft import messages
from engine.core.raft.machine import RaftMachine
from engine.core.raft.outputs import RaftEffects
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.message import Message
from engine.wire.messages.add_raft_voter_response import AddRaftVoterResponse
from engine.wire.messages.begin_quorum_epoch_response import BeginQuorumEpochResponse
from engine.wire.messages.end_quorum_epoch_response import EndQuorumEpochResponse
from engine.wire.messages.fetch_response import FetchResponse
from engine.wire.messages.fetch_snapshot_response import FetchSnapshotResponse
from engine.wire.messages.remove_raft_voter_response import RemoveRaftVoterResponse
from engine.wire.messages.vote_response import VoteResponse
from engine.world import World

# A part of a snapshot is at most this large.
_MAX_PART_BYTES = 8 * 1024 * 1024


class QuorumRequestHandlers(ABC):
    """The part of :class:`~engine.broker.quorum_host.QuorumHost` that peers and administrators see."""

    book: AddressBook
    _world: World
    _cluster_id: str | None
    _log: MetadataLog | None

    @property
    @abstractmethod
    def machine(self) -> RaftMachine:
        """The machine."""

    @abstractmethod
    async def _ask(self, call: Callable[[RaftMachine, object, float], RaftEffects]) -> Any:
        """Give the machine an input with a token, and wait for the reply to it."""

    @abstractmethod
    def _step(self, call: Callable[[RaftMachine, float], RaftEffects]) -> None:
        """Give the machine one input and perform what it asks for."""

    def _note_leader(self, leader_id: int, endpoints: Iterable[Any]) -> None:
        for each in endpoints:
            if each.name == self.book.listener:
                self.book.note(leader_id, each.host, each.port)

    async def handle_vote(self, request: Any, version: int) -> Message:
        """Answer Vote (KIP-595, KIP-996)."""
        try:
            vote = wire_requests.decode_vote(request, self._cluster_id)
        except KafkaError as error:
            return VoteResponse(error_code=error.code)
        answer = await self._ask(lambda m, token, now: m.on_vote_request(token, vote, now))
        return wire_responses.encode_vote(answer, version, self.book)

    async def handle_begin_quorum_epoch(self, request: Any, version: int) -> Message:
        """Answer BeginQuorumEpoch."""
        try:
            begin = wire_requests.decode_begin(request, self._cluster_id)
        except KafkaError as error:
            return BeginQuorumEpochResponse(error_code=error.code)
        self._note_leader(begin.leader_id, request.leader_endpoints)
        answer = await self._ask(lambda m, token, now: m.on_begin_quorum_epoch_request(token, begin, now))
        return wire_responses.encode_begin(answer, version, self.book)

    async def handle_end_quorum_epoch(self, request: Any, version: int) -> Message:
        """Answer EndQuorumEpoch."""
        try:
            end = wire_requests.decode_end(request, self._cluster_id)
        except KafkaError as error:
            return EndQuorumEpochResponse(error_code=error.code)
        self._note_leader(end.leader_id, request.leader_endpoints)
        answer = await self._ask(lambda m, token, now: m.on_end_quorum_epoch_request(token, end, now))
        return wire_responses.encode_end(answer, version, self.book)

    async def handle_fetch(self, request: Any, version: int) -> Message:
        """Answer Fetch of the metadata partition; waits for records or a high watermark as long as it asks for."""
        try:
            fetch = wire_requests.decode_fetch(request, version, self._cluster_id)
        except KafkaError as error:
            return FetchResponse(error_code=error.code)
        answer = await self._ask(lambda m, token, now: m.on_fetch_request(token, fetch, now))
        return wire_responses.encode_fetch(answer, version, self.book)

    async def handle_fetch_snapshot(self, request: Any, version: int) -> Message:
        """Answer FetchSnapshot (KIP-630)."""
        try:
            fetch = wire_requests.decode_fetch_snapshot(request, self._cluster_id)
        except KafkaError as error:
            return FetchSnapshotResponse(error_code=error.code)
        answer: messages.FetchSnapshotResponse = await self._ask(
            lambda m, token, now: m.on_fetch_snapshot_request(token, fetch, now)
        )
        if answer.error == ErrorCode.NONE and self._log is not None:
            size = self._log.snapshot_size_bytes(fetch.snapshot_id)
            if 0 <= fetch.position < size:
                limit = min(fetch.max_bytes, _MAX_PART_BYTES)
                data = self._log.read_snapshot_part(fetch.snapshot_id, fetch.position, limit)
                answer = answer._replace(size=size, data=data)
            else:
                answer = answer._replace(error=ErrorCode.POSITION_OUT_OF_RANGE)
        return wire_responses.encode_fetch_snapshot(answer, version, self.book)

    # -- voters that come, go and move (KIP-853) ----------------------------------------------------------------

    async def handle_add_voter(self, request: Any) -> Message:
        """Answer AddRaftVoter; as the leader only."""
        wrong = voter_requests.wrong_cluster(self._cluster_id, request.cluster_id)
        if wrong is not None:
            return AddRaftVoterResponse(error_code=ErrorCode.INCONSISTENT_CLUSTER_ID, error_message=wrong)
        add = voter_requests.decode_add(request, self.book.listener)
        answer: messages.VoterChangeResponse = await self._ask(lambda m, t, now: m.on_add_voter_request(t, add, now))
        return AddRaftVoterResponse(error_code=answer.error, error_message=_said(answer))

    async def handle_remove_voter(self, request: Any) -> Message:
        """Answer RemoveRaftVoter; as the leader only."""
        wrong = voter_requests.wrong_cluster(self._cluster_id, request.cluster_id)
        if wrong is not None:
            return RemoveRaftVoterResponse(error_code=ErrorCode.INCONSISTENT_CLUSTER_ID, error_message=wrong)
        gone = voter_requests.decode_remove(request)
        answer: messages.VoterChangeResponse = await self._ask(
            lambda m, t, now: m.on_remove_voter_request(t, gone, now)
        )
        return RemoveRaftVoterResponse(error_code=answer.error, error_message=_said(answer))

    async def handle_update_voter(self, request: Any) -> Message:
        """Answer UpdateRaftVoter, which a voter sends to the leader."""
        update = voter_requests.decode_update(request, self.book.listener)
        if voter_requests.wrong_cluster(self._cluster_id, request.cluster_id) is not None:
            leader_id, epoch = self.machine.leader_and_epoch
            answer = messages.UpdateVoterResponse(ErrorCode.INCONSISTENT_CLUSTER_ID, leader_id, epoch)
        else:
            answer = await self._ask(lambda m, token, now: m.on_update_voter_request(token, update, now))
        return voter_requests.encode_updated(answer, self.book)

    def check_kraft_version(self, level: int) -> bool:
        """Whether raising kraft.version to ``level`` changes anything. Raises KafkaError as the machine does."""
        return self.machine.check_kraft_version(level)

    @property
    def election(self) -> str:
        """How this node came to lead."""
        return "elected leader of the quorum"

    def upgrade_kraft_version(self, level: int) -> int:
        """Raise it, after :meth:`check_kraft_version`; the offset of the last record that says so."""
        if self.machine.check_kraft_version(level):
            self._step(lambda m, now: m.upgrade_kraft_version(level, now))
        return self.machine.log.end_offset - 1

    async def handle_describe_quorum(self, request: Any, version: int) -> Message:
        """Answer DescribeQuorum (KIP-836, KIP-853); only the leader knows."""
        clock = self._world.clock
        return describe_quorum(self.machine, request, version, clock.now_ms(), clock.monotonic_ms())


def _said(answer: messages.VoterChangeResponse) -> str | None:
    if answer.error == ErrorCode.NONE:
        return None
    return answer.message or answer.error.default_message
