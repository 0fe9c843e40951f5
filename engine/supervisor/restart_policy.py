"""When a broker that ended by itself is started again. Pure: the time is an argument."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from engine.supervisor.spec_types import RestartSpec


class Verdict(NamedTuple):
    """``delay_ms`` until the restart, ``None`` for never; ``why`` is a sentence for people."""

    delay_ms: int | None
    why: str


class RestartPolicy:
    """Counts the unasked ends of one broker."""

    def __init__(self, spec: RestartSpec) -> None:
        self._spec = spec
        self._ends_ms: deque[float] = deque()

    def on_exit(self, now_ms: float, exit_code: int) -> Verdict:
        """The process ended by itself, with this exit code (negative: by that signal)."""
        spec = self._spec
        how = f"killed by signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
        if spec.policy == "never" or (spec.policy == "on-failure" and exit_code == 0):
            return Verdict(None, f"{how}; restart policy is {spec.policy}")
        while self._ends_ms and now_ms - self._ends_ms[0] > spec.within_ms:
            self._ends_ms.popleft()
        self._ends_ms.append(now_ms)
        ends = len(self._ends_ms)
        if ends >= spec.give_up_after:
            return Verdict(None, f"{how}; ended {ends} times within {spec.within_ms} ms: crash loop, left down")
        delay_ms = min(spec.backoff_ms * 2 ** (ends - 1), spec.max_backoff_ms)
        return Verdict(delay_ms, f"{how}; restart {ends} in {delay_ms} ms")

    def on_asked(self) -> None:
        """Somebody started the broker on purpose: what was before does not count."""
        self._ends_ms.clear()
