"""A run of the simulator that stops where one likes: at the next message, decision or election, at a time, and before.

Back means again: the run is made anew from its seed, brought to the place that is wanted, with every act that a person
made at the place where it was made, and compared with the digest of the first time.
"""

from __future__ import annotations

import contextlib
import math
import time
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from engine.sim.invariants import Violation
from engine.sim.loop import SimulationStuck
from engine.sim.network import SimTransport
from engine.sim.options import Options
from engine.sim.simulation import Simulation
from engine.sim.stepping import happenings
from engine.sim.stepping.acts import Act, Planned, perform
from engine.sim.stepping.happenings import Happening, Level
from engine.sim.stepping.loop import SteppedLoop
from engine.sim.stepping.wire_log import Crossing, WireLog, is_broker
from engine.wire.api_table import ApiKey

# Messages whose bytes are kept, to be looked into.
_KEPT_CROSSINGS = 6_000
_KEPT_HAPPENINGS = 20_000


class Goal(NamedTuple):
    """Where to stop: at the next step of a level, at a time (virtual seconds), after a callback."""

    level: Level | None = None
    at_s: float = math.inf
    callbacks: int = -1


class Stop(StrEnum):
    """Why it stopped."""

    REACHED = "reached"
    OUT_OF_TIME = "out of time"
    BROKEN = "broken"


class Steps:
    """The callbacks in which something happened, in their order: of each its number, the highest level of what happened
    and the last number that was given in it. A long run has millions, so they are kept in few bytes."""

    def __init__(self) -> None:
        self._callbacks = array("q")
        self._levels = array("b")
        self._numbers = array("q")

    def add(self, callbacks: int, level: Level, number: int) -> None:
        """Something happened in a callback."""
        if self._callbacks and self._callbacks[-1] == callbacks:
            self._levels[-1] = max(self._levels[-1], level)
            self._numbers[-1] = number
        else:
            self._callbacks.append(callbacks)
            self._levels.append(level)
            self._numbers.append(number)

    def before(self, level: Level, callbacks: int) -> int:
        """The last callback before one in which something of a level happened; 0 for the beginning."""
        at = bisect_left(self._callbacks, callbacks)
        while at:
            at -= 1
            if self._levels[at] >= level:
                return self._callbacks[at]
        return 0

    def place_of(self, number: int) -> int | None:
        """The callback in which a number was given; None if it was not yet."""
        at = bisect_left(self._numbers, number)
        return self._callbacks[at] if at < len(self._callbacks) else None


class Mark(NamedTuple):
    """What the whole run, as far as it was ever seen, is marked with: ``kind`` of the happening."""

    at_s: float
    kind: str


class Stepper:
    """One seed, one cluster, one place in its run."""

    def __init__(self, options: Options, planned: Sequence[Planned] = ()) -> None:
        """``planned`` are a scenario's acts, in the order of their times, which count from the run's beginning."""
        self.options = options
        self._resources = contextlib.ExitStack()
        start_s = SteppedLoop().time()
        self._plan = [each._replace(at_s=start_s + each.at_s) for each in planned if each.at_s is not None]
        self.start_s = start_s
        # The furthest that was ever reached, and what was seen up to there.
        self.seen_until_s = 0.0
        self._seen_callbacks = 0
        self._digests: dict[int, str] = {}
        self.marks: dict[Mark, None] = {}
        self._begin()

    # -- life -----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Before anything has happened."""
        self._resources.close()
        self.loop = SteppedLoop()
        self.simulation = Simulation(self.options, self.loop)
        self.cluster = self.simulation.cluster
        self._resources.callback(self.loop.discard)
        self._resources.enter_context(self.simulation.watched())
        self.cluster.fabric.on_arrival = self._on_arrival
        self.cluster.fact_listeners.append(self._on_fact)
        self.simulation.nemesis.watch(self._on_told)
        self.simulation.workload.tell = self._on_operation
        self._wire = WireLog()
        self._count = 0
        self._done_acts = 0
        self._goal = Goal()
        self._is_hit = False
        self._is_operation = False
        # By machine: when the last message arrived and its number; and the number of the last one of an election.
        self._heard: dict[str, tuple[float, int]] = {}
        self._heard_votes: dict[str, int] = {}
        self.broken = ""
        self.ended = False
        self.steps = Steps()
        self.happenings: deque[Happening] = deque(maxlen=_KEPT_HAPPENINGS)
        self.crossings: deque[Crossing] = deque(maxlen=_KEPT_CROSSINGS)
        self._main = self.loop.create_task(self.simulation.main())
        self._main.add_done_callback(self._on_end)

    def close(self) -> None:
        """Let go of everything."""
        self._resources.close()

    @property
    def at_s(self) -> float:
        """Seconds since the run's beginning."""
        return self.loop.time() - self.start_s

    @property
    def count(self) -> int:
        """The number of the last message or decision."""
        return self._count

    # -- what happens ---------------------------------------------------------------------------------------------

    def _on_arrival(self, end: SimTransport, piece: bytes) -> None:
        for crossing in self._wire.on_arrival(end, piece, self.at_s, self._count + 1):
            self._count = crossing.number
            self.crossings.append(crossing)
            self._heard[crossing.target] = (crossing.at_s, crossing.number)
            if crossing.api_key == ApiKey.VOTE:
                self._heard_votes[crossing.target] = crossing.number
            self._on_step(Level.BROKER_MESSAGE if crossing.is_between_brokers else Level.MESSAGE)

    def _on_fact(self, fact: dict[str, Any]) -> None:
        found = happenings.from_fact(fact)
        if found is not None:
            kind, subject, reason, detail = found
            self._tell(kind, f"broker {fact['broker']}", subject, reason, detail, f"broker-{fact['broker']}")

    def _on_told(self, what: str) -> None:
        kind = happenings.OPERATION if self._is_operation else happenings.FAULT
        self._tell(kind, f"seed {self.options.seed}", what, "the seed has it so", {})

    def _on_operation(self, what: str) -> None:
        """What the workload's operator does stands in the same story as the faults."""
        self._is_operation = True
        self.simulation.nemesis.tell(what)
        self._is_operation = False

    def _tell(
        self, kind: str, source: str, subject: str, reason: str, detail: dict[str, Any], machine: str = ""
    ) -> None:
        self._count += 1
        heard_s, heard = self._heard.get(machine, (-1.0, -1))
        # What arrives is handed over, and acted upon, in the same moment of virtual time; a vote is told once it is
        # on the disk.
        after = heard if heard_s == self.at_s else -1
        if after < 0 and kind in happenings.ON_VOTES:
            after = self._heard_votes.get(machine, -1)
        level = happenings.level_of(kind)
        self.happenings.append(
            Happening(
                self._count,
                self._place(),
                self.at_s,
                level,
                kind,
                source,
                subject,
                reason,
                detail,
                after,
            )
        )
        if level is Level.ELECTION or kind in happenings.FAULTS:
            self.marks[Mark(self.at_s, kind)] = None
        self._on_step(level)

    def _place(self) -> int:
        """The number of the callback that runs now, or that ran last."""
        return self.loop.events + 1 if self.loop.is_running() else self.loop.events

    def _on_step(self, level: Level) -> None:
        place = self._place()
        if level >= Level.DECISION:
            self._digests.setdefault(place, self.simulation.digest())
        self.steps.add(place, level, self._count)
        if self._goal.level is not None and level >= self._goal.level:
            self._is_hit = True
            self.loop.halt()

    def _on_end(self, task: Any) -> None:
        if task.cancelled() or self.broken:
            return
        error = task.exception()
        if error is not None:
            self._break(error)
            self.loop.halt()
            return
        self.ended = True
        done = self.simulation.workload.done
        what = f"{sum(done.values()):,} operations, {sum(self.simulation.nemesis.done.values())} faults of the seed"
        self._tell(happenings.RUN_ENDED, "simulator", f"seed {self.options.seed}", f"every promise held: {what}", {})
        self._is_hit = True
        self.loop.halt()

    def _break(self, error: BaseException) -> None:
        promise = error.promise if isinstance(error, Violation) else "the simulator"
        self.broken = str(error) or type(error).__name__
        self._tell(happenings.PROMISE_BROKEN, "simulator", f"promise {promise}", self.broken, {})

    # -- forward --------------------------------------------------------------------------------------------------

    def advance(self, goal: Goal, is_enough: Callable[[], bool]) -> Stop:
        """Go on until the goal is reached, or ``is_enough`` says so: asked now and then, it looks at a real clock."""
        self._goal, self._is_hit = goal, False
        try:
            while True:
                if self._act_if_due() and self._is_hit:
                    return Stop.REACHED
                if self.broken:
                    return Stop.BROKEN
                if 0 <= goal.callbacks <= self.loop.events:
                    return Stop.REACHED
                if goal.at_s <= self.loop.time() and self.loop.is_at_horizon:
                    return Stop.REACHED
                self._run(goal, is_enough)
                if self._is_hit:
                    return Stop.BROKEN if self.broken else Stop.REACHED
                if is_enough():
                    return Stop.OUT_OF_TIME
        finally:
            self._goal = Goal()
            self._see()

    def _run(self, goal: Goal, is_enough: Callable[[], bool]) -> None:
        loop = self.loop
        loop.horizon_s, loop.stop_at = goal.at_s, goal.callbacks
        planned = self._next_act()
        if planned is not None and planned.callbacks is not None:
            loop.stop_at = planned.callbacks if loop.stop_at < 0 else min(loop.stop_at, planned.callbacks)
        elif planned is not None and planned.at_s is not None:
            loop.horizon_s = min(loop.horizon_s, planned.at_s)
        loop.is_enough = is_enough
        try:
            loop.run_until_halted()
        except (Violation, SimulationStuck) as error:
            self._break(error)
            self._is_hit = True

    def _see(self) -> None:
        self._digests.setdefault(self.loop.events, self.simulation.digest())
        if self.loop.events > self._seen_callbacks:
            self._seen_callbacks = self.loop.events
        self.seen_until_s = max(self.seen_until_s, self.at_s)

    # -- acts -----------------------------------------------------------------------------------------------------

    def _next_act(self) -> Planned | None:
        return self._plan[self._done_acts] if self._done_acts < len(self._plan) else None

    def _act_if_due(self) -> bool:
        acted = False
        while (planned := self._next_act()) is not None:
            if planned.callbacks is not None:
                is_due = planned.callbacks == self.loop.events
            else:
                is_due = planned.at_s == self.loop.time() and (self.loop.is_at_horizon or acted)
            if not is_due:
                break
            self._perform(planned)
            acted = True
        return acted

    def _perform(self, planned: Planned) -> None:
        self._done_acts += 1
        self._tell_act(planned, perform(self.cluster, planned.act))

    def _tell_act(self, planned: Planned, problem: str) -> None:
        kind = happenings.YOUR_ACT if planned.by == "you" else happenings.SCENARIO_ACT
        reason = problem or ("the scenario has it so" if planned.by == "scenario" else "you did it here")
        self._tell(kind, planned.by, planned.act.words(), reason, {})

    def act(self, act: Act) -> tuple[str, int]:
        """Do it here and now, and again whenever the run comes by here. A person's acts that were made later than this
        are dropped: their past is another one now. Returns why it could not be done (then nothing is different), and
        how many were dropped."""
        problem = perform(self.cluster, act)
        if problem:
            return problem, 0
        later = self._plan[self._done_acts :]
        kept = [each for each in later if each.by == "scenario"]
        at_s = self.loop.time() if self.loop.is_at_horizon else None
        planned = Planned(act, None if at_s is not None else self.loop.events, at_s, "you")
        self._plan[self._done_acts :] = [planned, *kept]
        self._done_acts += 1
        # What was seen behind this place never happens now.
        self._seen_callbacks = self.loop.events
        self.seen_until_s = self.at_s
        self.marks = {each: None for each in self.marks if each.at_s <= self.at_s}
        self._digests = {place: digest for place, digest in self._digests.items() if place <= self.loop.events}
        self._tell_act(planned, "")
        return "", len(later) - len(kept)

    @property
    def acts_ahead(self) -> list[Planned]:
        """What is yet to be done, of the scenario and of what a person did behind this place."""
        return self._plan[self._done_acts :]

    # -- back -----------------------------------------------------------------------------------------------------

    def step_before(self, level: Level) -> int:
        """The callback after which the last step of a level before this place stands; 0 for the beginning."""
        return self.steps.before(level, self.loop.events)

    def go_back(self) -> None:
        """To the beginning; :meth:`advance` brings it to where it is wanted."""
        self._begin()

    def is_the_same(self) -> bool | None:
        """Whether the run came to this place as it did the first time; None if that is not known."""
        first = self._digests.get(self.loop.events)
        return None if first is None else first == self.simulation.digest()


def budget(seconds: float) -> Callable[[], bool]:
    """Says when so much real time has passed."""
    deadline = time.perf_counter() + seconds
    return lambda: time.perf_counter() >= deadline


def machine_words(machine: str) -> str:
    """``broker 1`` for a broker's machine, a client's own name."""
    return machine.replace("-", " ", 1) if is_broker(machine) else machine
