"""A tree of znodes as it was at one moment, read while others write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from engine.core.znodes.operations import Znode
from engine.zookeeper.errors import NoNode

if TYPE_CHECKING:
    from engine.zookeeper.session import WatchEvent, ZooKeeperSession
    from engine.zookeeper.stat import ZnodeStat


class WatchedTree:
    """All znodes at and below some roots; for one reading.

    Everything is watched from when it is read, and what changed until the end of a round is read again. ZooKeeper tells
    of a change before it answers anything that is asked later, so nothing is missed; and each round asks, all at once,
    only for what changed during the one before, so it comes to an end however much is written.
    """

    def __init__(self, session: ZooKeeperSession, roots: Iterable[str], is_leaf: Callable[[str], bool]) -> None:
        """``is_leaf``: of znodes that never have others below them nothing but the value is asked."""
        self._znodes: dict[str, Znode] = {}
        self._session = session
        self._roots = frozenset(roots)
        self._is_leaf = is_leaf
        self._below: dict[str, set[str]] = {}
        self._stale_values: set[str] = set()
        self._stale_lists: set[str] = set()

    async def read(self, mark: str) -> tuple[Znode, dict[str, Znode]]:
        """The znode ``mark``, and the tree by path as it was at that moment.

        Raises: ZooKeeperError, NoNode: there is no such mark.
        """
        for path in self._roots:
            self._is_new(path)
        while True:
            values, self._stale_values = self._stale_values, set()
            lists, self._stale_lists = self._stale_lists, set()
            asked = [(path, self._session.ask(path, self._on_value)) for path in values]
            listed = [(path, self._session.ask_children(path, self._on_list)) for path in lists]
            marked = self._session.ask(mark)
            try:
                await self._take(asked, listed)
                found = (await marked)[0]
            finally:
                abandon([*(each for _, each in asked), *(each for _, each in listed), marked])
            if not self._stale_values and not self._stale_lists:
                # Watches of what does not change stay, and must not hold the tree.
                read, self._znodes, self._below = self._znodes, {}, {}
                return found, read

    async def _take(
        self,
        asked: list[tuple[str, asyncio.Future[tuple[Znode, ZnodeStat]]]],
        listed: list[tuple[str, asyncio.Future[list[str]]]],
    ) -> None:
        for path, value in asked:
            try:
                self._znodes[path] = (await value)[0]
            except NoNode:
                await self._is_gone(path)
        for path, names in listed:
            try:
                found = set(await names)
            except NoNode:
                await self._is_gone(path)
                continue
            known, self._below[path] = self._below.get(path, set()), found
            for name in known - found:
                self._forget(f"{path}/{name}")
            for name in found - known:
                self._is_new(f"{path}/{name}")

    def _is_new(self, path: str) -> None:
        self._stale_values.add(path)
        if not self._is_leaf(path):
            self._stale_lists.add(path)

    async def _is_gone(self, path: str) -> None:
        self._forget(path)
        # If it comes back it is new to its parent, whose list was told to be another; a root has no parent here.
        parent, _, name = path.rpartition("/")
        self._below.get(parent, set()).discard(name)
        if path in self._roots and await self._session.exists(path, lambda _: self._is_new(path)) is not None:
            self._is_new(path)

    def _forget(self, path: str) -> None:
        self._znodes.pop(path, None)
        for name in self._below.pop(path, ()):
            self._forget(f"{path}/{name}")

    def _on_value(self, event: WatchEvent) -> None:
        self._stale_values.add(event.path)

    def _on_list(self, event: WatchEvent) -> None:
        self._stale_lists.add(event.path)


def abandon(futures: Iterable[asyncio.Future[Any]]) -> None:
    """Nobody waits for these any more."""
    for each in futures:
        if not each.cancel() and not each.cancelled():
            # Looked at, so that nobody complains that it was not.
            each.exception()
