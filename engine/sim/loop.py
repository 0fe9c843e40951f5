"""An asyncio event loop in virtual time: nothing waits, and the same seed runs the same callbacks in the same order.

Every callback belongs to an :class:`Incarnation` (one life of one process), found in its context. Callbacks of a paused
process are put aside until it is resumed (SIGSTOP), those of a dead one are dropped (SIGKILL): no ``finally`` of it
runs, as none does in a process that was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import sys
import warnings
from collections.abc import Callable, Coroutine
from heapq import heappop as _pop
from heapq import heappush as _push
from typing import TYPE_CHECKING, Any, TypeVar, cast

T = TypeVar("T")
# The loop looks for what is due on its heap: the time, then the order in which it was asked for.
Timer = tuple[float, int, "_Handle"]
_TIDY_TASKS = 256
_copy_context = contextvars.copy_context
_new = object.__new__

_CURRENT: contextvars.ContextVar[Incarnation | None] = contextvars.ContextVar("incarnation", default=None)


class SimulationStuck(RuntimeError):
    """Nothing is scheduled any more, and the simulation has not ended: somebody waits for what never comes."""


class Incarnation:
    """One life of one simulated process."""

    __slots__ = ("_tasks", "_tidy_at", "context", "is_alive", "is_paused", "name", "parked", "stands_still")

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_alive = True
        self.is_paused = False
        # Dead or paused: what the loop asks before each callback.
        self.stands_still = False
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


class _Handle(asyncio.TimerHandle):
    """asyncio's, made with less ado: a simulation makes millions. Of :meth:`SimLoop.call_soon` and ``call_at``."""

    __slots__ = ()

    if TYPE_CHECKING:
        _when: float
        _callback: Any
        _args: Any
        _context: contextvars.Context

    def cancel(self) -> None:
        """It does not run. On the heap it stays until its time has come."""
        self._cancelled = True
        self._callback = self._args = None

    def __repr__(self) -> str:
        return f"<{'cancelled' if self._cancelled else self._callback!r} at {self._when:.6f} s>"


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
        incarnation.stands_still = True
        incarnation.parked.clear()
        self._dead.append(incarnation)

    def pause(self, incarnation: Incarnation) -> None:
        """Nothing of the process runs until :meth:`resume`."""
        incarnation.is_paused = incarnation.stands_still = True

    def resume(self, incarnation: Incarnation) -> None:
        """What was put aside runs now, in its order."""
        incarnation.is_paused = False
        incarnation.stands_still = not incarnation.is_alive
        self._ready.extend(incarnation.parked)  # type: ignore[attr-defined]
        incarnation.parked.clear()

    # Asked for by every future and task that is made: here without a frame of its own. It is False.
    get_debug = staticmethod(bool)

    def create_task(  # type: ignore[override]
        self, coro: Any, *, name: str | None = None, context: contextvars.Context | None = None
    ) -> asyncio.Task[Any]:
        # Without the number that asyncio would write into each name.
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name or "task", context=context)
        owner = _CURRENT.get()
        if owner is not None:
            owner.keep(task)
        return task

    # -- running ------------------------------------------------------------------------------------------------

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        # Without a call of its own for what every callback needs.
        handle = _new(_Handle)
        handle._when = 0.0
        handle._callback = callback
        handle._args = args
        handle._context = _copy_context() if context is None else context
        handle._cancelled = False
        self._ready.append(handle)  # type: ignore[attr-defined]
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        handle = _new(_Handle)
        handle._when = when
        handle._callback = callback
        handle._args = args
        handle._context = _copy_context() if context is None else context
        handle._cancelled = False
        self._asked = asked = self._asked + 1
        _push(self._timers, (when, asked, handle))
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._virtual_s + delay, callback, *args, context=context)

    def _run_once(self) -> None:
        """Turn after turn, until somebody stops the loop: BaseEventLoop calls it until then."""
        ready, timers = self._ready, self._timers  # type: ignore[attr-defined]
        next_ready, current = ready.popleft, _CURRENT
        while True:
            if not ready:
                while timers and timers[0][2]._cancelled:
                    _pop(timers)
                if not timers:
                    if not self._stopping:  # type: ignore[attr-defined]
                        raise SimulationStuck("nothing is scheduled any more")
                    return
                if timers[0][0] > self._virtual_s:
                    self._virtual_s = timers[0][0]
            now = self._virtual_s
            while timers and timers[0][0] <= now:
                handle = _pop(timers)[2]
                if not handle._cancelled:
                    ready.append(handle)
            for _ in range(len(ready)):
                handle = next_ready()
                # As in _run_one: a call of its own would be a good part of what the loop costs.
                if handle._cancelled:
                    continue
                context = handle._context
                owner = context.get(current)
                if owner is not None and owner.stands_still:
                    if owner.is_alive:
                        owner.parked.append(handle)
                    continue
                try:
                    context.run(handle._callback, *handle._args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:
                    self.call_exception_handler({"message": f"Exception in callback {handle!r}", "exception": error})
                self.events = events = self.events + 1
                if events % self.on_event_every == 0 and self.on_event is not None:
                    self.on_event()
            if self._stopping:  # type: ignore[attr-defined]
                return

    def _run_one(self, handle: Any) -> bool:
        """Run a callback, if its process may; whether it ran."""
        if handle._cancelled:
            return False
        context = handle._context
        owner = context.get(_CURRENT)
        if owner is not None and owner.stands_still:
            if owner.is_alive:
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
