"""Notifications that the controller wrote (engine/core/znodes/notification_znodes.py) do not pile up in ZooKeeper.

Kafka's brokers delete those that are 15 minutes old when they read one; here nobody reads them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from engine.core.znodes.notification_znodes import PREFIXES, surplus_notifications
from engine.core.znodes.operations import Create, Operation
from engine.zookeeper.errors import NoNode, ZooKeeperError

if TYPE_CHECKING:
    from engine.zookeeper.session import ZooKeeperSession

log = logging.getLogger(__name__)

# So many are written before it is looked how many there are.
_LOOK_EVERY = 50
_DELETED_AT_ONCE = 500


class NotificationUpkeep:
    """Counts what is written, and deletes the oldest beside the controller's work."""

    def __init__(self, session: ZooKeeperSession) -> None:
        self._session = session
        # What those before this controller left is looked at with the first one.
        self._unseen = _LOOK_EVERY
        self._task: asyncio.Task[None] | None = None

    def wrote(self, operations: Iterable[Operation]) -> None:
        """The controller writes these."""
        self._unseen += sum(1 for each in operations if isinstance(each, Create) and each.sequential)
        if self._unseen > _LOOK_EVERY and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._delete())

    async def close(self) -> None:
        """Leave the rest to the next one."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _delete(self) -> None:
        try:
            while self._unseen > _LOOK_EVERY:
                self._unseen = 0
                for parent in PREFIXES:
                    await self._delete_surplus(parent)
        except ZooKeeperError as error:
            log.info("old notifications stay in ZooKeeper for now: %s", error)
        finally:
            self._task = None

    async def _delete_surplus(self, parent: str) -> None:
        with contextlib.suppress(NoNode):
            surplus = surplus_notifications(parent, await self._session.children(parent))
            for begin in range(0, len(surplus), _DELETED_AT_ONCE):
                await self._session.multi(surplus[begin : begin + _DELETED_AT_ONCE])
