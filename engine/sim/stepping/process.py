"""A run in a process of its own: the console's screen never waits for it, and can end it at any moment.

``python -m engine.sim.stepping.process``: the first line of standard input says what to run, each further one is a
command (:class:`~engine.sim.stepping.driver.Driver`); frames go to standard output, a JSON object a line. The end of
standard input is the end of the process.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import time
from collections import deque
from typing import Any

from engine.sim.options import Options
from engine.sim.stepping.acts import Planned, act_from
from engine.sim.stepping.driver import Driver

_SLICE_S = 0.03
_FRAME_S = 0.1


def options_as_data(options: Options) -> dict[str, Any]:
    """For the first line."""
    return options._asdict()


def planned_as_data(planned: Planned) -> dict[str, Any]:
    """For the first line."""
    return {"at_s": planned.at_s, "kind": planned.act.kind, "brokers": planned.act.brokers, "value": planned.act.value}


def driver_from(first: dict[str, Any]) -> Driver:
    """What the first line describes."""
    # JSON has no tuples.
    options: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in first["options"].items()
    }
    planned = [Planned(act_from(each), None, float(each["at_s"]), "scenario") for each in first["planned"]]
    return Driver(Options(**options), planned)


class _Lines:
    """Lines of standard input as they come."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""
        self._waiting: deque[bytes] = deque()
        self.is_over = False

    def next(self, wait: bool) -> bytes | None:
        """The next line; None if there is none yet, or with ``wait`` at the end."""
        while not self._waiting and not self.is_over:
            ready, _, _ = select.select([self._descriptor], [], [], None if wait else 0)
            if not ready:
                return None
            data = os.read(self._descriptor, 65536)
            self.is_over = not data
            *lines, self._rest = (self._rest + data).split(b"\n")
            self._waiting.extend(lines)
        return self._waiting.popleft() if self._waiting else None


def main() -> None:
    """Until standard input ends."""
    lines = _Lines(0)
    first = lines.next(wait=True)
    if first is None:
        return

    def tell(data: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(data, separators=(",", ":"), default=str) + "\n")
        sys.stdout.flush()

    driver = driver_from(json.loads(first))
    tell(driver.frame())
    told_at = time.perf_counter()
    while not lines.is_over:
        asked = False
        while (line := lines.next(wait=driver.is_idle and not asked)) is not None:
            asked = True
            answer = driver.command(json.loads(line))
            if answer is not None:
                tell(answer)
        was_idle = driver.is_idle
        driver.work(_SLICE_S)
        now = time.perf_counter()
        has_stopped = driver.is_idle and not was_idle
        if has_stopped or (asked and driver.is_idle) or (not driver.is_idle and now - told_at >= _FRAME_S):
            told_at = now
            tell(driver.frame())
        elif not driver.is_idle and driver.speed is not None and driver.mode == "playing":
            # Ahead of real time there is nothing to do.
            time.sleep(0.01)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        main()
    # What brokers left undone is nobody's business any more; closing it in order would take long and say much.
    os._exit(0)
