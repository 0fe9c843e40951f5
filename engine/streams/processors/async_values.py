"""Another value for each record by a coroutine of the user's: Kafka Streams has nothing like it.

The records of one list wait together, up to a bound, in an event loop of the node's own, in a thread of its own: the
task stands still until all of them are done. So the offsets that are committed cover finished work only, and the order
of the output is that of the input. Calls for one key follow one another; calls for several keys, or for none, overlap.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from engine.streams.errors import StreamsError, TopologyError
from engine.streams.processors.node import Node
from engine.streams.processors.table_supplier import Supplier
from engine.streams.records import Row


class _NoKey:
    """Stands for the key of a record that has none: equal to no other."""


AsyncMapper = Callable[[Any, Any], Awaitable[Any]]


class AsyncMapValues(Supplier):
    """``mapper(key, value)`` for each record; at most ``concurrency`` at once, each for at most ``timeout_s``."""

    def __init__(self, mapper: AsyncMapper, concurrency: int, timeout_s: float | None) -> None:
        if concurrency < 1:
            raise TopologyError(f"map_values_async(): concurrency must be 1 or more, it is {concurrency}")
        if timeout_s is not None and timeout_s <= 0:
            raise TopologyError(f"map_values_async(): timeout_s must be more than 0, it is {timeout_s}")
        self._mapper = mapper
        self._concurrency = concurrency
        self._timeout_s = timeout_s

    def make(self) -> Node:
        """The node of one task."""
        return _AsyncMapValuesNode(self._mapper, self._concurrency, self._timeout_s)


class _AsyncMapValuesNode(Node):
    __slots__ = ("_concurrency", "_loop", "_mapper", "_thread", "_timeout_s")

    def __init__(self, mapper: AsyncMapper, concurrency: int, timeout_s: float | None) -> None:
        super().__init__()
        self._mapper = mapper
        self._concurrency = concurrency
        self._timeout_s = timeout_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def concurrency(self) -> int:
        """How many records are worked on at once."""
        return self._concurrency

    def process(self, rows: list[Row]) -> None:
        """Run the coroutines, wait for all, forward what they gave in the order of the input."""
        loop = self._running_loop()
        results = asyncio.run_coroutine_threadsafe(self._map(rows), loop).result()
        out: list[Row] = []
        for row, (value, error) in zip(rows, results, strict=True):
            if error is None:
                out.append((row[0], value, row[2], row[3], row[4]))
            else:
                self.context.failed(self.name, row, error)
        self.forward(out)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name=f"async {self.name}", daemon=True)
            self._thread.start()
        return self._loop

    async def _map(self, rows: list[Row]) -> list[tuple[Any, Exception | None]]:
        results: list[tuple[Any, Exception | None]] = [(None, None)] * len(rows)
        room = asyncio.Semaphore(self._concurrency)
        by_key: dict[Any, list[int]] = {}
        for index, row in enumerate(rows):
            # Keys that cannot be hashed (lists, dictionaries of JSON) are told apart by how they look.
            key = _NoKey() if row[0] is None else row[0]
            try:
                by_key.setdefault(key, []).append(index)
            except TypeError:
                by_key.setdefault(repr(key), []).append(index)

        async def follow(indexes: list[int]) -> None:
            for index in indexes:
                async with room:
                    try:
                        call = self._mapper(rows[index][0], rows[index][1])
                        results[index] = await asyncio.wait_for(call, self._timeout_s), None
                    except asyncio.CancelledError:
                        results[index] = None, StreamsError("the call was cancelled")
                    except Exception as error:
                        results[index] = None, error

        await asyncio.gather(*(follow(indexes) for indexes in by_key.values()))
        return results

    def close(self) -> None:
        """End the thread and its loop."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        self._loop = self._thread = None
