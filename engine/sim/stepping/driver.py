"""What a console asks of a run: play at a speed, go to the next this or that, back, to a number or a time, do an act.

Commands come as plain data, frames go out as plain data; in between :meth:`Driver.work` moves the run in slices of real
time, so that commands are heard soon.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from engine.sim.options import Options
from engine.sim.stepping.acts import Planned, act_from
from engine.sim.stepping.decoding import decode_crossing, message_lines
from engine.sim.stepping.happenings import RUN_ENDED, Happening, Level
from engine.sim.stepping.picture import right_clock_ms, take_picture, topic_name
from engine.sim.stepping.records import read_topic
from engine.sim.stepping.stepper import Goal, Mark, Stepper, Steps, Stop, budget, machine_words
from engine.sim.stepping.summaries import summary_of
from engine.sim.stepping.wire_log import Crossing

Data = dict[str, Any]

LEVELS = {
    "message": Level.MESSAGE,
    "broker message": Level.BROKER_MESSAGE,
    "decision": Level.DECISION,
    "election": Level.ELECTION,
}
# Of the messages that came since the last frame only the latest are told: more than a screen shows, and quick.
_TOLD_MESSAGES = 400
_TOLD_AFTER_REPLAY = 1_500
# Who looks for something that never comes is told so after so many simulated seconds.
_LOOK_FOR_S = 120.0
# What is asked during a replay is done after it.
_WAITING = frozenset({"play", "next", "goto_number", "goto_time"})
# A run that cannot keep up with its speed is not let fall further behind than this.
_LAG_S = 0.2


class Driver:
    """One run, and what is being done with it."""

    def __init__(
        self, options: Options, planned: Sequence[Planned] = (), clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.stepper = Stepper(options, planned)
        self._clock = clock
        self.mode = "paused"
        self.speed: float | None = 1.0
        self._goal = Goal()
        self._said = ("", "info")
        self._looking_for = ""
        # Steps that were asked for while one was looked for; commands that wait for the end of a replay.
        self._more_steps = 0
        self._waiting: list[Data] = []
        self._playing_from = (0.0, 0.0)
        # Grows whenever what was told before is not the past any more.
        self.generation = 0
        self._told = 0
        self._told_marks: list[Mark] = []
        # While going back: the steps of the run that was left.
        self._known_steps = Steps()

    # -- commands -------------------------------------------------------------------------------------------------

    def command(self, command: Data) -> Data | None:
        """Do what is asked; an answer if something was asked for."""
        if self.mode == "replaying" and command["do"] in _WAITING:
            self._waiting.append(command)
            return None
        match command["do"]:
            case "detail":
                return self._detail(int(command["number"]), command.get("ask"))
            case "records":
                return self._records(command)
            case "play":
                self._play()
            case "pause":
                if self.mode != "replaying":
                    self.mode = "paused"
            case "speed":
                self.speed = None if command["speed"] is None else float(command["speed"])
                self._play_from_here()
            case "next":
                self._look_for(str(command["level"]))
            case "back":
                self._back(LEVELS[str(command["level"])])
            case "goto_number":
                self._go_to_number(int(command["number"]))
            case "goto_time":
                self._go_to_time(float(command["at_s"]))
            case "act":
                return {"type": "acted", "ask": command.get("ask"), "problem": self._act(command)}
        return None

    def _records(self, command: Data) -> Data:
        answer: Data = {"type": "records", "ask": command.get("ask"), "generation": self.generation}
        if self.mode == "replaying":
            return {**answer, "records": [], "positions": command["positions"], "problem": "", "caught_up": True}
        kind, value = command["start"]
        positions = {int(number): int(offset) for number, offset in command["positions"].items()}
        cluster, topic = self.stepper.cluster, str(command["topic"])
        return {**answer, **read_topic(cluster, topic, command["partitions"], positions, (kind, value))}

    def _say(self, what: str, tone: str = "info") -> None:
        self._said = (what, tone)

    def _cannot_go_on(self) -> bool:
        if self.stepper.broken:
            self._say("a promise is broken: the run ends here; b goes back", "offline")
            self.mode = "paused"
        return bool(self.stepper.broken)

    def _play(self) -> None:
        if self._cannot_go_on():
            return
        self.mode = "playing"
        self._play_from_here()

    def _play_from_here(self) -> None:
        self._playing_from = (self._clock(), self.stepper.loop.time())

    def _look_for(self, level: str) -> None:
        if self._cannot_go_on():
            return
        if self.mode == "looking" and self._looking_for == level:
            self._more_steps += 1
            return
        self.mode, self._more_steps = "looking", 0
        self._looking_for = level
        self._goal = Goal(LEVELS[level], self.stepper.loop.time() + _LOOK_FOR_S)

    def _act(self, command: Data) -> str:
        if self.mode == "replaying":
            return "wait until the replay is done"
        if self._cannot_go_on():
            return self._said[0]
        try:
            act = act_from(command)
        except (KeyError, TypeError, ValueError) as error:
            return str(error)
        problem, dropped = self.stepper.act(act)
        if not problem:
            later = f"; {dropped} act{'s' if dropped != 1 else ''} that you did later dropped" if dropped else ""
            self._say(
                f"{act.words()}: event {self.stepper.count:,}, and again whenever the run comes by{later}", "in_sync"
            )
        return problem

    # -- back -----------------------------------------------------------------------------------------------------

    def _back(self, level: Level) -> None:
        if self.mode == "replaying":
            # Pressed again meanwhile: further back than where it is going.
            if self._goal.callbacks < 0:
                # It goes to a time: which step that is turns out there.
                return
            place = self._known_steps.before(level, self._goal.callbacks)
        else:
            place = self.stepper.step_before(level)
            if not self.stepper.loop.events:
                self._say("this is the beginning", "info")
                return
        self._replay(Goal(callbacks=place))

    def _go_to_number(self, number: int) -> None:
        if number > self.stepper.count:
            self._say(f"event {number:,} is still ahead: n, N or play go there", "under_replicated")
            return
        place = self.stepper.steps.place_of(number)
        self._replay(Goal(callbacks=0 if number <= 0 or place is None else place))

    def _go_to_time(self, at_s: float) -> None:
        goal = Goal(at_s=self.stepper.start_s + max(0.0, at_s))
        if goal.at_s < self.stepper.loop.time():
            self._replay(goal)
        elif not self._cannot_go_on():
            self.mode, self._goal, self._looking_for = "looking", goal, ""

    def _replay(self, goal: Goal) -> None:
        if self.mode != "replaying":
            self._known_steps = self.stepper.steps
        self.mode, self._goal = "replaying", goal
        self._waiting.clear()
        self.stepper.go_back()

    def _replayed(self) -> None:
        self.mode = "paused"
        self.generation += 1
        self._told = 0
        stepper = self.stepper
        self._known_steps = Steps()
        same = stepper.is_the_same()
        if same is False:
            self._say("the replay came to another state than the first time: this is a bug of the simulator", "offline")
        elif not stepper.count:
            self._say("the beginning: nothing has happened yet")
        else:
            proof = f", the same to the last byte ({stepper.simulation.digest()[:8]})" if same else ""
            self._say(f"back at event {stepper.count:,}{proof}", "in_sync" if same else "info")
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            self.command(each)

    # -- work -----------------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether nothing goes on by itself."""
        return self.mode == "paused"

    def work(self, slice_s: float) -> None:
        """Go on for a slice of real time."""
        if self.is_idle:
            return
        if self.mode == "playing" and self.speed is not None:
            self._play_slice(slice_s)
            return
        goal = Goal() if self.mode == "playing" else self._goal
        if goal.callbacks == 0:
            stop = Stop.REACHED
        else:
            stop = self.stepper.advance(goal, budget(slice_s))
        if stop is Stop.OUT_OF_TIME:
            return
        if self.mode == "replaying":
            self._replayed()
        elif self.mode == "looking":
            self._found()
        self._end_if_over()

    def _play_slice(self, slice_s: float) -> None:
        assert self.speed is not None
        real_s, virtual_s = self._playing_from
        due_s = virtual_s + (self._clock() - real_s) * self.speed
        stop = self.stepper.advance(Goal(at_s=due_s), budget(slice_s))
        if stop is Stop.OUT_OF_TIME and due_s - self.stepper.loop.time() > _LAG_S * self.speed:
            self._play_from_here()
        self._end_if_over()

    def _found(self) -> None:
        self.mode = "paused"
        stepper = self.stepper
        if self._looking_for and not stepper.loop.is_at_horizon and self._more_steps and not self._is_last(RUN_ENDED):
            self._more_steps -= 1
            self.mode = "looking"
            self._goal = Goal(LEVELS[self._looking_for], stepper.loop.time() + _LOOK_FOR_S)
        elif self._looking_for and stepper.loop.is_at_horizon:
            self._say(f"no {self._looking_for} within {_LOOK_FOR_S:.0f} simulated seconds", "under_replicated")

    def _end_if_over(self) -> None:
        stepper = self.stepper
        if stepper.broken:
            self.mode = "paused"
            self._say(f"a promise is broken: {stepper.broken}", "offline")
        elif self._is_last(RUN_ENDED):
            self.mode = "paused"
            self._say("the seed's run ends here: every promise held. The cluster goes on if you do", "in_sync")

    def _is_last(self, kind: str) -> bool:
        last = self.stepper.happenings[-1] if self.stepper.happenings else None
        return last is not None and last.kind == kind and last.number == self.stepper.count

    # -- frames ---------------------------------------------------------------------------------------------------

    def frame(self) -> Data:
        """Where the run is, and what is new since the last frame."""
        stepper = self.stepper
        said, tone = self._said
        self._said = ("", "info")
        frame: Data = {
            "type": "frame",
            "generation": self.generation,
            "mode": self.mode,
            "speed": self.speed,
            "said": said,
            "tone": tone,
            "at_s": stepper.at_s,
            "wall_ms": right_clock_ms(stepper.cluster),
            "count": stepper.count,
            "seen_until_s": stepper.seen_until_s,
            "ended": stepper.ended,
            "broken": stepper.broken,
            "looking_for": self._looking_for if self.mode == "looking" else "",
            "progress": self._progress(),
        }
        if self.mode == "replaying":
            return frame
        fresh = [each for each in stepper.happenings if each.number > self._told] if stepper.happenings else []
        limit = _TOLD_MESSAGES if self._told else _TOLD_AFTER_REPLAY
        messages: list[Crossing] = []
        for crossing in reversed(stepper.crossings):
            if crossing.number <= self._told or len(messages) >= limit:
                break
            messages.append(crossing)
        messages.reverse()
        self._told = stepper.count
        frame["happenings"] = [_happening(each) for each in fresh]
        frame["messages"] = [self._message(each) for each in messages]
        frame["picture"] = take_picture(stepper.cluster)
        frame["ahead"] = [
            [None if each.at_s is None else each.at_s - stepper.start_s, each.act.words(), each.by]
            for each in stepper.acts_ahead
        ]
        if list(stepper.marks) != self._told_marks:
            self._told_marks = list(stepper.marks)
            frame["marks"] = [[each.at_s, each.kind] for each in stepper.marks]
        return frame

    def _progress(self) -> float:
        if self.mode != "replaying":
            return 1.0
        stepper = self.stepper
        if self._goal.callbacks >= 0:
            return stepper.loop.events / max(1, self._goal.callbacks)
        wanted_s = self._goal.at_s - stepper.start_s
        return 1.0 if not math.isfinite(wanted_s) else stepper.at_s / max(1e-9, wanted_s)

    def _name(self, topic_id: bytes) -> str:
        return topic_name(self.stepper.cluster, topic_id)

    def _message(self, each: Crossing) -> list[Any]:
        return [
            each.number,
            each.at_s,
            machine_words(each.source),
            machine_words(each.target),
            each.connection,
            each.is_request,
            each.api,
            each.version,
            each.correlation_id,
            len(each.frame) + 4,
            each.answers,
            each.took_s,
            each.is_between_brokers,
            summary_of(each, decode_crossing(each), self._name),
        ]

    def _detail(self, number: int, ask: Any) -> Data:
        crossing = next((each for each in reversed(self.stepper.crossings) if each.number == number), None)
        if crossing is None:
            lines = ["its bytes are gone: only those of the latest messages are kept", "go back to it (t) to see it"]
            return {"type": "detail", "ask": ask, "client_id": "", "lines": lines}
        decoded = decode_crossing(crossing)
        if decoded.message is None:
            lines = [f"cannot be decoded: {decoded.problem}", crossing.frame.hex(" ", 4)]
        else:
            lines = message_lines(decoded.message, crossing.version, self._name)
        return {"type": "detail", "ask": ask, "client_id": decoded.client_id, "lines": lines}


def _happening(each: Happening) -> Data:
    return {
        "number": each.number,
        "at_s": each.at_s,
        "level": int(each.level),
        "kind": each.kind,
        "source": each.source,
        "subject": each.subject,
        "reason": each.reason,
        "detail": each.detail,
        "after": each.after,
    }
