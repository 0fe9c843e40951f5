"""UpdateRaftVoter (82), version 0: a voter tells the leader where it is reached and what it can do (KIP-853).

Voters send it: once to each leader with kraft.version 0, later where the log says another thing.
"""

from __future__ import annotations

from engine.broker.api_spec import ApiSpec
from engine.broker.context import RequestContext
from engine.wire.apis import ApiKey
from engine.wire.message import Message
from engine.wire.messages.update_raft_voter_request import UpdateRaftVoterRequest

API = ApiSpec(ApiKey.UPDATE_RAFT_VOTER, 0, 0, listeners=("controller",))


async def handle(context: RequestContext, request: UpdateRaftVoterRequest) -> Message:
    """Answered by the leader at once."""
    return await context.broker.quorum.handle_update_voter(request)
