"""The ZooKeeper ensemble of a cluster as the gateways see it: what an observer of its own finds, and why it cannot be
asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from console.gateway.protocol import GatewayError
from console.viewmodel.zookeeper import NOT_OPENED
from engine.supervisor.snapshot import ClusterEvent, ClusterSnapshot
from engine.supervisor.zookeeper_changes import zookeeper_changes
from engine.supervisor.zookeeper_snapshot import ZnodesSeen, ZooKeeperState
from engine.world import Clock

if TYPE_CHECKING:
    from engine.supervisor.zookeeper_observation import ZooKeeperObserver
    from engine.zookeeper.config import ZooKeeperConfig


class Ensemble:
    """Watched from the first question on, once somebody has said where it is."""

    def __init__(self, clock: Clock, *, tell: Callable[[ClusterEvent], None], changed: Callable[[], None]) -> None:
        """``tell`` is called with each event that is found here, ``changed`` after each look."""
        self._clock = clock
        self._tell = tell
        self._changed = changed
        self._config: ZooKeeperConfig | None = None
        self._observer: ZooKeeperObserver | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._events = 0
        self._processes: dict[str, Mapping[str, Any]] = {}

    @property
    def is_own(self) -> bool:
        """Whether a supervisor runs its servers."""
        return bool(self._processes)

    def is_at(self, config: ZooKeeperConfig) -> None:
        """It is there; another one than before is begun with anew."""
        if config == self._config:
            return
        self._config = config
        if self._observer is not None:
            self._end(self._observer)
            self._observer = None

    def _end(self, observer: ZooKeeperObserver) -> None:
        task = asyncio.ensure_future(observer.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def begin(self) -> None:
        """Look from now on."""
        if self._config is None or self._observer is not None:
            return
        from engine.supervisor.zookeeper_observation import ZooKeeperObserver

        self._observer = ZooKeeperObserver(self._clock, self._config, on_change=self._on_change)
        self._observer.start()
        for fact in self._processes.values():
            self._observer.on_process(fact)

    def _on_change(self, before: ZooKeeperState, after: ZooKeeperState) -> None:
        for change in zookeeper_changes(before, after, servers=not self.is_own):
            self._events += 1
            now_ms = self._clock.now_ms()
            self._tell(
                ClusterEvent(
                    self._events, now_ms, str(change.kind), change.subject, change.reason, "zookeeper", change.detail
                )
            )
        self._changed()

    def seen_with(self, snapshot: ClusterSnapshot) -> ClusterSnapshot:
        """The picture with the ensemble in it, where there is one."""
        if self._observer is None:
            return snapshot
        state = self._observer.state
        epoch = snapshot.controller_epoch
        if epoch is None and state.controller is not None:
            epoch = state.controller.epoch
        return snapshot.with_facts(zookeeper=state, coordination="zookeeper", controller_epoch=epoch)

    def on_process(self, fact: Mapping[str, Any]) -> None:
        """What a supervisor tells of a server."""
        self._processes[str(fact["address"])] = fact
        if self._observer is not None:
            self._observer.on_process(fact)

    async def znodes(self, opened: Sequence[str], wanted: Sequence[str]) -> ZnodesSeen:
        """Raises: GatewayError."""
        self.begin()
        if self._observer is None:
            raise GatewayError(NOT_OPENED)
        from engine.zookeeper.errors import ZooKeeperError

        try:
            return await self._observer.znodes(opened, wanted)
        except ZooKeeperError as error:
            raise GatewayError(str(error)) from error

    async def close(self) -> None:
        """Let go."""
        if self._observer is not None:
            await self._observer.close()
            self._observer = None
        await asyncio.gather(*self._closing, return_exceptions=True)
