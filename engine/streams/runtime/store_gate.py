"""Who may touch the stores: the worker's thread while it works, everybody else in the gaps that it leaves.

Kafka's stores take reads at any time, ours are for one thread at once. The worker leaves a gap where it waits (for
records, for a commit) and, when somebody is waiting, between two batches of records: a query waits for one batch at
the most, and the worker for one query.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

T = TypeVar("T")

_LET_IN_S: Final = 0.02
_LOOK_S: Final = 0.0002


class GateBusy(Exception):
    """The worker left no gap in time."""


class StoreGate:
    """A lock that the worker holds except in gaps."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counting = threading.Lock()
        self._waiting = 0
        self._worker: int | None = None
        """The worker's thread while it has the stores."""

    # -- the worker's side --------------------------------------------------------------------------------------

    def take(self) -> None:
        """The worker begins; it has the stores from here on."""
        self._lock.acquire()
        self._worker = threading.get_ident()

    def give(self) -> None:
        """The worker has ended."""
        self._worker = None
        self._lock.release()

    @contextmanager
    def gap(self) -> Iterator[None]:
        """While the worker waits for something and touches no store."""
        self.give()
        try:
            yield
        finally:
            self.take()

    def let_in(self) -> None:
        """Between two batches: those who are waiting go first, for some ms at the most."""
        if not self._waiting:
            return
        with self.gap():
            until = time.monotonic() + _LET_IN_S
            while self._waiting and time.monotonic() < until:
                time.sleep(_LOOK_S)

    # -- everybody else's ---------------------------------------------------------------------------------------

    def run(self, work: Callable[[], T], timeout_s: float) -> T:
        """Do ``work`` in a gap; at once in the worker's own thread (a function of the user's may ask).

        Raises:
            GateBusy: there was none within ``timeout_s``.
        """
        if self._worker == threading.get_ident():
            return work()
        with self._counting:
            self._waiting += 1
        try:
            got = self._lock.acquire(timeout=timeout_s)
        finally:
            with self._counting:
                self._waiting -= 1
        if not got:
            raise GateBusy(f"the worker left no gap within {timeout_s:g} s")
        try:
            return work()
        finally:
            self._lock.release()
