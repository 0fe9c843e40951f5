"""Voters are added, removed and moved, one change at a time; kraft.version goes from 0 to 1 (KIP-853).

A set of voters counts for a replica from when it is in its log. It stays safe because of three rules, which the leader
keeps: two sets that follow on each other differ by one voter, so their majorities meet; a set is committed before the
next one is written; and the leader committed something of its own epoch before it writes any, so that no change of a
leader before it is still about. Kafka: AddVoterHandler, RemoveVoterHandler, UpdateVoterHandler, LeaderState.
"""

from __future__ import annotations

from engine.core.raft.identity import Voter, VoterSet
from engine.core.raft.leader import Leader, VoterChange
from engine.core.raft.messages import (
    AddVoterRequest,
    RemoveVoterRequest,
    SupportedVersionsRequest,
    SupportedVersionsResponse,
    UpdateVoterRequest,
    UpdateVoterResponse,
    VoterChangeResponse,
)
from engine.core.raft.node import RequestKind
from engine.core.raft.outputs import RaftEffects, Send
from engine.core.raft.replication import Replication
from engine.core.raft.states import Follower
from engine.core.raft.voter_history import (
    KRAFT_VERSION_FEATURE,
    RECONFIGURATION_VERSION,
    VotersEntry,
    voters_control_record,
)
from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import ZERO_UUID, uuid_to_str

# A replica that is to be added must have fetched within this time, and caught up (LeaderState.isReplicaCaughtUp).
_CAUGHT_UP_WITHIN_MS = 3_600_000.0

# What an administrator is told whose change was written and not committed yet.
LEADERSHIP_LOST = "The leader lost its leadership, whether the voters have changed is not known: describe the quorum"


class Reconfiguration(Replication):
    """Inputs that change who votes."""

    # -- adding -------------------------------------------------------------------------------------------------

    def on_add_voter_request(self, token: object, request: AddVoterRequest, now_ms: float) -> RaftEffects:
        """An administrator adds a voter that fetches already; the reply is a VoterChangeResponse.

        The new voter is asked first which kraft.version it can do.
        """
        self._enter(now_ms)
        leader = self.leader
        refusal = self._refusal_to_all(leader)
        voter = request.voter
        if refusal is None and (voter.key.id < 0 or voter.key.directory_id == ZERO_UUID):
            refusal = VoterChangeResponse(ErrorCode.INVALID_REQUEST, "Add voter request didn't include a valid voter")
        if refusal is None and request.endpoint is None:
            refusal = VoterChangeResponse(
                ErrorCode.INVALID_REQUEST,
                f"Add voter request didn't include the endpoint ({_endpoints(voter)}) for the default listener",
            )
        if refusal is None:
            refusal = self._refusal_to_change(leader, "adding")
        if refusal is None and voter.key.id in self.voters:
            refusal = VoterChangeResponse(
                ErrorCode.DUPLICATE_VOTER,
                f"The voter id for {_name(voter)} is already part of the set of voters {_names(self.voters)}.",
            )
        if refusal is not None:
            self._reply(token, refusal)
            return self._leave()
        assert leader is not None and request.endpoint is not None
        self._last_request_id += 1
        leader.change = VoterChange(
            token,
            self._now + self.timing.request_timeout_ms,
            voter,
            request.ack_when_committed,
            self._last_request_id,
        )
        self._out.send.append(Send(voter.key.id, self._last_request_id, SupportedVersionsRequest(request.endpoint)))
        return self._leave()

    def on_supported_versions_response(
        self, request_id: int, response: SupportedVersionsResponse, now_ms: float
    ) -> RaftEffects:
        """The replica that is to be added told which kraft.version it can do, or did not."""
        self._enter(now_ms)
        leader = self.leader
        change = None if leader is None else leader.change
        if leader is None or change is None or change.added is None or change.request_id != request_id:
            return self._leave()
        voter = change.added
        if change.last_offset is None:
            low, high = response.versions or (0, 0)
            if response.error != ErrorCode.NONE:
                self._end_voter_change(
                    leader,
                    ErrorCode.REQUEST_TIMED_OUT,
                    f"Aborted add voter operation since API_VERSIONS returned an error {response.error.name}",
                )
            elif response.versions is None or not low <= self.kraft_version <= high:
                self._end_voter_change(
                    leader,
                    ErrorCode.INVALID_REQUEST,
                    f"Aborted add voter operation for {_name(voter)} since the {KRAFT_VERSION_FEATURE} range (min: "
                    f"{low}, max: {high}) doesn't support the finalized version {self.kraft_version}",
                )
            elif not self._is_caught_up(leader, voter):
                self._end_voter_change(
                    leader,
                    ErrorCode.REQUEST_TIMED_OUT,
                    f"Aborted add voter operation for {_name(voter)} since it is lagging behind",
                )
            else:
                added = voter._replace(min_version=low, max_version=high)
                change.last_offset = self._append_voters(self.voters.with_voter(added))
                if not change.ack_when_committed:
                    self._reply(change.token, VoterChangeResponse(ErrorCode.NONE))
        return self._leave()

    def on_request_failed(self, node_id: int, request_id: int, now_ms: float) -> RaftEffects:
        """Also of a replica that is to be added: then nobody is there."""
        leader = self.leader
        change = None if leader is None else leader.change
        is_asked = change is not None and change.request_id == request_id and change.last_offset is None
        if leader is not None and change is not None and change.added is not None and is_asked:
            message = f"New voter {_name(change.added)} is not ready to receive requests"
            self._end_voter_change(leader, ErrorCode.REQUEST_TIMED_OUT, message)
        return super().on_request_failed(node_id, request_id, now_ms)

    def _is_caught_up(self, leader: Leader, voter: Voter) -> bool:
        known = leader.observers.get(voter.key)
        return (
            known is not None
            and known.last_caught_up_ms is not None
            and known.last_fetch_ms is not None
            and self._now - known.last_fetch_ms < _CAUGHT_UP_WITHIN_MS
        )

    # -- removing -----------------------------------------------------------------------------------------------

    def on_remove_voter_request(self, token: object, request: RemoveVoterRequest, now_ms: float) -> RaftEffects:
        """An administrator removes a voter, this leader perhaps; the reply is a VoterChangeResponse."""
        self._enter(now_ms)
        leader = self.leader
        refusal = self._refusal_to_all(leader)
        voter = request.voter
        if refusal is None and (voter.id < 0 or voter.directory_id == ZERO_UUID):
            refusal = VoterChangeResponse(
                ErrorCode.INVALID_REQUEST, "Remove voter request didn't include a valid voter"
            )
        if refusal is None:
            refusal = self._refusal_to_change(leader, "removing")
        remaining = self.voters.without(voter)
        if refusal is None and remaining is None:
            refusal = VoterChangeResponse(
                ErrorCode.VOTER_NOT_FOUND,
                f"Cannot remove voter {_name(Voter(voter))} from the set of voters {_names(self.voters)}",
            )
        if refusal is not None:
            self._reply(token, refusal)
            return self._leave()
        assert leader is not None and remaining is not None
        leader.change = VoterChange(
            token,
            self._now + self.timing.request_timeout_ms,
            last_offset=self._append_voters(remaining),
        )
        return self._leave()

    # -- what a voter tells of itself ---------------------------------------------------------------------------

    def on_update_voter_request(self, token: object, request: UpdateVoterRequest, now_ms: float) -> RaftEffects:
        """A voter is reached somewhere else now, or can do more; the reply is an UpdateVoterResponse."""
        self._enter(now_ms)
        error = self._update_voter(request)
        self._reply(token, UpdateVoterResponse(error, self.leader_id, self.epoch))
        return self._leave()

    def _update_voter(self, request: UpdateVoterRequest) -> ErrorCode:
        error = self._leader_error(request.epoch)
        leader, voter = self.leader, request.voter
        if error != ErrorCode.NONE or leader is None:
            return error
        if (
            voter.key.id < 0
            or voter.key.directory_id == ZERO_UUID
            or not voter.endpoints
            or not 0 <= voter.min_version <= voter.max_version
        ):
            return ErrorCode.INVALID_REQUEST
        if self._is_changing(leader) or self.high_watermark <= leader.epoch_start_offset:
            return ErrorCode.REQUEST_TIMED_OUT
        if self.is_reconfigurable and not self._is_voters_committed:
            return ErrorCode.REQUEST_TIMED_OUT
        if not voter.min_version <= self.kraft_version <= voter.max_version:
            return ErrorCode.INVALID_REQUEST
        if self.is_reconfigurable:
            if not self.voters.is_voter(voter.key):
                return ErrorCode.VOTER_NOT_FOUND
            self._append_voters(self.voters.with_voter(voter))
        else:
            if leader.told is None:
                return ErrorCode.REQUEST_TIMED_OUT
            if voter.key.id not in leader.told:
                return ErrorCode.VOTER_NOT_FOUND
            leader.told = leader.told.with_voter(voter)
        leader.on_heard_from(voter.key, self._now, self.timing.check_quorum_timeout_ms)
        return ErrorCode.NONE

    def on_update_voter_response(
        self, node_id: int, request_id: int, response: UpdateVoterResponse, now_ms: float
    ) -> RaftEffects:
        """The leader heard what this voter is, or is too old to know of that."""
        self._enter(now_ms)
        slot = self._take_slot(RequestKind.UPDATE_VOTER, node_id, request_id)
        if slot is not None and not self._learn_leader(response.leader_id, response.epoch, node_id):
            state = self.state
            if isinstance(state, Follower) and state.leader_id == node_id:
                state.update_voter_ms = self._now + self.timing.update_voter_interval_ms
                if response.error in (ErrorCode.NONE, ErrorCode.UNSUPPORTED_VERSION):
                    state.has_told_leader = True
        return self._leave()

    # -- kraft.version ------------------------------------------------------------------------------------------

    def check_kraft_version(self, level: int) -> bool:
        """Whether an upgrade to ``level`` would change anything.

        Raises:
            KafkaError: NOT_CONTROLLER if this node does not lead; INVALID_UPDATE_VERSION if it cannot be.
        """
        leader, current = self.leader, self.kraft_version

        def refuse(why: str) -> KafkaError:
            return KafkaError(ErrorCode.INVALID_UPDATE_VERSION, why)

        if leader is None or self._is_shutting_down:
            raise KafkaError(ErrorCode.NOT_CONTROLLER, f"node {self.local.id} does not lead")
        if level == current:
            return False
        upgrade = f"{KRAFT_VERSION_FEATURE} from version {current} to {level}"
        if level < current:
            raise refuse(f"Invalid upgrade of {upgrade} because the new version is a downgrade")
        if level != RECONFIGURATION_VERSION:
            raise refuse(f"Invalid upgrade of {upgrade}")
        told = leader.told
        if told is None or not all(
            each.min_version <= level <= each.max_version and each.key.directory_id != ZERO_UUID for each in told.voters
        ):
            raise refuse(
                f"Invalid upgrade of {KRAFT_VERSION_FEATURE} to {level} because not all of the voters support it"
            )
        return True

    def upgrade_kraft_version(self, level: int, now_ms: float) -> RaftEffects:
        """Write what :meth:`check_kraft_version` found possible: the log names the voters from now on."""
        self._enter(now_ms)
        leader = self.leader
        assert leader is not None and leader.told is not None and self._encode_control is not None
        entry = VotersEntry(self.log.end_offset, level, leader.told)
        self._append_as_leader(self._encode_control(entry.control_records()))
        return self._leave()

    # -- both ---------------------------------------------------------------------------------------------------

    def _refusal_to_all(self, leader: Leader | None) -> VoterChangeResponse | None:
        error = self._leader_error(self.epoch)
        return VoterChangeResponse(error) if error != ErrorCode.NONE or leader is None else None

    def _refusal_to_change(self, leader: Leader | None, what: str) -> VoterChangeResponse | None:
        """Why no change can begin now, in Kafka's order."""
        assert leader is not None

        def not_yet(why: str) -> VoterChangeResponse:
            return VoterChangeResponse(ErrorCode.REQUEST_TIMED_OUT, f"Request timed out waiting for {why}")

        if self._is_changing(leader):
            return not_yet("leader to handle previous voter change request")
        if self.high_watermark <= leader.epoch_start_offset:
            return not_yet("leader to establish HWM and fence previous voter changes")
        if not self.is_reconfigurable:
            return VoterChangeResponse(
                ErrorCode.UNSUPPORTED_VERSION,
                f"Cluster doesn't support {what} voter because the {KRAFT_VERSION_FEATURE} feature is "
                f"{self.kraft_version}",
            )
        if not self._is_voters_committed:
            last = self.history.last
            assert last is not None
            return not_yet(f"voters to commit the latest voter change at {last.offset} with HWM {self.high_watermark}")
        return None

    @property
    def _is_voters_committed(self) -> bool:
        last = self.history.last
        return last is not None and last.offset < self.high_watermark

    def _is_changing(self, leader: Leader) -> bool:
        self._expire_voter_change(leader)
        return leader.change is not None

    def _append_voters(self, voters: VoterSet) -> int:
        assert self._encode_control is not None, "no encoder of control records was given"
        return self._append_as_leader(self._encode_control([voters_control_record(voters)]))

    def _expire_voter_change(self, leader: Leader) -> None:
        if leader.change is not None and self._now >= leader.change.deadline_ms:
            self._end_voter_change(leader, ErrorCode.REQUEST_TIMED_OUT)

    def _end_voter_change(self, leader: Leader, error: ErrorCode, message: str | None = None) -> None:
        change, leader.change = leader.change, None
        if change is not None and (change.ack_when_committed or change.last_offset is None):
            self._reply(change.token, VoterChangeResponse(error, message))

    def _give_up_voter_change(self, leader: Leader, error: ErrorCode) -> None:
        is_written = leader.change is not None and leader.change.last_offset is not None
        self._end_voter_change(leader, error, LEADERSHIP_LOST if is_written else None)

    def _settle_voter_change(self) -> None:
        leader = self.leader
        if leader is None:
            return
        change = leader.change
        if change is not None and change.last_offset is not None and self.high_watermark > change.last_offset:
            self._end_voter_change(leader, ErrorCode.NONE)
        self._expire_voter_change(leader)
        if not leader.is_voter and self._is_voters_committed:
            self._become_resigned(f"node {self.local.id} is no voter any more, and that is committed")


def _endpoints(voter: Voter) -> str:
    return ", ".join(f"{each.listener}://{each.host}:{each.port}" for each in voter.endpoints)


def _name(voter: Voter) -> str:
    return f"ReplicaKey(id={voter.key.id}, directoryId={uuid_to_str(voter.key.directory_id)})"


def _names(voters: VoterSet) -> str:
    return "[" + ", ".join(_name(each) for each in voters.voters) + "]"
