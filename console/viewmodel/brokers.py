"""The cluster's brokers as rows."""

from __future__ import annotations

from dataclasses import dataclass

from console.viewmodel import text
from console.viewmodel.cells import UNKNOWN, Cell, Column, Span, cell
from console.viewmodel.health import leaderless_since_ms
from console.viewmodel.history import History
from engine.supervisor.snapshot import BrokerState, ClusterSnapshot, ProcessState

SPARK_WIDTH = 8


@dataclass(frozen=True, slots=True)
class BrokerRow:
    """One broker with the recent course of its rates."""

    broker: BrokerState
    state: str
    tone: str
    glyph: str
    in_history: tuple[float, ...]
    out_history: tuple[float, ...]
    age_ms: float
    is_controller: bool = False

    @property
    def key(self) -> str:
        """Stable through all changes."""
        return str(self.broker.broker_id)

    @property
    def is_healthy(self) -> bool:
        """Up and holding nothing that is out of sync."""
        return self.tone == "in_sync" and self.broker.in_sync >= self.broker.replicas


_PROCESS_TONES = {
    ProcessState.STARTING: ("under_replicated", "◐"),
    ProcessState.RUNNING: ("in_sync", "●"),
    ProcessState.PAUSED: ("under_replicated", "Ⅱ"),
    ProcessState.STOPPING: ("under_replicated", "◑"),
    ProcessState.STOPPED: ("offline", "○"),
    ProcessState.KILLED: ("offline", "✗"),
    ProcessState.CRASHED: ("offline", "✗"),
}


# It goes on with those that it has left.
_FAILED_DIR = ("dir failed", "under_replicated", "◐")


def broker_state(broker: BrokerState) -> tuple[str, str, str]:
    """Word, tone and glyph of a broker's state."""
    process = broker.process
    if process is not None:
        tone, glyph = _PROCESS_TONES[process.state]
        if process.state is not ProcessState.RUNNING:
            return str(process.state), tone, glyph
        if broker.fenced:
            return "fenced", "under_replicated", "◐"
        if not broker.was_asked:
            return "starting", "under_replicated", "◐"
        if not broker.reachable:
            return "no answer", "offline", "✗"
        return _FAILED_DIR if broker.failed_log_dirs else ("running", tone, glyph)
    if not broker.was_asked:
        return "connecting", "under_replicated", "◐"
    if not broker.reachable:
        return "no answer", "offline", "✗"
    if broker.fenced:
        return "fenced", "under_replicated", "◐"
    return _FAILED_DIR if broker.failed_log_dirs else ("up", "in_sync", "●")


def broker_rows(snapshot: ClusterSnapshot, history: History) -> list[BrokerRow]:
    """Sorted by id."""
    rows = []
    leaderless = bool(leaderless_since_ms(snapshot))
    for broker in sorted(snapshot.brokers, key=lambda each: each.broker_id):
        state, tone, glyph = broker_state(broker)
        down = tone == "offline"
        rows.append(
            BrokerRow(
                broker,
                state,
                tone,
                glyph,
                () if down else history.of(("in", broker.broker_id)),
                () if down else history.of(("out", broker.broker_id)),
                text.age_ms(snapshot.at_ms, broker.observed_at_ms),
                # One that is down is none, even if no other is known yet.
                broker.is_controller and not down and not leaderless,
            )
        )
    return rows


def _id(row: BrokerRow) -> Cell:
    number = Span(str(row.broker.broker_id))
    return (Span("★ ", "controller"), number) if row.is_controller else (number,)


def _state(row: BrokerRow) -> Cell:
    return (Span(f"{row.glyph} {row.state}", row.tone),)


def _pid(row: BrokerRow) -> Cell:
    process = row.broker.process
    return cell(process.pid) if process is not None and process.pid is not None else UNKNOWN


def _in_sync(row: BrokerRow) -> Cell:
    broker = row.broker
    tone = "in_sync" if broker.in_sync >= broker.replicas else "under_replicated"
    return (Span(text.count(broker.in_sync), tone), Span(f"/{text.count(broker.replicas)}", "muted"))


def _cpu(row: BrokerRow) -> Cell:
    process = row.broker.process
    if process is None or process.cpu_percent is None:
        return UNKNOWN
    return cell(f"{process.cpu_percent:.1f}%", "under_replicated" if process.cpu_percent > 90 else "text")


def _rss(row: BrokerRow) -> Cell:
    process = row.broker.process
    return cell(text.size(process.rss_bytes)) if process is not None and process.rss_bytes is not None else UNKNOWN


def _files(row: BrokerRow) -> Cell:
    process = row.broker.process
    return cell(process.open_files) if process is not None and process.open_files is not None else UNKNOWN


def _disk(row: BrokerRow) -> Cell:
    return cell(text.size(row.broker.log_bytes)) if row.broker.log_bytes is not None else UNKNOWN


def _bytes(row: BrokerRow, per_s: float | None) -> Cell:
    return UNKNOWN if row.tone == "offline" or per_s is None else cell(text.size(per_s))


def _in_spark(row: BrokerRow) -> Cell:
    return cell(text.spark(row.in_history, SPARK_WIDTH), "bytes_in")


def _out_spark(row: BrokerRow) -> Cell:
    return cell(text.spark(row.out_history, SPARK_WIDTH), "bytes_out")


def _why(row: BrokerRow) -> Cell:
    process = row.broker.process
    why = row.broker.error or (process.why if process is not None else "")
    return cell(why, "muted")


def _records(row: BrokerRow) -> Cell:
    rate = row.broker.messages_in_per_s
    return UNKNOWN if rate is None or row.tone == "offline" else cell(text.per_second(rate))


BROKER_COLUMNS: tuple[Column, ...] = (
    Column("id", "ID", _id, 4, lambda row: row.broker.broker_id, right=True, flashes=True),
    Column("state", "STATE", _state, 12, lambda row: row.state, flashes=True),
    Column(
        "pid",
        "PID",
        _pid,
        7,
        lambda row: row.broker.process.pid or 0 if row.broker.process else 0,
        right=True,
        priority=4,
    ),
    Column(
        "leaders",
        "LEADERS",
        lambda row: cell(text.count(row.broker.leaders), "leader"),
        7,
        lambda row: row.broker.leaders,
        right=True,
        flashes=True,
    ),
    Column("in-sync", "IN SYNC", _in_sync, 7, lambda row: row.broker.in_sync, right=True, max_width=13, flashes=True),
    Column(
        "cpu",
        "CPU",
        _cpu,
        6,
        lambda row: (row.broker.process.cpu_percent or 0) if row.broker.process else 0,
        right=True,
        priority=1,
        descending=True,
    ),
    Column(
        "rss",
        "RSS",
        _rss,
        8,
        lambda row: (row.broker.process.rss_bytes or 0) if row.broker.process else 0,
        right=True,
        priority=3,
        descending=True,
    ),
    Column("disk", "DISK", _disk, 8, lambda row: row.broker.log_bytes or 0, right=True, priority=7, descending=True),
    Column(
        "in",
        "IN/s",
        lambda row: _bytes(row, row.broker.bytes_in_per_s),
        8,
        lambda row: row.broker.bytes_in_per_s or 0,
        right=True,
        priority=2,
        descending=True,
    ),
    Column("in-trend", "", _in_spark, SPARK_WIDTH, priority=5),
    Column(
        "out",
        "OUT/s",
        lambda row: _bytes(row, row.broker.bytes_out_per_s),
        8,
        lambda row: row.broker.bytes_out_per_s or 0,
        right=True,
        priority=2,
        descending=True,
    ),
    Column("out-trend", "", _out_spark, SPARK_WIDTH, priority=6),
    Column(
        "address",
        "ADDRESS",
        lambda row: cell(f"{row.broker.host}:{row.broker.port}", "muted"),
        15,
        lambda row: (row.broker.host, row.broker.port),
        priority=8,
        max_width=28,
    ),
    Column(
        "rack",
        "RACK",
        lambda row: cell(row.broker.rack or "–", "muted"),
        8,
        lambda row: row.broker.rack or "",
        priority=9,
    ),
    Column("files", "FILES", _files, 5, None, right=True, priority=10),
    Column("why", "WHY", _why, 20, None, priority=11, max_width=60),
)

_NEEDS_SUPERVISOR = frozenset({"pid", "cpu", "rss", "in", "in-trend", "out", "out-trend", "files"})

# Of a cluster whose processes are not ours: what its protocol tells.
ATTACHED_BROKER_COLUMNS: tuple[Column, ...] = tuple(
    Column(
        "records",
        "RECORDS IN",
        _records,
        10,
        lambda row: row.broker.messages_in_per_s or 0,
        right=True,
        descending=True,
    )
    if column.key == "in"
    else column
    for column in BROKER_COLUMNS
    if column.key not in _NEEDS_SUPERVISOR or column.key == "in"
)
