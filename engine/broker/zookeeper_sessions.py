"""Sessions of brokers with ZooKeeper: /brokers/ids/N is there as long as broker N lives (KafkaZkClient)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.broker.coordination import CoordinationRefused
from engine.core.controller.image import BrokerImage, Endpoint
from engine.core.znodes import paths
from engine.core.znodes.broker_znodes import decode_ephemeral, encode_ephemeral
from engine.core.znodes.operations import Create, Delete
from engine.zookeeper.errors import MultiFailed, NodeExists, NoNode

if TYPE_CHECKING:
    from engine.broker.coordination import BrokerSession
    from engine.model.ids import Uuid
    from engine.world import Clock
    from engine.zookeeper.session import ZooKeeperSession

_WAIT_S = 0.1


class BrokerZnodes:
    """This broker's own znode, and whose others there are."""

    def __init__(
        self,
        session: ZooKeeperSession,
        clock: Clock,
        session_timeout_ms: int,
        on_stale: Callable[[], None],
        on_read: Callable[[], None],
    ) -> None:
        """``on_stale``: something changed since it was looked last; ``on_read``: it was looked, by :meth:`refresh`."""
        self._session = session
        self._clock = clock
        self._session_timeout_ms = session_timeout_ms
        self._on_stale = on_stale
        self._on_read = on_read
        self._own: BrokerSession | None = None
        # Its znode is to be made (again).
        self.lacks_own = False
        # Broker id to the incarnation that lives.
        self._alive: dict[int, Uuid] = {}
        self._reading: asyncio.Task[None] | None = None
        self._read_again = False
        self.is_stale = True

    def is_alive(self, broker_id: int, incarnation_id: Uuid) -> bool:
        """Whether the broker's znode was there, made by this incarnation, when it was looked last."""
        return self._alive.get(broker_id) == incarnation_id

    # -- this broker's own --------------------------------------------------------------------------------------

    async def begin(self, own: BrokerSession) -> None:
        """Make this broker's znode; see :meth:`begin_again`."""
        self._own = own
        await self._session.retrying(self.begin_again)

    async def begin_again(self) -> None:
        """Make this broker's znode, if it has one, in the session that there is now.

        One that is there already is of a process of the past if it names a listener that is ours now; otherwise it is
        waited for that its session ends.

        Raises: CoordinationRefused, ZooKeeperError, ZnodeCorrupt.
        """
        if self._own is None:
            self.lacks_own = False
            return
        self.lacks_own = True
        path = paths.broker_id(self._own.broker_id)
        broker = _image(self._own)
        content = encode_ephemeral(broker, timestamp_ms=self._clock.now_ms())
        deadline_ms = self._clock.monotonic_ms() + self._session_timeout_ms + 1000
        while True:
            try:
                known = await self._session.get(path)
            except NoNode:
                with contextlib.suppress(NodeExists):
                    await self._session.create(path, content, ephemeral=True)
                    self.lacks_own = False
                    return
                continue
            is_own = known.ephemeral_owner == self._session.session_id
            if is_own or _share_a_listener(decode_ephemeral(path, known), broker):
                with contextlib.suppress(MultiFailed):
                    await self._session.multi([Delete(path, known.version), Create(path, content, ephemeral=True)])
                    self.lacks_own = False
                    return
                continue
            if self._clock.monotonic_ms() >= deadline_ms:
                raise CoordinationRefused(
                    f"another process is registered in ZooKeeper as broker {broker.broker_id} "
                    f"({known.data.decode(errors='replace')}): give this one another broker.id, or stop the other"
                )
            await asyncio.sleep(_WAIT_S)

    # -- all of them --------------------------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Look anew; the look begins after this call."""
        if self._reading is not None:
            # One that began before may not have seen what the caller wants to know.
            self._read_again = True
        else:
            self._reading = asyncio.get_running_loop().create_task(self._read_until_quiet())
        await asyncio.shield(self._reading)

    async def _read_until_quiet(self) -> None:
        try:
            while True:
                self._read_again = False
                await self.read()
                if not self._read_again:
                    break
        finally:
            self._reading = None
        self._on_read()

    async def read(self) -> None:
        """Look, and be told of the next change."""
        self.is_stale = False
        await self._session.sync(paths.BROKER_IDS)
        found: dict[int, Uuid] = {}
        for name in await self._session.children(paths.BROKER_IDS, watch=self._on_change):
            with contextlib.suppress(NoNode):
                path = f"{paths.BROKER_IDS}/{name}"
                # One that is replaced leaves the list as it was: it has a watch of its own.
                broker = decode_ephemeral(path, await self._session.get(path, watch=self._on_change))
                found[broker.broker_id] = broker.incarnation_id
        self._alive = found

    def _on_change(self, event: object) -> None:
        self.is_stale = True
        self._on_stale()

    async def close(self) -> None:
        """Look no more."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait((self._reading,))


def _image(own: BrokerSession) -> BrokerImage:
    return BrokerImage(
        broker_id=own.broker_id,
        broker_epoch=-1,
        incarnation_id=own.incarnation_id,
        listeners={each.name: Endpoint(each.host, each.port, each.security_protocol) for each in own.listeners},
        rack=own.rack,
        fenced=False,
    )


def _share_a_listener(one: BrokerImage, other: BrokerImage) -> bool:
    mine = {(each.host, each.port) for each in one.listeners.values()}
    return any((each.host, each.port) in mine for each in other.listeners.values())
