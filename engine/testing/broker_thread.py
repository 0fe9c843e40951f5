"""One broker in a thread of its own, with an event loop of its own, from its start to its end.

A thread a broker, because then a paused broker is what SIGSTOP makes of a process, a thread that stands still with all
its sockets open, and because the test may be anything: synchronous, asynchronous under any loop, many threads. A broker
is killed from inside: its network and its disk die first, so that nothing which its tasks do while they are unwound
reaches anybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from engine.broker.broker import Broker
from engine.testing.disk import BrokerDisk
from engine.testing.errors import KafkaClusterError
from engine.world.real import RealWorld

if TYPE_CHECKING:
    from engine.core.controller.image import MetadataImage
    from engine.model.broker_config import BrokerConfig
    from engine.testing.network import BrokerNetwork

T = TypeVar("T")

log = logging.getLogger(__name__)

# What must happen at once has this long on a machine that is very busy.
_PATIENCE_S = 30.0
_LAST_WORDS_S = 0.5
_UNWIND_ROUNDS = 50


class BrokerState(Enum):
    """What a broker of the cluster is doing."""

    STOPPED = "stopped"  # not started yet, or stopped in order
    RUNNING = "running"
    PAUSED = "paused"
    KILLED = "killed"
    FAILED = "failed"  # it ended by itself: its log says why


class BrokerWorld(RealWorld):
    """The real clock and randomness, and this broker's own disk and network."""

    __slots__ = ()

    def __init__(self, network: BrokerNetwork) -> None:
        super().__init__()
        self.disk = BrokerDisk()
        self.network = network


def _new_event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class BrokerThread:
    """One life of one broker. Its methods may be called from any thread but the broker's own."""

    def __init__(self, config: BrokerConfig, network: BrokerNetwork) -> None:
        self.broker_id = config.node_id
        self.state = BrokerState.RUNNING
        # Done when the broker serves clients, or will not.
        self.ready: Future[None] = Future()
        self._config = config
        self._network = network
        self._disk: BrokerDisk | None = None
        self._broker: Broker | None = None
        self._loop = _new_event_loop()
        self._end = asyncio.Event()
        self._is_controlled = False
        self._is_killed = False
        self._guard = threading.Lock()
        self._outstanding: set[Future[Any]] = set()
        self._ended = False
        # What a paused broker's thread waits for: acts, and None to go on.
        self._acts: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"kafka-broker-{self.broker_id}", daemon=True)
        self._thread.start()

    # -- reading: the metadata's images do not change, each change makes another one -------------------------------

    @property
    def image(self) -> MetadataImage | None:
        """The metadata as this broker knows it now; None before it begins and after it has ended."""
        broker = self._broker
        return None if broker is None else broker.metadata.image

    @property
    def controller_epoch(self) -> int:
        """The epoch in which this node believes to be the active controller, -1 if it does not."""
        controller = None if self._broker is None else self._broker.controller
        return controller.epoch if controller is not None and controller.is_active else -1

    # -- acts ---------------------------------------------------------------------------------------------------

    def submit(self, work: Callable[[Broker], Coroutine[Any, Any, T]]) -> Future[T]:
        """Run something as a part of the broker. Its future fails when the broker ends first."""
        future: Future[T] = Future()
        with self._guard:
            if self._ended:
                future.set_exception(KafkaClusterError(f"broker {self.broker_id} does not run"))
                return future
            self._outstanding.add(future)

        def begin() -> None:
            broker = self._broker
            if broker is None:
                future.set_exception(KafkaClusterError(f"broker {self.broker_id} does not run yet"))
                return
            task = self._loop.create_task(work(broker))
            task.add_done_callback(finish)

        def finish(task: asyncio.Task[T]) -> None:
            with self._guard:
                self._outstanding.discard(future)
            if future.done():
                return
            if task.cancelled():
                future.set_exception(KafkaClusterError(f"broker {self.broker_id} ended meanwhile"))
                return
            error = task.exception()
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(task.result())

        self._post(begin)
        return future

    def set_cut(self, cut_from: frozenset[int]) -> None:
        """These brokers are out of reach from now on, all others are not. Returns when it is so."""
        done = threading.Event()

        def act() -> None:
            self._network.set_cut(cut_from)
            done.set()

        self._post(act)
        self._await(done)

    def pause(self) -> None:
        """Stand still, as under SIGSTOP. Returns when it does."""
        standing = threading.Event()

        def stand() -> None:
            standing.set()
            while (act := self._acts.get()) is not None:
                act()

        self._loop.call_soon_threadsafe(stand)
        self._await(standing)
        self.state = BrokerState.PAUSED

    def resume(self) -> None:
        """Go on, as under SIGCONT."""
        self.state = BrokerState.RUNNING
        self._acts.put(None)

    def kill(self) -> None:
        """Die, as under SIGKILL. :meth:`join` waits for the thread."""
        is_paused = self.state is BrokerState.PAUSED
        self._post(self._die)
        if is_paused:
            self._acts.put(None)
        if self.state is not BrokerState.FAILED:
            self.state = BrokerState.KILLED

    def stop(self, *, controlled: bool) -> None:
        """Leave in order; ``controlled`` moves the leaders away first. :meth:`join` waits for it."""
        self._is_controlled = controlled
        self._post(self._end.set)
        if self.state is not BrokerState.FAILED:
            self.state = BrokerState.STOPPED

    def join(self, timeout_s: float = _PATIENCE_S) -> None:
        """Wait for the end of the thread.

        Raises:
            KafkaClusterError: it does not end.
        """
        if self._thread is threading.current_thread():
            return
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            raise KafkaClusterError(f"the thread of broker {self.broker_id} has not ended within {timeout_s:.0f} s")

    def _post(self, act: Callable[[], None]) -> None:
        if self.state is BrokerState.PAUSED:
            self._acts.put(act)
            return
        # A loop that is closed has nothing to do any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(act)

    def _await(self, event: threading.Event) -> None:
        waited_s = 0.0
        while not event.wait(0.1):
            waited_s += 0.1
            if self._ended:
                return
            if waited_s >= _PATIENCE_S:
                raise KafkaClusterError(f"broker {self.broker_id} has not answered for {_PATIENCE_S:.0f} s")

    # -- in the broker's thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        loop = self._loop
        try:
            loop.run_until_complete(self._live())
        except BaseException as error:
            log.exception("broker %d ended", self.broker_id)
            self._fail(error)
        try:
            loop.run_until_complete(self._unwind())
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        except BaseException:
            log.exception("broker %d did not end in order", self.broker_id)
        finally:
            loop.close()
            if self._disk is not None:
                self._disk.close()
            self._broker = None
            with self._guard:
                self._ended = True
                outstanding, self._outstanding = self._outstanding, set()
            for future in (self.ready, *outstanding):
                if not future.done():
                    future.set_exception(KafkaClusterError(f"broker {self.broker_id} ended meanwhile"))

    def _fail(self, error: BaseException) -> None:
        self.state = BrokerState.FAILED
        if not self.ready.done():
            self.ready.set_exception(error)

    async def _live(self) -> None:
        if self._is_killed:
            return
        world = BrokerWorld(self._network)
        assert isinstance(world.disk, BrokerDisk)
        self._disk = world.disk
        broker = self._broker = Broker(world, self._config)
        loop = asyncio.get_running_loop()
        starting = loop.create_task(broker.start())
        ends = [loop.create_task(self._end.wait()), loop.create_task(broker.failed.wait())]
        await asyncio.wait([starting, *ends], return_when=asyncio.FIRST_COMPLETED)
        if starting.done() and not self._is_killed:
            error = starting.exception()
            if error is None:
                self.ready.set_result(None)
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            else:
                self._fail(error)
        if self._is_killed:
            return
        if not starting.done():
            starting.cancel()
            await asyncio.wait([starting])
        if broker.failed.is_set():
            self._fail(KafkaClusterError(f"broker {self.broker_id} cannot go on: its log says why"))
        await broker.stop(controlled=self._is_controlled)
        # What was answered last is still on its way.
        closing = [loop.create_future() for _ in broker.router.connections]
        for connection, closed in zip(broker.router.connections, closing, strict=True):
            connection.on_close.append(lambda closed=closed: closed.set_result(None))
        if closing:
            await asyncio.wait(closing, timeout=_LAST_WORDS_S)

    def _die(self) -> None:
        self._is_killed = True
        self._network.die()
        broker = self._broker
        if broker is not None:
            for connection in list(broker.router.connections):
                if connection.transport is not None:
                    connection.transport.abort()
        if self._disk is not None:
            self._disk.is_dead = True
        self._end.set()

    async def _unwind(self) -> None:
        """End every task, those that the end of others begins as well, and let sockets close."""
        self._die()
        # Python complains of what was called and is cancelled before it began.
        await asyncio.sleep(0)
        for _ in range(_UNWIND_ROUNDS):
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            done, _ = await asyncio.wait(tasks, timeout=1)
            for task in done:
                # Looked at, so that nobody complains of it.
                if not task.cancelled():
                    task.exception()
        for _ in range(3):
            await asyncio.sleep(0)
