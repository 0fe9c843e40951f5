"""RemoveRaftVoter (81), version 0: a voter becomes an observer (KIP-853).

On the broker listener any broker answers, by asking the leader; on the controller listener a node that does not lead
says NOT_LEADER_OR_FOLLOWER. A leader that is removed leads until that is committed, and resigns then.
"""

from __future__ import annotations

from engine.broker.api_spec import ApiSpec
from engine.broker.context import RequestContext
from engine.broker.controller_forwarding import ask_quorum_leader
from engine.wire.apis import ApiKey
from engine.wire.message import Message
from engine.wire.messages.remove_raft_voter_request import RemoveRaftVoterRequest

API = ApiSpec(ApiKey.REMOVE_RAFT_VOTER, 0, 0, listeners=("broker", "controller"))


async def handle(context: RequestContext, request: RemoveRaftVoterRequest) -> Message:
    """Answered once the remaining voters are committed."""
    return await ask_quorum_leader(context, request, context.broker.quorum.handle_remove_voter)
