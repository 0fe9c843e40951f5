"""The simulator's loop, made to stop between any two callbacks and to go on as if it had not."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable

from engine.sim.loop import SimLoop, SimulationStuck

# The wall clock is looked at after so many callbacks.
_ASK_EVERY = 128


class SteppedLoop(SimLoop):
    """Callbacks run in the same order as in :class:`SimLoop`, however often it is stopped: a turn that is left in its
    middle is ended first.

    It stops after callback number :attr:`stop_at`, before anything that happens later than :attr:`horizon_s`, when
    :attr:`is_enough` says so, or after a callback in which :meth:`halt` was called.
    """

    def __init__(self) -> None:
        super().__init__()
        self.horizon_s = math.inf
        self.stop_at = -1
        self.is_enough: Callable[[], bool] | None = None
        # Whether the last stop was for the horizon: nothing is left to do before it.
        self.is_at_horizon = False
        self._left = 0
        self._halted = False

    def halt(self) -> None:
        """Stop after the callback that runs now."""
        self._halted = True
        self.stop()

    def run_until_halted(self) -> None:
        """Go on. Raises what ``on_event`` raises."""
        self._halted = self.is_at_horizon = False
        self.run_forever()

    def _run_once(self) -> None:
        ready, timers = self._ready, self._timers  # type: ignore[attr-defined]
        if not self._left:
            if not ready and not self._forward():
                return
            now = self._virtual_s
            while timers and timers[0][0] <= now:
                handle = heapq.heappop(timers)[2]
                if not handle._cancelled:
                    ready.append(handle)
            self._left = len(ready)
        while self._left:
            self._left -= 1
            if not self._run_one(ready.popleft()):
                continue
            if self.events == self.stop_at or (
                self.events % _ASK_EVERY == 0 and self.is_enough is not None and self.is_enough()
            ):
                self.halt()
            if self._halted:
                return

    def _forward(self) -> bool:
        """To the next timer's time, if that is not behind the horizon."""
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        if not timers and math.isinf(self.horizon_s):
            raise SimulationStuck("nothing is scheduled any more")
        if not timers or timers[0][0] > self.horizon_s:
            self._virtual_s = max(self._virtual_s, self.horizon_s)
            self.is_at_horizon = True
            self.halt()
            return False
        self._virtual_s = max(self._virtual_s, timers[0][0])
        return True
