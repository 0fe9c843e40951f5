"""Channels between brokers, of which one loses power and says nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engine.client.errors import ConnectionLost
from engine.sim.cluster import SimCluster
from engine.sim.loop import SimLoop
from engine.wire.messages.api_versions_request import ApiVersionsRequest

_SESSION_S, _REQUEST_TIMEOUT_S = 3.0, 30.0


@pytest.mark.parametrize("comes_back", [True, False])
def test_nobody_waits_for_the_answer_of_a_process_that_is_gone(comes_back: bool) -> None:
    loop = SimLoop()
    session = {"broker.session.timeout.ms": str(int(_SESSION_S * 1000)), "broker.heartbeat.interval.ms": "500"}
    cluster = SimCluster(loop, 1, configs=session)
    request = ApiVersionsRequest(client_software_name="test", client_software_version="1")

    async def scenario() -> None:
        await cluster.start_all()
        first = cluster.machines[1]
        assert first.broker is not None
        assert first.process is not None
        channel = first.broker.verification._peers.to(2)

        async def ask() -> Any:
            return await channel.send(request, version=4, timeout_ms=_REQUEST_TIMEOUT_S * 1000)

        await loop.spawn(first.process, ask())
        cluster.cut_power(2)
        began_s = loop.time()
        asking = loop.spawn(first.process, ask())
        await asyncio.sleep(0.5)
        assert not asking.done()
        if comes_back:
            cluster.start(2)
        with pytest.raises(ConnectionLost):
            await asking
        # Its session is over; no sooner an heir may register.
        assert loop.time() - began_s < _SESSION_S + 1.0
        if comes_back:
            assert not (await loop.spawn(first.process, ask())).error_code

    loop.run(scenario())
