"""Producers of older tasks are fenced before newer ones start (``Worker.fenceZombies``, KIP-618)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from engine.client.admin import AdminClient
from engine.client.errors import ClientError
from engine.connect.errors import ConnectError
from engine.connect.runtime.exactly_once_source import transactional_id
from engine.connect.runtime.worker_config import WorkerConfig
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.messages.find_coordinator_request import FindCoordinatorRequest

log = logging.getLogger(__name__)

_PATIENCE_S = 30.0
_RETRY_S = 0.1
_TRANSACTION = 1


async def fence_producers(config: WorkerConfig, connector: Mapping[str, str], name: str, tasks: int) -> None:
    """Fence the producers of a connector's first ``tasks`` tasks: what they have open is aborted.

    Args:
        connector: its resolved configs.

    Raises:
        ConnectError: the cluster does not let it, or not in time.
    """
    admin = config.admin(connector)
    given = config.client_props("producer", connector).get("transactional.id")
    ids = [given] if given else [transactional_id(config["group.id"], name, each) for each in range(tasks)]
    try:
        await asyncio.gather(*(_fence(admin, each) for each in ids))
    except (ClientError, KafkaError) as error:
        raise ConnectError(f"Failed to perform zombie fencing for connector {name}: {error}") from error
    finally:
        admin.close()


async def _fence(admin: AdminClient, name: str) -> None:
    until = asyncio.get_running_loop().time() + _PATIENCE_S
    while True:
        try:
            await admin.cached_metadata()
            found = await admin.brokers.send_any(FindCoordinatorRequest(key_type=_TRANSACTION, coordinator_keys=[name]))
            told = found.coordinators[0]
            if told.error_code:
                raise KafkaError(ErrorCode(told.error_code), told.error_message or "")
            await admin.force_terminate(name, told.node_id)
            log.info("fenced the producer %s", name)
            return
        except (ClientError, KafkaError) as error:
            passing = isinstance(error, ClientError) or error.code.retriable
            if not passing or asyncio.get_running_loop().time() > until:
                raise
            log.info("fencing the producer %s: %s; again", name, error)
        await asyncio.sleep(_RETRY_S)
