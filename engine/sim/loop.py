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
import sys
import warnings
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

T = TypeVar("T")
# The loop looks for what is due on its heap: the time, then the order in which it was asked for.
Timer = tuple[float, int, "_TimerHandle"]
_TIDY_TASKS = 256

_CURRENT: contextvars.ContextVar[Incarnation | None] = contextvars.ContextVar("incarnation", default=None)


class SimulationStuck(RuntimeError):
    """Nothing is scheduled any more, and the simulation has not ended: somebody waits for what never comes."""


class Incarnation:
    """One life of one simulated process."""

    __slots__ = ("_tasks", "_tidy_at", "context", "is_alive", "is_paused", "name", "parked")

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_alive = True
        self.is_paused = False
        self.parked: list[asyncio.Handle] = []
        # Strong references: a task that is never run again must not be collected, which would run its ``finally``.
        self._tasks: list[asyncio.Task[Any]] = []
        self._tidy_at = _TIDY_TASKS
        self.context = contextvars.copy_context()
        self.context.run(_CURRENT.set, self)

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Hold on to a task of this process until it is done, or the process dead."""
        tasks = self._tasks
        tasks.append(task)
        if len(tasks) >= self._tidy_at:
            # A callback of each task that is done would be a fifth of all callbacks.
            self._tasks = [each for each in tasks if not each.done()]
            self._tidy_at = 2 * len(self._tasks) + _TIDY_TASKS

    def live_tasks(self) -> list[asyncio.Task[Any]]:
        """Tasks that are not done."""
        return [each for each in self._tasks if not each.done()]

    def __repr__(self) -> str:
        return f"Incarnation({self.name})"


def current_incarnation() -> Incarnation | None:
    """Whose callback is running; None outside of any process."""
    return _CURRENT.get()


class _Handle(asyncio.Handle):
    """asyncio's, made with less ado: a simulation makes millions."""

    __slots__ = ()

    def __init__(
        self, callback: Callable[..., object], args: tuple[Any, ...], loop: SimLoop, context: contextvars.Context | None
    ) -> None:
        self._callback = callback
        self._args = args
        self._loop = loop
        self._context = contextvars.copy_context() if context is None else context
        self._cancelled = False
        self._repr = None
        self._source_traceback = None


class _TimerHandle(_Handle, asyncio.TimerHandle):
    """Of :meth:`SimLoop.call_at`."""

    __slots__ = ()

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: SimLoop,
        context: contextvars.Context | None,
    ) -> None:
        _Handle.__init__(self, callback, args, loop, context)
        self._when = when
        self._scheduled = True


class SimLoop(asyncio.BaseEventLoop):
    """The loop. :attr:`events` counts callbacks that ran; each ``on_event_every`` of them ``on_event`` is called."""

    def __init__(self, *, start_s: float = 1000.0) -> None:
        super().__init__()
        self._virtual_s = start_s
        self.events = 0
        self.on_event: Callable[[], None] | None = None
        self.on_event_every = 1
        self._timers: list[Timer] = []
        self._asked = 0
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
            owner.keep(task)
        return task

    # -- running ------------------------------------------------------------------------------------------------

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = _Handle(callback, args, self, context)
        self._ready.append(handle)  # type: ignore[attr-defined]
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        handle = _TimerHandle(when, callback, args, self, context)
        self._asked += 1
        heapq.heappush(self._timers, (when, self._asked, handle))
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._virtual_s + delay, callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It stays on the heap until its time has come."""

    def _run_once(self) -> None:
        ready, timers = self._ready, self._timers  # type: ignore[attr-defined]
        if not ready:
            while timers and timers[0][2]._cancelled:
                heapq.heappop(timers)
            if not timers:
                if not self._stopping:  # type: ignore[attr-defined]
                    raise SimulationStuck("nothing is scheduled any more")
                return
            if timers[0][0] > self._virtual_s:
                self._virtual_s = timers[0][0]
        now = self._virtual_s
        while timers and timers[0][0] <= now:
            handle = heapq.heappop(timers)[2]
            if not handle._cancelled:
                ready.append(handle)
        run_one = self._run_one
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                run_one(handle)

    def _run_one(self, handle: Any) -> bool:
        """Run a callback, if its process may; whether it ran."""
        if handle._cancelled:
            return False
        context = handle._context
        owner = context.get(_CURRENT)
        if owner is not None:
            if not owner.is_alive:
                return False
            if owner.is_paused:
                owner.parked.append(handle)
                return False
        try:
            context.run(handle._callback, *handle._args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.call_exception_handler({"message": f"Exception in callback {handle!r}", "exception": error})
        self.events += 1
        if self.on_event is not None and self.events % self.on_event_every == 0:
            self.on_event()
        return True

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
        # Coroutines that had not begun, or that wait again while they are closed, are nobody's fault.
        hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
        asyncio.events._set_running_loop(self)
        try:
            for task in list(asyncio.all_tasks(self)):
                cast(Any, task)._log_destroy_pending = False
                coroutine = task.get_coro()
                if isinstance(coroutine, Coroutine):
                    with contextlib.suppress(BaseException), warnings.catch_warnings():
                        warnings.simplefilter("ignore", RuntimeWarning)
                        coroutine.close()
        finally:
            asyncio.events._set_running_loop(None)
            sys.unraisablehook = hook
            logging.disable(logging.NOTSET)
        self._ready.clear()  # type: ignore[attr-defined]
        self._timers.clear()
        self.close()
