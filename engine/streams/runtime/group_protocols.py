"""Which protocol a worker's group speaks, and the membership that speaks it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.client.admin import AdminClient
from engine.client.broker_pool import BrokerPool
from engine.client.connection import SOFTWARE_NAME, SOFTWARE_VERSION
from engine.client.errors import ClientError
from engine.client.security.world import secured
from engine.model.errors import ErrorCode
from engine.streams.errors import StreamsError
from engine.streams.runtime.classic_membership import ClassicMembership
from engine.streams.runtime.config import CLASSIC, STREAMS, StreamsConfig
from engine.streams.runtime.coordinator import GroupCoordinator, pause
from engine.streams.runtime.membership import Membership
from engine.streams.runtime.streams_membership import StreamsMembership
from engine.streams.runtime.worker_state import WorkerStopped
from engine.wire.messages.api_versions_request import ApiVersionsRequest
from engine.wire.messages.streams_group_heartbeat_request import StreamsGroupHeartbeatRequest
from engine.world.real import real_world

if TYPE_CHECKING:
    from engine.wire.messages.streams_group_heartbeat_request import Topology as GroupTopology

log = logging.getLogger(__name__)

_FEATURE = "streams.version"


def choose_protocol(config: StreamsConfig, client_id: str, is_stopped: Callable[[], bool] = lambda: False) -> str:
    """``group.protocol``, or where that is not set what the cluster can: streams groups if they are switched on.

    Raises:
        StreamsError: nobody answers within task.timeout.ms.
        WorkerStopped: ``is_stopped()`` meanwhile.
        AuthenticationFailed: the cluster does not let this client in.
    """
    chosen: str = config["group.protocol"]
    return chosen or asyncio.run(_ask(config, client_id, is_stopped))


async def _ask(config: StreamsConfig, client_id: str, is_stopped: Callable[[], bool]) -> str:
    pool = BrokerPool(secured(real_world(), config.security), config.bootstrap, client_id=client_id)
    until, told_that_it_waits = time.monotonic() + config["task.timeout.ms"] / 1000, False
    try:
        while True:
            try:
                # Who names no software is told nothing.
                told = await pool.send_any(
                    ApiVersionsRequest(client_software_name=SOFTWARE_NAME, client_software_version=SOFTWARE_VERSION)
                )
                break
            except ClientError as error:
                what = f"no broker of {config['bootstrap.servers']} answers: {error}"
                if is_stopped():
                    raise WorkerStopped(what) from error
                if time.monotonic() > until:
                    raise StreamsError(what) from error
                if not told_that_it_waits:
                    log.warning("%s; tries until task.timeout.ms is over", what)
                    told_that_it_waits = True
                await pause()
    finally:
        pool.close()
    if told.error_code:
        code = ErrorCode(told.error_code).name
        raise StreamsError(f"{config['bootstrap.servers']} does not tell what it serves: {code}")
    served = any(each.api_key == StreamsGroupHeartbeatRequest.API_KEY for each in told.api_keys)
    switched_on = any(each.name == _FEATURE and each.max_version_level > 0 for each in told.finalized_features)
    protocol = STREAMS if served and switched_on else CLASSIC
    log.info("the group protocol is %s", protocol)
    return protocol


def make_membership(
    protocol: str, config: StreamsConfig, client_id: str, process_id: str, topology: GroupTopology
) -> Membership:
    """A membership that is not started yet."""
    world = secured(real_world(), config.security)
    standbys = config["num.standby.replicas"]

    def coordinator() -> GroupCoordinator:
        return GroupCoordinator(world, config.bootstrap, config.application_id, client_id, config["request.timeout.ms"])

    if protocol == CLASSIC:
        return ClassicMembership(
            coordinator,
            lambda: AdminClient(world, config.bootstrap, client_id=client_id),
            topology,
            process_id=process_id,
            rebalance_timeout_ms=config["max.poll.interval.ms"],
            session_timeout_ms=config["session.timeout.ms"],
            heartbeat_interval_ms=config["heartbeat.interval.ms"],
            standbys=standbys or 0,
        )
    return StreamsMembership(
        coordinator,
        topology,
        process_id=process_id,
        rebalance_timeout_ms=config["max.poll.interval.ms"],
        rack_id=config["client.rack"],
        group_configs={} if standbys is None else {"streams.num.standby.replicas": str(standbys)},
    )
