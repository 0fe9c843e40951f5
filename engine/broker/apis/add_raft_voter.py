"""AddRaftVoter (80), versions 0-1: a controller that has caught up becomes a voter (KIP-853).

1: the answer need not wait for the commit. On the broker listener any broker answers, by asking the leader; on the
controller listener a node that does not lead says NOT_LEADER_OR_FOLLOWER. As in Kafka timeout_ms is not honoured: it is
controller.quorum.request.timeout.ms that counts.
"""

from __future__ import annotations

from engine.broker.api_spec import ApiSpec
from engine.broker.context import RequestContext
from engine.broker.controller_forwarding import ask_quorum_leader
from engine.wire.apis import ApiKey
from engine.wire.message import Message
from engine.wire.messages.add_raft_voter_request import AddRaftVoterRequest

API = ApiSpec(ApiKey.ADD_RAFT_VOTER, 0, 1, listeners=("broker", "controller"))


async def handle(context: RequestContext, request: AddRaftVoterRequest) -> Message:
    """Answered once the new voters are committed."""
    return await ask_quorum_leader(context, request, context.broker.quorum.handle_add_voter)
