"""The switch of a supervised broker's faults: its supervisor alone can reach it, over the broker's standard input.

A line there is ``{"command": "faults", …}`` with all that is wrong from then on
(:class:`engine.model.broker_faults.BrokerFaults`). A broker that runs alone has no switch.
"""

from __future__ import annotations

import asyncio
import json
import logging

from engine.broker.connection import ServerConnection
from engine.model.broker_faults import SOUND, BrokerFaults
from engine.world import World
from engine.world.faulty_disk import FaultyDisk
from engine.world.faulty_network import FaultyNetwork
from engine.world.real import RealWorld

log = logging.getLogger(__name__)


def client_id_of(protocol: asyncio.BaseProtocol) -> str | None:
    """Of a connection's last requests; ``None`` before the first one."""
    if isinstance(protocol, ServerConnection):
        for head in protocol.request_heads.values():
            return head.client_id or ""
    return None


class FaultSwitch:
    """A world whose disk and network are as well as it is told."""

    def __init__(self) -> None:
        self._disk, self._network = FaultyDisk(), FaultyNetwork(client_id_of)
        world = RealWorld()
        world.disk, world.network = self._disk, self._network
        self.world: World = world
        self._faults = SOUND

    def take(self, line: bytes) -> None:
        """A line of the supervisor's. One that is no command is logged and left."""
        try:
            told = json.loads(line)
            if told["command"] != "faults":
                raise ValueError(told["command"])
            faults = BrokerFaults.from_json(told)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            log.error("the supervisor said something that is no command: %r", error)
            return
        if faults == self._faults:
            return
        self._faults = faults
        log.warning("faults on purpose: %s", "none any more" if faults == SOUND else faults.as_json())
        self._disk.set(faults)
        self._network.set(faults)
