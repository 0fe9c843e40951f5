"""A partition's files on the brokers' disks: its segments, and the batches of one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any

from console.gateway import GatewayError
from console.modals.detail import Detail
from console.modals.form import Field, Form
from console.screens.base import View, ViewSpec, view_bindings
from console.viewmodel import text
from console.viewmodel.segments import (
    BATCH_COLUMNS,
    SEGMENT_COLUMNS,
    BatchRow,
    BatchView,
    SegmentRow,
    Segments,
    batch_lines,
)
from engine.supervisor.snapshot import ClusterSnapshot

_REFRESH_S = 2.0
# Of a segment whose end was reached, and which may grow.
_POLL_S = 1.0
_PAGE = 500
# So many batches below the selected one are read before one gets there.
_AHEAD = 250
# More than one looks through; `s` goes to any other place.
_MOST_BATCHES = 20_000


class SegmentsView(View):
    """One row a segment on a broker, the leader's first."""

    NAME = "segments"
    COLUMNS = SEGMENT_COLUMNS
    EMPTY = "reading …"
    BINDINGS = view_bindings("segments")

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self._topic = str(about["topic"])
        self._partition = int(about["partition"])
        self._segments = Segments(())
        self._problem = ""

    def begin(self) -> None:
        super().begin()
        self.run_worker(self._read, group="segments", exclusive=True, exit_on_error=False)

    async def _read(self) -> None:
        while True:
            try:
                self._segments = await self.console.gateway.segments(self._topic, self._partition)
                self._problem = "; ".join(self._segments.problems)
            except GatewayError as error:
                self._problem = str(error)
            self.table.empty = self._problem or f"no broker has files of {self.scope_word()}"
            self.refresh_rows()
            await asyncio.sleep(_REFRESH_S)

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[SegmentRow]:
        leader = next(
            (
                each.leader
                for topic in snapshot.topics
                if topic.name == self._topic
                for each in topic.partitions
                if each.partition == self._partition
            ),
            -1,
        )
        now_ms = self.console.now_ms()
        found = [
            row._replace(is_leader=row.broker_id == leader, age_ms=float(max(0, now_ms - row.modified_ms)))
            for row in self._segments.rows
        ]
        return sorted(found, key=lambda row: (not row.is_leader, row.broker_id, row.base_offset))

    def age_of(self, row: SegmentRow) -> float:
        # What stands in files does not fade.
        return 0.0

    def scope_word(self) -> str:
        return f"{self._topic}-{self._partition}"

    @classmethod
    def crumb_of(cls, about: Mapping[str, Any]) -> str:
        return f"segments {about['topic']}-{about['partition']}"

    def remark(self) -> str:
        if self._problem:
            return f"! {self._problem}"
        total = sum(row.size for row in self._segments.rows)
        return f"★ leader · {text.size(total)} on all brokers" if self._segments.rows else ""

    def action_open(self) -> None:
        row: SegmentRow | None = self.table.cursor_row
        if row is not None:
            about = {"path": row.path, "broker": row.broker_id, "is_active": row.is_active}
            self.console.push_view(ViewSpec("batches", about))


class BatchesView(View):
    """One row a batch of a segment, read page by page as one goes down."""

    NAME = "batches"
    COLUMNS = BATCH_COLUMNS
    EMPTY = "reading …"
    BINDINGS = view_bindings("batches")

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self._path = str(about["path"])
        self._batches: list[BatchRow] = []
        self._position = 0
        self._end: str | None = None
        self._from_offset: int | None = None
        self._problem = ""

    def begin(self) -> None:
        super().begin()
        self._start_reading()

    def _start_reading(self) -> None:
        self.run_worker(self._read, group="batches", exclusive=True, exit_on_error=False)

    async def _read(self) -> None:
        gateway = self.console.gateway
        is_placed = self._from_offset is None
        while True:
            try:
                if not is_placed and self._from_offset is not None:
                    self._position = await gateway.find_batch(self._path, self._from_offset)
                    is_placed = True
                if self._wants_more():
                    page = await gateway.batches(self._path, self._position, _PAGE)
                    self._take(page.rows)
                    self._position, self._end = page.next_position, page.end
                self._problem = ""
            except GatewayError as error:
                self._problem = str(error)
            if not self._batches:
                self.table.empty = self._problem or self._end or "no batch stands here"
            self.refresh_rows()
            await asyncio.sleep(0 if self._end is None and self._wants_more() and not self._problem else _POLL_S / 4)

    def _take(self, rows: Sequence[BatchRow]) -> None:
        if self._from_offset is not None:
            rows = [row for row in rows if row.last_offset >= self._from_offset]
        self._batches += rows

    def _wants_more(self) -> bool:
        return len(self._batches) < _MOST_BATCHES and len(self._batches) - self.table.cursor_index <= _AHEAD

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[BatchRow]:
        return self._batches

    def age_of(self, row: BatchRow) -> float:
        return 0.0

    def key_of(self, row: BatchRow) -> str:
        return row.key

    def scope_word(self) -> str:
        partition = os.path.basename(os.path.dirname(self._path))
        base = int(os.path.basename(self._path).partition(".")[0])
        return f"broker {self.about['broker']} {partition} from {base:,}"

    @classmethod
    def crumb_of(cls, about: Mapping[str, Any]) -> str:
        return f"batches {int(os.path.basename(about['path']).partition('.')[0]):,}"

    def remark(self) -> str:
        if self._problem:
            return f"! {self._problem}"
        words = []
        bad = sum(not row.crc_matches for row in self._batches)
        if bad:
            words.append(f"✗ {text.plural(bad, 'batch')} corrupt".replace("batchs", "batches"))
        if self._from_offset is not None:
            words.append(f"from offset {self._from_offset:,}")
        if self._end:
            words.append(self._end)
        elif len(self._batches) >= _MOST_BATCHES:
            words.append("s goes further")
        else:
            words.append("more below" if self._end is None else "up to the end")
        return " · ".join(words)

    def action_seek(self) -> None:
        def check(values: dict[str, str]) -> str:
            said = values["offset"].strip().replace(",", "")
            return "" if said.isdigit() else "an offset is a whole number"

        def seek(values: dict[str, str] | None) -> None:
            if values is not None:
                self._go(int(values["offset"].strip().replace(",", "")))

        self.console.push_screen(
            Form("go to an offset", [Field("offset", "offset", "", "1042")], yes="Go", check=check), seek
        )

    def action_start(self) -> None:
        self._go(None)

    def _go(self, offset: int | None) -> None:
        self._from_offset = offset
        self._batches = []
        self._position, self._end = 0, None
        self.table.clear()
        self.table.empty = "reading …"
        self._start_reading()
        self.refresh_title()

    def action_open(self) -> None:
        row: BatchRow | None = self.table.cursor_row
        if row is None:
            return

        async def show() -> None:
            try:
                batch = await self.console.gateway.batch(self._path, row.position)
            except GatewayError as error:
                self.console.flash(str(error), "offline")
                return
            self.console.push_screen(BatchDetail(batch))

        self.run_worker(show, group="batch", exclusive=True, exit_on_error=False)


class BatchDetail(Detail):
    """One batch: its header field by field, its records, its bytes."""

    def __init__(self, batch: BatchView) -> None:
        title = f"{os.path.basename(os.path.dirname(batch.path))} batch at byte {batch.position:,}"
        super().__init__(title, batch_lines(batch), indent=12)
