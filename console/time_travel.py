"""Back in time: which moment all screens show, and the ways from one to another."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from console.gateway.protocol import EventBatch, Gateway, GatewayError
from console.gateway.recorded import RecordedAnswers, RecordedGateway
from console.modals.form import Field, Form
from console.recording.options import Recording
from console.recording.reader import Record
from console.recording.store import NoRecord, RecordError
from console.recording_acts import Recordings
from console.screens.base import ViewSpec
from console.viewmodel.events import EventLog, event_tone, kind_words, reason_words
from console.viewmodel.history import History, remember
from console.viewmodel.moments import MOMENT_HELP, NOW_WORDS, Moment, joined_dates, parse_moment, past_words
from engine.supervisor.snapshot import ClusterSnapshot, Source

if TYPE_CHECKING:
    from console.acts import ActLogEntry
    from console.app import KConsole
    from console.gateway.recorded import Look

# Screens whose rows are made of the picture, the events and the acts alone; others are opened anew, as they ask.
_OF_PICTURES = frozenset(
    {
        "cluster",
        "topics",
        "partitions",
        "groups",
        "group",
        "streams",
        "events",
        "failover",
        "workload",
        "quorum",
        "commands",
        "plots",
    }
)
COMMANDS = ("back", "live", "mark", "diff", "record", "bundle")


_REST_S = 0.4


def _history_of(samples: Iterable[ClusterSnapshot]) -> History:
    history = History()
    for each in samples:
        remember(history, each)
    return history


class TimeTravel:
    """The moment that is shown, if it is not the present."""

    def __init__(self, app: KConsole, gateway: Gateway, recording: Recording | None) -> None:
        self._app = app
        # The present, if there is one: of a bundle there is none.
        self.live = gateway
        self.past: RecordedGateway | None = gateway if isinstance(gateway, RecordedGateway) else None
        self.moment: Moment | None = None
        self.recordings = Recordings(app, gateway, recording or Recording())
        # What goes on meanwhile.
        self.present: ClusterSnapshot | None = None
        self._live_events: EventLog | None = None
        self._live_history: History | None = None
        self._look: Look | None = None
        self._wanted_ms: int | None = None
        self._moving = False
        self._marked_ms: int | None = None
        self._marks: tuple[tuple[int, int, int], list[Any], list[Any]] = ((0, 0, 0), [], [])

    # -- for the app ----------------------------------------------------------------------------------------------

    @property
    def is_past(self) -> bool:
        """Whether screens show something else than the present."""
        return self.moment is not None

    @property
    def has_present(self) -> bool:
        """Whether there is a cluster to go back to."""
        return not isinstance(self.live, RecordedGateway)

    def begin(self) -> None:
        """The console opens."""
        if self.past is not None:
            self.go_to(2**62)
        else:
            self.recordings.begin()

    def record_answers(self, gateway: RecordedAnswers) -> None:
        """From now on what screens ask the cluster for is recorded."""
        if not self.is_past:
            self._app.gateway = gateway
        self._recorded_live = gateway

    _recorded_live: RecordedAnswers | None = None

    def now_ms(self, present_ms: int) -> int:
        """The time that it is on the screens."""
        return present_ms if self.moment is None else self.moment.at_ms

    def present_ms(self) -> int:
        """The time that it is."""
        return self._app.present_ms()

    def see(self, snapshot: ClusterSnapshot) -> bool:
        """A picture of the present. Returns whether it is to be shown."""
        if self.past is not None and not self.has_present:
            return False
        self.present = snapshot
        self.recordings.picture(snapshot)
        if self.is_past and self._live_history is not None:
            remember(self._live_history, snapshot)
        return not self.is_past

    def hear(self, batch: EventBatch) -> None:
        """Events of the present."""
        if not self.has_present:
            return
        self.recordings.events(batch.events)
        if self.is_past and self._live_events is not None:
            self._live_events.take(batch.events)
            return
        if batch.anew:
            self._app.events.clear()
            self._app.history = History()
        self._app.events.take(batch.events)

    def commands(self, log: list[ActLogEntry]) -> list[ActLogEntry]:
        """What was done until now, the now of the screens."""
        return log if self._look is None else self._look.commands

    def close(self) -> None:
        """The console ends."""
        self.recordings.stop()
        if self.past is not None:
            self.past.record.close()
            self.past = None

    def anew(self, gateway: Gateway, record: str | None = None) -> TimeTravel:
        """The present of another cluster; ``record`` is where an embedded one's is, others wait for ``:record``."""
        self.close()
        was = self.recordings.recording
        return TimeTravel(self._app, gateway, was._replace(path=None if was.is_off else record))

    # -- moving ---------------------------------------------------------------------------------------------------

    def _enter(self) -> RecordedGateway | None:
        """The record, opened if need be; ``None`` with the reason told."""
        if self.past is not None:
            return self.past
        app = self._app
        if app.simulation is not None:
            app.flash("a simulation goes back by itself: 0, then b or t", "under_replicated")
            return None
        path = self.recordings.path
        if path is None:
            app.flash("nothing is recorded here: :record begins", "under_replicated")
            return None
        if self.recordings.recorder is not None:
            self.recordings.recorder.flush(0.3)
        try:
            return RecordedGateway(Record(path), has_present=True)
        except NoRecord:
            app.flash("nothing is recorded yet: :record begins", "under_replicated")
        except RecordError as error:
            app.flash(str(error), "offline", 12)
        return None

    def go_to(self, at_ms: int) -> None:
        """Show a moment; one that is wanted while another one is looked up replaces it."""
        gateway = self._enter()
        if gateway is None:
            return
        self.past = gateway
        self._wanted_ms = at_ms
        if not self._moving:
            self._moving = True
            self._app.run_worker(self._move(gateway), group="travel", exit_on_error=False)

    def look_again(self) -> None:
        """More, or less, of the time before the moment is wanted."""
        if self.moment is not None:
            self.go_to(self.moment.at_ms if self._wanted_ms is None else self._wanted_ms)

    async def _move(self, gateway: RecordedGateway) -> None:
        try:
            while self._wanted_ms is not None:
                wanted, self._wanted_ms = self._wanted_ms, None
                view = self._app.main.view
                samples_ms = 60_000 if view is None else view.samples_ms
                look = await asyncio.to_thread(gateway.look_at, wanted, samples_ms)
                if self.past is not gateway:
                    return
                self._show(gateway, look)
                if look.samples is None:
                    await self._fill_history(gateway, look, samples_ms)
        except GatewayError as error:
            self._app.flash(str(error), "offline", 12)
            if self.moment is None and self.has_present:
                self._leave()
        finally:
            self._moving = False

    async def _fill_history(self, gateway: RecordedGateway, look: Look, samples_ms: int) -> None:
        """Of many partitions the minute before takes a moment: who steps on does not wait for it."""
        await asyncio.sleep(_REST_S)
        if self._wanted_ms is None and self._look is look:
            samples = await asyncio.to_thread(gateway.samples_before, look.at_ms, samples_ms, few=True)
            if self._look is look:
                self._app.history = _history_of((*samples, look.snapshot))
                self._app.touch()

    def _show(self, gateway: RecordedGateway, look: Look) -> None:
        app = self._app
        entering = self.moment is None
        if entering and self.has_present:
            self._live_events, self._live_history = app.events, app.history
        gateway.show(look)
        self._look = look
        self.moment = Moment(
            look.at_ms,
            look.range.first_ms,
            look.range.last_ms,
            look.picture_at_ms,
            look.events_before,
            look.events_all,
            gateway.interval_ms,
            gateway.capabilities.source is Source.ATTACHED,
            app.present_ms() if self.has_present else None,
            self._marked_ms,
            look.gap,
        )
        app.gateway = gateway
        app.events = EventLog()
        app.events.take(look.events)
        app.history = _history_of(look.samples or ())
        app.failure = ""
        app.frozen = False
        app.take(look.snapshot)
        view = app.main.view
        if entering or (view is not None and view.NAME not in _OF_PICTURES):
            app.main.reopen()
        app.tick()

    def to_present(self) -> None:
        """Leave the past."""
        if not self.has_present:
            self._app.flash("a record has no present: leave with :q", "under_replicated")
        elif self.moment is None:
            self._app.flash("this is the present; { goes back to the last event, @ to a time", "info", 4)
        else:
            self._leave()
            self._app.flash("now", "info", 3)

    def _leave(self) -> None:
        app = self._app
        past, self.past = self.past, None
        was_past = self.moment is not None
        self.moment = self._look = None
        self._wanted_ms = None
        if past is not None:
            past.record.close()
        if not was_past:
            return
        app.gateway = self._recorded_live or self.live
        if self._live_events is not None and self._live_history is not None:
            app.events, app.history = self._live_events, self._live_history
        if self.present is not None:
            app.snapshot = self.present
        app.main.reopen()
        app.touch()

    # -- keys -----------------------------------------------------------------------------------------------------

    def press(self, what: str, amount: int) -> None:
        """One of the keys of time."""
        if what == "now":
            if self.moment is None:
                self.step(-10_000)
            else:
                self.to_present()
        elif what == "event":
            self.step_event(amount)
        elif what == "step":
            self.step(amount)
        elif what == "ask":
            self._ask_when()
        elif what == "mark":
            self.mark()

    def step(self, by_ms: int) -> None:
        """So much later or earlier."""
        if self.moment is None:
            if by_ms > 0:
                self.to_present()
            else:
                self.go_to(self.present_ms() + by_ms)
            return
        here = self._wanted_ms if self._wanted_ms is not None else self.moment.at_ms
        if by_ms > 0 and self.has_present and here + by_ms > self.present_ms():
            self.to_present()
        else:
            self.go_to(here + by_ms)

    def step_event(self, direction: int) -> None:
        """To the next or previous event; says which it is."""
        if self.moment is None and direction > 0:
            self.to_present()
            return
        gateway = self._enter()
        if gateway is None:
            return
        self.past = gateway
        here = self.present_ms() if self.moment is None else self.moment.at_ms
        if self._wanted_ms is not None:
            here = self._wanted_ms
        try:
            record = gateway.record
            at_ms = record.event_after(here) if direction > 0 else record.event_before(here)
            whole = record.range()
            if at_ms is None or (whole is not None and at_ms < whole.first_ms):
                self._app.flash("no event after this one" if direction > 0 else "no event before this one", "info", 3)
                if self.moment is None:
                    self._leave()
                return
            told = record.events_between(at_ms - 1, at_ms)
        except RecordError as error:
            self._app.flash(str(error), "offline", 12)
            return
        self.go_to(at_ms)
        last = told[-1]
        more = f"  (+{len(told) - 1} more)" if len(told) > 1 else ""
        said = f"{kind_words(last.kind)} {last.subject}: {reason_words(last)}{more}"
        self._app.flash(said, event_tone(last.kind), 8)

    def mark(self) -> None:
        """Remember this moment; the second time show what is different since."""
        here = self._app.now_ms()
        if self._marked_ms is None or self._marked_ms == here:
            self._marked_ms = here
            if self.moment is not None:
                self.moment = self.moment._replace(marked_ms=here)
            self._app.flash(f"marked {past_words(here, self.present_ms())}: = elsewhere shows the difference", "info")
            self._app.touch()
            return
        first, second = sorted((self._marked_ms, here))
        self._marked_ms = None
        if self.moment is not None:
            self.moment = self.moment._replace(marked_ms=None)
        self._show_difference(first, second)

    def _ask_when(self) -> None:
        def check(values: dict[str, str]) -> str:
            try:
                self._parse(values["when"])
            except ValueError as error:
                return str(error)
            return ""

        def submitted(values: dict[str, str] | None) -> None:
            if values is not None:
                self._go(values["when"])

        fields = [Field("when", "when", "", "14:03:07, -5m, +10s, start, end, now")]
        self._app.push_screen(Form("go to a time", fields, yes="Go", check=check, note=MOMENT_HELP), submitted)

    # -- commands -------------------------------------------------------------------------------------------------

    def _parse(self, words: str) -> int | None:
        """``None``: the present. Raises: ValueError."""
        if words.strip().lower() in NOW_WORDS:
            return None
        here = self._app.now_ms()
        if self.moment is None:
            return parse_moment(words, here, 0, here)
        last_ms = self.moment.last_ms if self.moment.present_ms is None else self.present_ms()
        return parse_moment(words, here, self.moment.first_ms, last_ms)

    def _go(self, words: str) -> None:
        at_ms = self._parse(words)
        if at_ms is None:
            self.to_present()
        else:
            self.go_to(at_ms)

    def do_words(self, command: str, arguments: Sequence[str]) -> None:
        """What was typed. Raises: ValueError: what is wrong with it."""
        words = " ".join(arguments)
        if command == "live":
            self.to_present()
        elif command == "mark":
            self.mark()
        elif command == "back":
            if words:
                self._go(words)
            elif self.moment is None:
                self.step(-10_000)
            else:
                self.step_event(-1)
        elif command == "diff":
            self._diff(list(arguments))
        elif command == "record":
            self._record(words)
        elif command == "bundle":
            self._bundle(list(arguments))

    def _record(self, words: str) -> None:
        app, recordings = self._app, self.recordings
        if not self.has_present or app.simulation is not None:
            raise ValueError("this is no cluster that can be recorded")
        if words == "off":
            recordings.stop()
            app.flash("nothing is recorded any more", "info")
        elif recordings.recorder is not None:
            app.flash(f"recorded into {recordings.recorder.path}; :record off ends it", "info")
        elif recordings.start(words or None):
            app.flash(f"recorded into {recordings.path}", "in_sync")

    def _bundle(self, words: list[str]) -> None:
        if not words:
            raise ValueError("name a file: :bundle FILE, and from when until when: :bundle FILE 14:03 14:20")
        file, *times = words
        times = joined_dates(times)
        if len(times) > 2:
            raise ValueError("two moments at most: :bundle FILE 14:03 14:20")
        found = [self._parse(each) for each in times]
        moments = [self.present_ms() if each is None else each for each in found]
        last_ms = (
            moments[1] if len(moments) == 2 else self._app.now_ms() if self.moment is None else self.moment.last_ms
        )
        first_ms = moments[0] if moments else last_ms - 3_600_000
        self.recordings.bundle(os.path.expanduser(file), first_ms, last_ms, self.past)

    def _diff(self, words: list[str]) -> None:
        words = joined_dates(words)
        if not words and self._marked_ms is not None:
            self.mark()
            return
        if len(words) not in (1, 2):
            raise ValueError("name two moments: :diff 14:03 14:05, or one and it is compared with here")
        moments = [self._parse(each) for each in words]
        found = [self.present_ms() if each is None else each for each in moments]
        first, second = sorted((*found, self._app.now_ms())[:2])
        self._show_difference(first, second)

    def _show_difference(self, first_ms: int, second_ms: int) -> None:
        self._app.push_view(ViewSpec("difference", {"first": first_ms, "second": second_ms}))

    async def two_pictures(self, first_ms: int, second_ms: int) -> tuple[ClusterSnapshot, ClusterSnapshot]:
        """Of these moments. Raises: GatewayError."""
        gateway = self.past if self.past is not None else self._enter()
        if gateway is None:
            raise GatewayError("nothing is recorded here")
        try:
            return await asyncio.to_thread(lambda: (gateway.snapshot_at(first_ms), gateway.snapshot_at(second_ms)))
        finally:
            if gateway is not self.past:
                gateway.record.close()

    # -- for the bar ----------------------------------------------------------------------------------------------

    def marks(self, first_ms: int, last_ms: int, cells: int) -> tuple[list[Any], list[Any]]:
        """What stands on the bar, and where it has gaps."""
        wanted = (first_ms, last_ms, cells)
        if self._marks[0] != wanted and self.past is not None:
            try:
                record = self.past.record
                self._marks = (wanted, record.marks(*wanted), record.gaps(first_ms, last_ms))
            except RecordError:
                return [], []
        return self._marks[1:]
