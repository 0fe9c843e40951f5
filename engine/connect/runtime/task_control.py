"""What the worker wants of a task, and what the task tells it: between the loop's thread and the pipe's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from engine.connect.runtime.task_pipe import TaskEnd

_TELL_S = 1.0
_PAUSED_S = 0.1


class TaskControl:
    """Of one task."""

    def __init__(self, name: str, pipe: TaskEnd, *, paused: bool, tracks_topics: bool) -> None:
        self.name = name
        """``connector-0``, for logs."""
        self._pipe = pipe
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._paused = paused
        self._tracks_topics = tracks_topics
        self._topics: set[str] = set()
        self._records = 0
        self._told_at = 0.0
        self._told_records = 0
        self._on_stop: list[Callable[[], None]] = []

    # -- the worker's wishes, from the pipe's thread ---------------------------------------------------------------

    def stop(self) -> None:
        """End soon."""
        self._stop.set()
        self._wake.set()
        for each in self._on_stop:
            each()

    def set_paused(self, paused: bool) -> None:
        """Do nothing for a while, or go on."""
        self._paused = paused
        self._wake.set()

    def on_stop(self, call: Callable[[], None]) -> None:
        """Call this too when the task shall stop; from the pipe's thread."""
        self._on_stop.append(call)

    # -- the loop's ---------------------------------------------------------------------------------------------

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    @property
    def paused(self) -> bool:
        return self._paused

    def wait(self, seconds: float) -> None:
        """Sleep, unless the worker wants something."""
        self._wake.wait(seconds)
        self._wake.clear()

    def pause(self, meanwhile: Callable[[], Any]) -> None:
        """Until the worker wants the task to go on, or to stop; says so before and after."""
        self.status("PAUSED")
        while self._paused and not self.stopping:
            meanwhile()
            self.wait(_PAUSED_S)
        if not self.stopping:
            self.status("RUNNING")

    def status(self, state: str, trace: str | None = None) -> None:
        """The task is in this state now."""
        self._pipe.send({"status": state, "trace": trace})

    def wrote_to(self, topic: str) -> None:
        """The task uses a topic."""
        if self._tracks_topics and topic not in self._topics:
            self._topics.add(topic)
            self._pipe.send({"topic": topic})

    def forget_topics(self) -> None:
        """Somebody reset the topics that the connector uses: tell them again."""
        self._topics = set()

    def count(self, records: int) -> None:
        """So many records went through; the worker hears of it once a second."""
        self._records += records
        now = time.monotonic()
        if now - self._told_at >= _TELL_S:
            self.tell_counters()

    def tell_counters(self) -> None:
        """Now."""
        self._told_at = time.monotonic()
        if self._records != self._told_records:
            self._told_records = self._records
            self._pipe.send({"records": self._records})
