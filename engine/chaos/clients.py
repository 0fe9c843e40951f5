"""What the clients of a run share: threads that end on request, counts, librdkafka's settings."""

from __future__ import annotations

import logging
import random
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from engine.chaos.ack_ledger import AckLedger
from engine.sim.history_recorder import ClientRecorder, HistoryRecorder

# A broker that is paused or cut off answers nothing: clients give up within seconds and look elsewhere.
SETTINGS: dict[str, Any] = {
    "socket.timeout.ms": 4000,
    "socket.connection.setup.timeout.ms": 2000,
    "reconnect.backoff.ms": 20,
    "reconnect.backoff.max.ms": 300,
    "retry.backoff.ms": 20,
    "retry.backoff.max.ms": 200,
    "topic.metadata.refresh.interval.ms": 5000,
    "topic.metadata.refresh.fast.interval.ms": 50,
    "log_level": 5,
    "log.connection.close": False,
}


@dataclass(slots=True)
class Shared:
    """What all clients of a run have in common; ``failures`` end it, for they are mistakes of ours."""

    bootstrap: str
    log_file: str
    recorder: HistoryRecorder
    done: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    suspicious: list[str] = field(default_factory=list)
    """What clients were told and should not have been: it counts as an anomaly."""
    ledger: AckLedger = field(default_factory=AckLedger)
    stopping: threading.Event = field(default_factory=threading.Event)
    logger: logging.Logger = field(default_factory=lambda: logging.getLogger("engine.chaos.clients"))

    def __post_init__(self) -> None:
        # librdkafka says here why a consumer went elsewhere, say. Nothing of it belongs on the terminal.
        handler = logging.FileHandler(self.log_file)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        self.logger.addHandler(handler)
        self.logger.propagate = False
        self.logger.setLevel(logging.INFO)

    def settings(self, client_id: str, **more: Any) -> dict[str, Any]:
        """librdkafka's configuration; underscores stand for dots."""
        own = {name.replace("_", "."): value for name, value in more.items()}
        common = {"bootstrap.servers": self.bootstrap, "client.id": client_id, "logger": self.logger}
        return {**SETTINGS, **common, **own}


class ClientThread(ABC):
    """One client in a thread of its own; :meth:`work` is called until the run stops."""

    def __init__(self, shared: Shared, name: str, seed: int) -> None:
        self.shared = shared
        self.name = name
        self.rng = random.Random(seed)
        self.record: ClientRecorder = shared.recorder.client(name)
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self.thread.start()

    def _run(self) -> None:
        try:
            self.work()
        except Exception as error:
            self.shared.failures.append(f"{self.name}: {type(error).__name__}: {error}")

    @abstractmethod
    def work(self) -> None:
        """The client's life, until :attr:`is_stopping`."""

    def where(self) -> str:
        """Which line of its program it is at."""
        frame = sys._current_frames().get(self.thread.ident or 0)
        return "at its end" if frame is None else f"in {frame.f_code.co_qualname} at line {frame.f_lineno}"

    @property
    def is_stopping(self) -> bool:
        """Whether the run ends."""
        return self.shared.stopping.is_set()

    def count(self, what: str, times: int = 1) -> None:
        """One more of these."""
        self.shared.done[what] += times

    def pause(self, seconds: float) -> None:
        """Wait, unless the run ends."""
        self.shared.stopping.wait(seconds)


def until(holds: Callable[[], bool], timeout_s: float) -> bool:
    """Poll for a condition."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
