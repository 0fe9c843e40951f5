"""Live tail of topics: follow, pause, seek, filter, look into one record."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult

from console.commands import CommandError
from console.gateway import GatewayError, ReadFrom, Start, Tail
from console.modals.detail import RecordDetail
from console.modals.form import Field, Form
from console.screens.base import View, view_bindings
from console.screens.record_volume import REFRESH_MS, RecordVolume
from console.serde_acts import ask_serdes, values_of
from console.viewmodel import text
from console.viewmodel.cells import Column
from console.viewmodel.dead_letters import dead_letter, letter_columns
from console.viewmodel.jq_programs import Program, program
from console.viewmodel.key_search import KeySearch, KeyWish
from console.viewmodel.records import (
    KEPT_RECORDS,
    BytesFormat,
    RecordView,
    Ring,
    merge_by_time,
    record_columns,
    record_data,
    record_part,
    record_text,
)
from console.viewmodel.seeking import SEEK_HELP, parse_seek
from console.widgets.live_table import LiveTable
from console.widgets.volume_bars import VolumeBars
from engine.supervisor.snapshot import ClusterSnapshot

if TYPE_CHECKING:
    from console.app import KConsole

_RETRY_S = 1.0
# Reading on from some place, so many records are kept ready below the selected one, and no more are asked for.
_AHEAD = 500
# Partitions answer one after the other: so long the first ones wait for the others, to be shown in the order of time.
_GATHER_MS = 300
# A tail begins with what came last, so that a quiet topic is no empty screen.
_TAIL = ReadFrom(Start.OFFSET, -20)


class RecordsView(View):
    """One row a record; the last ones are kept, batches are shown a few times a second.

    It begins with the last records and follows what comes. From any other place that one asked for it reads on as one
    goes down, until ``f`` makes it follow.
    """

    NAME = "records"
    FOLLOWS = True
    BINDINGS = view_bindings("records")

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self._topics: tuple[str, ...] = tuple(about["topics"])
        self._read_from: ReadFrom = about.get("read_from", _TAIL)
        self._format = BytesFormat.AUTO
        self._ring = Ring()
        self._waiting: list[RecordView] = []
        self._skipped = 0
        self._has_headers = False
        self._has_letters = False
        self._fields: tuple[Program, ...] = ()
        self._problem = ""
        self._caught_up = False
        self._paged = "read_from" in about
        self._gather_until_ms = 0.0
        self._more = asyncio.Event()
        wish: KeyWish | None = about.get("key")
        self._search = KeySearch(wish) if wish is not None else None
        self._volume = RecordVolume(self._topics, about.get("partitions"))
        # Where left and right have come to; it is gone to once the keys pause.
        self._wanted_bar: int | None = None
        self._bar: int | None = None

    def columns(self) -> Sequence[Column]:
        columns = record_columns(self._format, len(self._topics) > 1, headers=self._has_headers, fields=self._fields)
        if not self._has_letters:
            return columns
        # The headers of an error are long, and said in these.
        return (*(each for each in columns[:-1] if each.key != "headers"), *letter_columns(), columns[-1])

    def compose(self) -> ComposeResult:
        yield VolumeBars()
        yield from super().compose()

    def make_table(self) -> LiveTable:
        table = super().make_table()
        table.search_text = record_text
        table.search_part = record_part
        table.search_data = record_data
        table.rows_are_final = True
        table.empty = "waiting for records …"
        return table

    def key_of(self, row: RecordView) -> str:
        return row.place

    def scope_word(self) -> str:
        partitions = self.about.get("partitions")
        word = ",".join(self._topics)
        word = f"{word}-{','.join(map(str, partitions))}" if partitions else word
        return word if self._search is None else f"{word}, key {self._search.wish.words}"

    def remark(self) -> str:
        words = [] if self._search is None else [self._search.words]
        if self._problem:
            words.append(f"! {self._problem}")
        values = values_of(self.console)
        if values is not None and values.problem:
            words.append(f"! {values.problem}")
        dropped = self._ring.dropped + self._skipped
        if self._paged:
            words.append("up to the end" if self._caught_up and not self._waiting else "more below")
        else:
            words.append("following" if self.table.follow else "paused")
            waiting = len(self._waiting)
            if not self.table.follow and waiting:
                words.append(f"{waiting:,} new")
            if dropped:
                words.append(f"{dropped:,} dropped")
        words.append(f"from {self._from_words()}")
        if self._format is not BytesFormat.AUTO:
            words.append(str(self._format))
        return " · ".join(words)

    def _from_words(self) -> str:
        start, value = self._read_from
        if start is Start.OFFSET:
            return f"{-value:,} before the end" if value < 0 else f"offset {value:,}"
        if start is Start.TIMESTAMP:
            return text.date_time(value)[:19]
        return f"the {start}"

    # -- reading --------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        self.table.follow = not self._paged
        super().begin()
        self._start_reading()

    def _start_reading(self) -> None:
        self._problem = ""
        self._caught_up = False
        self._gather_until_ms = self.console.monotonic_ms() + _GATHER_MS
        self.run_worker(partial(self._read, self._read_from), group="records", exclusive=True, exit_on_error=False)

    async def _read(self, read_from: ReadFrom) -> None:
        while True:
            try:
                tail = await self._tail(read_from)
                async for batch in self.console.gateway.tail(tail):
                    self._problem = batch.problem
                    self._caught_up = batch.caught_up
                    records = batch.records
                    if self._search is not None:
                        records = self._search.take(records, batch.positions, batch.ends)
                    self._take(records)
                    while self._has_enough():
                        self._more.clear()
                        await self._more.wait()
                return
            except GatewayError as error:
                self._problem = str(error)
            # What was shown stays; reading goes on at the end once the cluster answers, a search where it was.
            read_from = ReadFrom() if self._search is None else read_from
            await asyncio.sleep(_RETRY_S)

    async def _tail(self, read_from: ReadFrom) -> Tail:
        """Raises: GatewayError."""
        search = self._search
        if search is None:
            return Tail(self._topics, self.about.get("partitions"), read_from)
        partitions = search.begin(await self.console.gateway.bulk.partition_count(self._topics[0]))
        return Tail(self._topics[:1], partitions, read_from, search.positions)

    def _below(self) -> int:
        """Rows below the selected one."""
        return len(self._ring) - self.table.cursor_index

    def _has_enough(self) -> bool:
        return self._paged and self._is_gathered() and len(self._waiting) + self._below() > 2 * _AHEAD

    def _take(self, records: list[RecordView]) -> None:
        self._waiting += records
        if not self._has_headers and any(record.headers for record in records):
            self._has_headers = True
            self.table.columns = self.columns()
        if not self._has_letters and any(dead_letter(record.headers) for record in records):
            self._has_letters = True
            self.table.columns = self.columns()
        over = len(self._waiting) - KEPT_RECORDS
        if over > 0 and not self._paged:
            del self._waiting[:over]
            self._skipped += over

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[RecordView]:
        return self._ring

    def refresh_rows(self) -> None:
        if self._waiting and self.table.follow and self._is_gathered():
            self._ring.extend(merge_by_time(self._waiting))
            self._waiting.clear()
            self.table.update_rows(self._ring)
        elif self._waiting and self._paged and self._below() <= _AHEAD and self._is_gathered():
            self._waiting = merge_by_time(self._waiting)
            self._ring.extend(self._waiting[:_AHEAD])
            del self._waiting[:_AHEAD]
            self.table.update_rows(self._ring)
        elif self.table.total != len(self._ring):
            self.table.update_rows(self._ring)
        if not len(self._ring):
            waiting = "waiting for records …" if self._search is None else self._search.nothing
            self.table.empty = self._problem or waiting
        if not self._has_enough():
            self._more.set()
        self.table.tick()
        self._show_volume()
        self.refresh_title()

    def _is_gathered(self) -> bool:
        return self._caught_up or self.console.monotonic_ms() >= self._gather_until_ms

    def age_of(self, row: RecordView) -> float:
        return 0.0

    # -- records over time ----------------------------------------------------------------------------------------

    @property
    def _bars(self) -> VolumeBars:
        return self.query_one(VolumeBars)

    def _show_volume(self) -> None:
        bars, volume = self._bars, self._volume
        if bars.has_class("-hidden"):
            return
        if self._wanted_bar is not None and volume.volume is not None:
            self._bar, self._wanted_bar = self._wanted_bar, None
            self._seek(volume.place_of(self._bar))
        row: RecordView | None = self.table.cursor_row
        if row is not None:
            self._bar = volume.bar_at(row.timestamp_ms)
        now_ms = self.console.monotonic_ms()
        grows = not self._paged and volume.zoom is None and now_ms - volume.asked_at_ms >= REFRESH_MS
        if bars.size.width and (not volume.asked_at_ms or (grows and not volume.is_asking)):
            self._count_volume()
        if volume.volume is None:
            said = volume.problem or ("asking where each time begins …" if volume.is_asking else "no records")
            bars.show(None, None, said, "under_replicated" if volume.problem else "muted")
        else:
            bars.show(volume.volume, self._bar, volume.problem, "under_replicated")

    def _count_volume(self) -> None:
        self._volume.asked_at_ms = self.console.monotonic_ms()
        asking = self._volume.ask(self.console.gateway, self._bars.room)
        self.run_worker(asking, group="volume", exclusive=True, exit_on_error=False)

    def action_volume(self) -> None:
        bars = self._bars
        bars.styles.height = 4 if self.size.height < 30 else 7
        bars.toggle_class("-hidden")
        self._volume.zoom, self._volume.asked_at_ms = None, 0.0
        self.call_after_refresh(self.refresh_rows)

    def action_bar(self, step: int) -> None:
        volume = self._volume.volume
        if self._bars.has_class("-hidden") or volume is None:
            self.console.flash("h shows records over time", "info", 3)
            return
        found = volume.next_bar(self._wanted_bar if self._wanted_bar is not None else self._bar, step)
        if found is not None:
            self._wanted_bar = found
            self._bars.show(volume, found)

    def action_zoom(self, closer: bool) -> None:
        if self._bars.has_class("-hidden") or self._volume.volume is None:
            self.console.flash("h shows records over time", "info", 3)
        elif not closer:
            self._volume.zoom = None
            self._count_volume()
        elif self._bar is not None and self._volume.closer(self._bar):
            self._count_volume()

    def on_volume_bars_picked(self, event: VolumeBars.Picked) -> None:
        event.stop()
        self._wanted_bar = event.bar
        self.refresh_rows()

    # -- keys -----------------------------------------------------------------------------------------------------

    def action_follow(self) -> None:
        self._paged = False
        super().action_follow()

    def action_cursor_bottom(self) -> None:
        if self._paged:
            # The last of what is there; more is read below it.
            self.table.move_to(len(self.table.shown) - 1)
        else:
            super().action_cursor_bottom()

    def action_open(self) -> None:
        shown = self.table.shown
        if shown:
            self.table.follow = False
            self.refresh_title()
            self.console.push_screen(RecordDetail(shown, self.table.cursor_index, self._format))

    def action_format(self) -> None:
        formats = list(BytesFormat)
        self._format = formats[(formats.index(self._format) + 1) % len(formats)]
        self.table.columns = self.columns()
        self.table.refresh()
        self.refresh_title()

    def action_fields(self) -> None:
        def check(values: dict[str, str]) -> str:
            try:
                _programs(values["fields"])
            except ValueError as error:
                return f"jq: {error}"
            return ""

        def show(values: dict[str, str] | None) -> None:
            if values is None:
                return
            self._fields = _programs(values["fields"])
            self.table.columns = self.columns()
            self.table.refresh()

        now = ", ".join(each.text for each in self._fields)
        fields = [Field("fields", "show", now, ".value.amount, .headers.trace, .value.items | length")]
        self.console.push_screen(
            Form(
                "fields as columns",
                fields,
                yes="Show",
                check=check,
                note="programs in jq, with commas between; none: no columns",
            ),
            show,
        )

    def action_serdes(self) -> None:
        row: RecordView | None = self.table.cursor_row
        ask_serdes(self.console, row.topic if row is not None else self._topics[0], self.read_again)

    def read_again(self) -> None:
        """From where reading began: what was read by other serdes goes."""
        self.action_clear()
        self._start_reading()

    def action_clear(self) -> None:
        self._ring.clear()
        self._waiting.clear()
        self._skipped = 0
        self.table.clear_marks()
        self.table.clear()
        self.refresh_title()

    def action_seek_to(self, place: str) -> None:
        self._seek(ReadFrom(Start(place)))

    def _seek(self, read_from: ReadFrom) -> None:
        self._read_from = read_from
        if self._search is not None:
            self._search.restart()
        self._paged = read_from.start is not Start.END
        self.action_clear()
        self.table.follow = not self._paged
        self._start_reading()
        self.refresh_title()

    def action_seek(self) -> None:
        def check(values: dict[str, str]) -> str:
            result = parse_seek(values["place"], self.console.now_ms())
            return result if isinstance(result, str) else ""

        def seek(values: dict[str, str] | None) -> None:
            if values is None:
                return
            result = parse_seek(values["place"], self.console.now_ms())
            if not isinstance(result, str):
                self._seek(result)

        fields = [Field("place", "read from", "", "end, start, 1042, -100, 15m, 2026-11-24 14:03")]
        self.console.push_screen(Form("seek", fields, yes="Seek", check=check, note=SEEK_HELP), seek)

    def action_find_key(self) -> None:
        row: RecordView | None = self.table.cursor_row
        topic = row.topic if row is not None else self._topics[0]
        self.console.acts.finding.ask(topic, self._search.wish if self._search is not None else None)

    def action_resend(self) -> None:
        row: RecordView | None = self.table.cursor_row
        if row is not None:
            self.console.acts.records.ask_resend(row)

    def action_edit(self) -> None:
        row: RecordView | None = self.table.cursor_row
        if row is not None:
            self.console.acts.records.edit(row)

    def action_export(self) -> None:
        partitions = self.about.get("partitions")
        self.console.acts.records.ask_export(
            self._topics, None if partitions is None else tuple(partitions), self.table.filter
        )

    def action_mark(self) -> None:
        # What is marked stays in view.
        self.table.follow = False
        super().action_mark()

    def action_copy_records(self) -> None:
        row: RecordView | None = self.table.cursor_row
        topic = row.topic if row is not None else self._topics[0]
        partitions = self.about.get("partitions")
        self.console.acts.copying.ask(
            topic,
            partitions=None if partitions is None else tuple(partitions),
            wanted=self.table.filter,
            marked=[each for each in self._marked() if each.topic == topic],
        )

    def action_redrive(self) -> None:
        row: RecordView | None = self.table.cursor_row
        topic = row.topic if row is not None else self._topics[0]
        marked = [each for each in self._marked() if each.topic == topic]
        self.console.acts.redriving.ask(topic, wanted=self.table.filter, marked=marked)

    def _marked(self) -> list[RecordView]:
        return self.table.chosen() if self.table.marks else []

    def action_produce(self) -> None:
        row: RecordView | None = self.table.cursor_row
        self.console.acts.records.ask_produce(row.topic if row is not None else self._topics[0])

    def action_kill_leader(self) -> None:
        row: RecordView | None = self.table.cursor_row
        partitions = self.about.get("partitions")
        if row is not None:
            self.console.acts.kill_leader(row.topic, row.partition)
        else:
            self.console.acts.kill_leader(self._topics[0], partitions[0] if partitions else 0)


def _programs(said: str) -> tuple[Program, ...]:
    """Programs with commas between. Raises: ValueError."""
    return tuple(program(each.strip()) for each in said.split(",") if each.strip())


def ask_serdes_of_view(console: KConsole, arguments: Sequence[str]) -> None:
    """``:serde [TOPIC]``: without a topic the one that is looked at. Raises: CommandError."""
    view = console.view
    records = view if isinstance(view, RecordsView) else None
    if arguments:
        ask_serdes(console, arguments[0], records.read_again if records is not None else lambda: None)
    elif records is not None:
        records.action_serdes()
    else:
        raise CommandError("name a topic: :serde TOPIC")
