"""What the workload's operator does to the quorum: kraft.version is raised, then voters are removed and added again."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from engine.sim.cluster import CONTROLLER_PORT, machine_name
from engine.wire.messages.add_raft_voter_request import AddRaftVoterRequest, Listener
from engine.wire.messages.describe_quorum_request import DescribeQuorumRequest, PartitionData, TopicData
from engine.wire.messages.remove_raft_voter_request import RemoveRaftVoterRequest
from engine.wire.messages.update_features_request import FeatureUpdateKey, UpdateFeaturesRequest

if TYPE_CHECKING:
    from engine.sim.clients import SimClient
    from engine.sim.workload import Workload
    from engine.wire.message import Message

_REQUEST_S = 4.0


class VoterChanges:
    """Asks for one change of the voters at a time, of those that it is told of."""

    def __init__(self, workload: Workload, client: SimClient, rng: random.Random) -> None:
        self._workload = workload
        self._client = client
        self._rng = rng
        self._is_raised = False

    async def change(self) -> None:
        """Some change. Raises: Unavailable."""
        if not self._is_raised:
            update = FeatureUpdateKey(feature="kraft.version", max_version_level=1, upgrade_type=1)
            answer = await self._client.ask_any(UpdateFeaturesRequest(feature_updates=[update]), 2, _REQUEST_S)
            self._is_raised = not answer.error_code
            return
        topics = [TopicData("__cluster_metadata", [PartitionData(0)])]
        answer = await self._client.ask_any(DescribeQuorumRequest(topics=topics), 2, _REQUEST_S)
        if answer.error_code or answer.topics[0].partitions[0].error_code:
            return
        described, rng = answer.topics[0].partitions[0], self._rng
        # Brokers that joined are no controllers.
        idle = [each for each in described.observers if each.replica_id in self._workload.cluster.voters]
        request: Message
        if idle and rng.random() < (0.8 if len(described.current_voters) == 1 else 0.6):
            chosen = rng.choice(idle)
            listener = Listener("CONTROLLER", machine_name(chosen.replica_id), CONTROLLER_PORT)
            what, version = "add", 1
            request = AddRaftVoterRequest(
                cluster_id=None,
                voter_id=chosen.replica_id,
                voter_directory_id=chosen.replica_directory_id,
                listeners=[listener],
                ack_when_committed=rng.random() < 0.8,
            )
        else:
            chosen = rng.choice(described.current_voters)
            what, version = "remove", 0
            request = RemoveRaftVoterRequest(
                cluster_id=None, voter_id=chosen.replica_id, voter_directory_id=chosen.replica_directory_id
            )
        answer = await self._client.ask_any(request, version, _REQUEST_S)
        if not answer.error_code:
            self._workload.done[f"{what} voter"] += 1
            self._workload.tell(f"{what} voter {chosen.replica_id}")
