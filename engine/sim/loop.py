"""An asyncio event loop in virtual time: nothing waits, and the same seed runs the same callbacks in the same order.

Every callback belongs to an :class:`Incarnation` (one life of one process), found in its context. Callbacks of a paused
process are put aside until it is resumed (SIGSTOP), those of a dead one are dropped (SIGKILL): no ``finally`` of it
runs, as none does in a process that was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import heapq
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

T = TypeVar("T")

_CURRENT: contextvars.ContextVar[Incarnation | None] = contextvars.ContextVar("incarnation", default=None)


class SimulationStuck(RuntimeError):
    """Nothing is scheduled any more, and the simulation has not ended: somebody waits for what never comes."""


class Incarnation:
    """One life of one simulated process."""

    __slots__ = ("context", "is_alive", "is_paused", "name", "parked", "tasks")

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_alive = True
        self.is_paused = False
        self.parked: list[asyncio.Handle] = []
        # Strong references: a task that is never run again must not be collected, which would run its ``finally``.
        self.tasks: set[asyncio.Task[Any]] = set()
        self.context = contextvars.copy_context()
        self.context.run(_CURRENT.set, self)

    def __repr__(self) -> str:
        return f"Incarnation({self.name})"


def current_incarnation() -> Incarnation | None:
    """Whose callback is running; None outside of any process."""
    return _CURRENT.get()


class SimLoop(asyncio.BaseEventLoop):
    """The loop. :attr:`events` counts callbacks that ran; ``on_event`` is called after each of them."""

    def __init__(self, *, start_s: float = 1000.0) -> None:
        super().__init__()
        self._virtual_s = start_s
        self.events = 0
        self.on_event: Callable[[], None] | None = None
        self._dead: list[Incarnation] = []
        self.set_task_factory(self._new_task)
        # Time-outs of a simulated second are never slow callbacks.
        self.slow_callback_duration = float("inf")
        self.failures: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _, context: self.failures.append(context))

    # -- time ---------------------------------------------------------------------------------------------------

    def time(self) -> float:
        """Virtual seconds."""
        return self._virtual_s

    # -- processes ----------------------------------------------------------------------------------------------

    def spawn(self, incarnation: Incarnation, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run ``work`` as part of a process."""
        task: asyncio.Task[T] = incarnation.context.copy().run(self.create_task, work)
        return task

    def kill(self, incarnation: Incarnation) -> None:
        """Nothing of the process runs any more, from now on."""
        incarnation.is_alive = False
        incarnation.parked.clear()
        self._dead.append(incarnation)

    def pause(self, incarnation: Incarnation) -> None:
        """Nothing of the process runs until :meth:`resume`."""
        incarnation.is_paused = True

    def resume(self, incarnation: Incarnation) -> None:
        """What was put aside runs now, in its order."""
        incarnation.is_paused = False
        self._ready.extend(incarnation.parked)  # type: ignore[attr-defined]
        incarnation.parked.clear()

    def _new_task(
        self, loop: asyncio.AbstractEventLoop, work: Any, context: contextvars.Context | None = None
    ) -> asyncio.Task[Any]:
        owner = _CURRENT.get()
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, context=context)
        if owner is not None:
            owner.tasks.add(task)
            task.add_done_callback(owner.tasks.discard)
        return task

    # -- running ------------------------------------------------------------------------------------------------

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled  # type: ignore[attr-defined]
        if not ready:
            while scheduled and scheduled[0]._cancelled:
                handle = heapq.heappop(scheduled)
                handle._scheduled = False
                self._forget_cancelled()
            if not scheduled:
                if not self._stopping:  # type: ignore[attr-defined]
                    raise SimulationStuck("nothing is scheduled any more")
                return
            self._virtual_s = max(self._virtual_s, scheduled[0]._when)
        now = self._virtual_s
        while scheduled and scheduled[0]._when <= now:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            if handle._cancelled:
                self._forget_cancelled()
            else:
                ready.append(handle)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            owner = handle._context.get(_CURRENT)
            if owner is not None:
                if not owner.is_alive:
                    continue
                if owner.is_paused:
                    owner.parked.append(handle)
                    continue
            handle._run()
            self.events += 1
            if self.on_event is not None:
                self.on_event()

    def _forget_cancelled(self) -> None:
        """Keep asyncio's count of cancelled timers, after which it tidies its heap."""
        loop = cast(Any, self)
        loop._timer_cancelled_count = max(0, loop._timer_cancelled_count - 1)

    def _process_events(self, event_list: object) -> None:
        """There are no sockets."""

    def _write_to_self(self) -> None:
        """Nobody waits in a system call."""

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run ``main`` to its end and close the loop; what is left of any process never runs."""
        try:
            return self.run_until_complete(main)
        finally:
            self.discard()

    def discard(self) -> None:
        """Close the loop and let go of every coroutine that is left, dead processes' included, without a word.

        Their ``finally`` blocks do run here, at the end of the world, where nothing that they do matters any more.
        """
        self.on_event = None
        logging.disable(logging.CRITICAL)
        asyncio.events._set_running_loop(self)
        try:
            for task in list(asyncio.all_tasks(self)):
                cast(Any, task)._log_destroy_pending = False
                coroutine = task.get_coro()
                if isinstance(coroutine, Coroutine):
                    with contextlib.suppress(BaseException):
                        coroutine.close()
        finally:
            asyncio.events._set_running_loop(None)
            logging.disable(logging.NOTSET)
        self._ready.clear()  # type: ignore[attr-defined]
        self._scheduled.clear()  # type: ignore[attr-defined]
        self.close()
