"""Cuts the power before every operation of a script's disk, and in the middle of those that can be cut in two."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from typing import Any, NamedTuple, Protocol

from engine.sim.crash_points.judge import Broken, check_replaced_files
from engine.sim.disk import SimDisk, Survivors
from engine.storage.segment import CLEANED_SUFFIX, DELETED_SUFFIX, SWAP_SUFFIX
from engine.world.replacement import BESIDE_SUFFIX

# Of so many crashes, one is followed by crashes within the start that follows; one by an append that must last.
_ONE_IN_NESTED = 150
_ONE_IN_APPENDS = 4
# Names on the way to another one: a rename of a .cleaned file makes it a .swap file, one of that the segment.
_PASSING = (CLEANED_SUFFIX, SWAP_SUFFIX, DELETED_SUFFIX, BESIDE_SUFFIX)


class Script(Protocol):
    """What is done to a disk, and what must be there after a crash. ``operation`` is under way; ``seen`` has what the
    files that are replaced as a whole have held since it began."""

    seed: int
    disk: SimDisk
    operation: str
    seen: dict[str, list[bytes | None]]

    def run(self, steps: int) -> None:
        """Do so many steps. Raises ``Broken`` if what a start of its own finds is wrong."""

    def note_files(self) -> None:
        """Look at the files that are replaced as a whole."""

    def start_on(self, disk: SimDisk) -> Any:
        """What a process finds that starts on this disk."""

    def check(self, found: Any) -> None:
        """Raises ``Broken`` if that is not what was promised."""

    def go_on(self, disk: SimDisk, found: Any, rng: random.Random) -> None:
        """Work on from there, and crash again. Raises ``Broken``."""


class PointFailed(Exception):
    """What broke, and where: enough to do it again."""


class Tally(NamedTuple):
    """``points``: where the power was cut, by the operation that was under way, distinct within a seed and over seeds;
    ``by_disk_operation``: the same by what the disk was about to do, and to what kind of passing file; ``states``:
    disks that were found and judged;
    ``distinct_states``: digests of these; ``starts_cut``: crashes within the start after a crash."""

    points: Counter[str]
    by_disk_operation: Counter[str]
    states: Counter[str]
    distinct_states: set[bytes]

    @classmethod
    def empty(cls) -> Tally:
        """Nothing yet."""
        return cls(Counter(), Counter(), Counter(), set())

    def add(self, other: Tally) -> None:
        """Count another one's as well."""
        self.points.update(other.points)
        self.by_disk_operation.update(other.by_disk_operation)
        self.states.update(other.states)
        self.distinct_states.update(other.distinct_states)


class Campaign:
    """One script with its crash points."""

    def __init__(self, script: Script, *, lying: frozenset[str] = frozenset(), only: int | None = None) -> None:
        """``lying``: what the disk does not do though it says so, for controls. ``only``: cut at this operation."""
        self.script = script
        self.tally = Tally.empty()
        self._rng = random.Random()
        self._only = only
        script.disk.lying = set(lying)
        self._number = 0

    def run(self, steps: int) -> Tally:
        """Do it. Raises ``PointFailed``."""
        script = self.script
        script.disk.on_operation = self._on_operation
        try:
            script.run(steps)
            self._on_operation("the end", "")
        except Broken as broken:
            raise PointFailed(self._where("a start of the script itself", "", "") + str(broken)) from broken
        return self.tally

    def _where(self, kind: str, path: str, how: str) -> str:
        return f"seed {self.script.seed}, operation {self._number} ({self.script.operation}: {kind} {path}), {how}: "

    def _on_operation(self, kind: str, path: str) -> None:
        script = self.script
        self._number += 1
        script.note_files()
        if self._only is not None and self._number != self._only:
            return
        # Its own, so that one point can be done again without those before it.
        self._rng = random.Random(f"crash points, cuts {self.script.seed} {self._number}")
        self.tally.points[script.operation] += 1
        self.tally.by_disk_operation[_with_suffix(kind, path)] += 1
        for survivors in Survivors:
            crashed = script.disk.fork(random.Random(self._rng.random()))
            crashed.on_power_lost(survivors)
            try:
                self._judge(crashed, survivors)
            except PointFailed:
                raise
            except Exception as error:
                what = str(error) if isinstance(error, Broken) else f"{type(error).__name__}: {error}"
                how = f"{survivors.value} of what was not synced survives"
                raise PointFailed(self._where(kind, path, how) + what) from error

    def _judge(self, crashed: SimDisk, survivors: Survivors) -> None:
        script = self.script
        self.tally.states[f"{survivors.value} survives"] += 1
        self.tally.distinct_states.add(_digest(crashed))
        check_replaced_files(crashed, script.seen)
        if self._rng.randrange(_ONE_IN_NESTED) == 0:
            again = crashed.fork(random.Random(self._rng.random()))
            again.on_operation = lambda kind, path: self._cut_start(again, kind, path)
            script.start_on(again)
        found = script.start_on(crashed)
        script.check(found)
        if self._rng.randrange(_ONE_IN_APPENDS) == 0:
            script.go_on(crashed, found, self._rng)

    def _cut_start(self, starting: SimDisk, kind: str, path: str) -> None:
        """The power is cut again while a start recovers."""
        if starting.generation:
            return
        survivors = self._rng.choice(list(Survivors))
        crashed = starting.fork(random.Random(self._rng.random()))
        crashed.on_power_lost(survivors)
        self.tally.points["a start after a cut"] += 1
        self.tally.by_disk_operation[_with_suffix(kind, path)] += 1
        self.tally.states["a start was cut"] += 1
        self.tally.distinct_states.add(_digest(crashed))
        self.script.check(self.script.start_on(crashed))


def _with_suffix(kind: str, path: str) -> str:
    suffix = next((each for each in _PASSING if path.endswith(each)), "")
    return f"{kind} {suffix}".rstrip()


def _digest(disk: SimDisk) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for path in disk.paths():
        digest.update(path.encode())
        digest.update(disk.read(path))
    return digest.digest()
