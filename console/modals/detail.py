"""Long text in a box: what is known of a row, a whole record, all keys, all commands."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Vertical

from console.keymap import bindings
from console.modals.base import Dialog
from console.viewmodel import text
from console.viewmodel.cells import Cell, Span, cell, plain
from console.viewmodel.dead_letters import letter_lines, stack_lines
from console.viewmodel.records import BytesFormat, PartReading, Reading, RecordView, pretty_lines
from console.widgets.log_pane import LogPane


class Detail(Dialog[None]):
    """Lines to read, scroll and copy."""

    SCOPES: tuple[str, ...] = ("detail",)
    BINDINGS = bindings("detail")

    DEFAULT_CSS = """
    Detail #box { width: 92%; height: 90%; padding: 0 1; }
    Detail #box.-snug { width: 78; }
    Detail.-narrow #box { width: 100%; max-width: 100%; height: 100%; max-height: 100%; }
    """

    def __init__(self, title: str, lines: Sequence[Cell], *, snug: bool = False, indent: int = 2) -> None:
        super().__init__()
        self._title = title
        self._lines = list(lines)
        self._snug = snug
        self._indent = indent

    def compose(self) -> ComposeResult:
        with Vertical(id="box", classes="-snug" if self._snug else "") as box:
            self.frame(box, self._title)
            yield LogPane(background="panel", indent=self._indent)

    def on_mount(self) -> None:
        self.pane.set_lines(self._lines)
        self.set_focus(self.pane)

    @property
    def pane(self) -> LogPane:
        """Where the lines are."""
        return self.query_one(LogPane)

    def action_close(self) -> None:
        self.dismiss(None)

    def action_scroll(self, lines: int) -> None:
        self.pane.scroll_lines(lines)

    def action_scroll_to(self, end: int) -> None:
        self.pane.go_to_end(bool(end))

    def action_scroll_page(self, direction: int) -> None:
        self.pane.scroll_lines(direction * max(1, self.pane.size.height - 1))

    def copied(self) -> str:
        """What ``c`` copies."""
        return "\n".join(plain(line) for line in self._lines)

    def action_copy(self) -> None:
        self.console.copy(self.copied(), "copied")


class RecordDetail(Detail):
    """One record whole; steps to its neighbours."""

    SCOPES = ("record", "detail")
    BINDINGS = bindings("record")

    def __init__(self, records: Sequence[RecordView], at: int, shown: BytesFormat) -> None:
        self._records = list(records)
        self._at = at
        self._format = shown
        super().__init__(self._records[at].place, record_lines(self._records[at], shown))

    def action_format(self) -> None:
        formats = list(BytesFormat)
        self._format = formats[(formats.index(self._format) + 1) % len(formats)]
        self._show()

    def action_step(self, step: int) -> None:
        self._at = max(0, min(len(self._records) - 1, self._at + step))
        self._show()

    def _show(self) -> None:
        record = self._records[self._at]
        self._lines = record_lines(record, self._format)
        self.frame(self.query_one("#box"), record.place)
        self.pane.set_lines(self._lines)

    def copied(self) -> str:
        record = self._records[self._at]
        value = record.readable_value if self._format is BytesFormat.AUTO else record.value
        return "" if value is None else value.decode(errors="replace")


def record_lines(record: RecordView, shown: BytesFormat) -> list[Cell]:
    """Everything known of a record."""

    def fact(name: str, value: str, tone: str = "text") -> Cell:
        return (Span(f"{name:<13}", "muted"), Span(value, tone))

    lines = [
        fact("topic", f"{record.topic}", "accent"),
        fact("partition", f"{record.partition}"),
        fact("offset", f"{record.offset:,}", "leader"),
        fact("timestamp", f"{text.date_time(record.timestamp_ms)}  {record.timestamp_type}"),
    ]
    attributes = []
    if record.leader_epoch is not None and record.leader_epoch >= 0:
        attributes.append(f"leader epoch {record.leader_epoch}")
    attributes.append(f"compression {record.compression}")
    if record.producer_id is not None and record.producer_id >= 0:
        attributes.append(f"producer id {record.producer_id}")
    if record.is_transactional:
        attributes.append("transactional")
    if record.is_control:
        attributes.append("control")
    lines.append(fact("batch", ", ".join(attributes)))
    lines += letter_lines(record)
    for name, value in record.headers:
        first, *more = (value or b"").decode(errors="replace").splitlines() or [""]
        lines.append(fact("header", f"{name} = {first}{' …' if more else ''}"))
    key, value = record.key, record.value
    if shown is BytesFormat.AUTO:
        key, value = record.readable_key, record.readable_value
    reading = record.reading or Reading()
    for each in reading.masked:
        lines.append(fact("masked", each, "controller"))
    for part, data, of in (("key", key, record.key), ("value", value, record.value)):
        size = "null" if of is None else text.size(len(of))
        read: PartReading = getattr(reading, part)
        how = (read.words or "decoded") if data is not of or read.serde else str(shown)
        if read.problem:
            lines += [cell(""), (Span(f"! {part}: {read.problem}", "under_replicated"),)]
        lines += [cell(""), (Span(part.upper(), "title"), Span(f"  {size}  {how}", "muted"))]
        lines += pretty_lines(data, shown)
    return [*lines, *stack_lines(record)]
