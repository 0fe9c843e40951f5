"""Contexts as rows: how each cluster does, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from console.viewmodel import text
from console.viewmodel.cells import UNKNOWN, Cell, Column, Span, cell
from console.viewmodel.groups import lag_tone
from console.viewmodel.health import silent_brokers, unserved
from console.viewmodel.settling import missing
from console.viewmodel.verdict import Ailment, judge
from engine.supervisor.snapshot import ClusterSnapshot

if TYPE_CHECKING:
    from console.contexts import Context

# Trouble that readers and writers have not felt yet.
_BEARABLE = (Ailment.UNDER_REPLICATED, Ailment.UNKNOWN)


class ContextRow(NamedTuple):
    """One context. Figures are ``None`` until its cluster told of them; ``servers`` is how it is reached."""

    name: str
    colour: str
    read_only: bool
    is_open: bool
    is_default: bool
    servers: str
    security: str
    state: Cell
    brokers_up: int | None = None
    brokers: int | None = None
    under_replicated: int | None = None
    offline: int | None = None
    lag: int | None = None
    is_healthy: bool = True
    problem: str = ""
    age_ms: float = 0.0

    @property
    def key(self) -> str:
        """Its name never changes."""
        return self.name


def context_row(
    context: Context,
    snapshot: ClusterSnapshot | None,
    problem: str,
    now_ms: int,
    *,
    is_open: bool,
    is_default: bool,
) -> ContextRow:
    """A context with the last picture of its cluster.

    Args:
        problem: why there is none, or no newer one.
    """
    protocol = context.properties.get("security.protocol", "")
    security = protocol or ("see its file" if context.command_config else "")
    servers = context.bootstrap_servers or context.command_config or context.data_dir or "kconsole's own"
    row = ContextRow(
        context.name,
        context.colour_code,
        context.read_only,
        is_open,
        is_default,
        servers,
        security,
        cell("looking …", "muted"),
        problem=problem,
    )
    if snapshot is None or not snapshot.metadata_observed_at_ms:
        problem = problem or (snapshot.error if snapshot is not None else "")
        if problem:
            runs_not = problem.startswith("it does not run")
            state = cell("not running", "muted") if runs_not else cell("✗ unreachable", "offline")
            return row._replace(state=state, is_healthy=runs_not, problem=problem)
        return row
    silent = silent_brokers(snapshot)
    reasons = judge(snapshot).reasons
    if missing(snapshot):
        # Who has only begun to look knows of no controller yet.
        reasons = tuple(each for each in reasons if each.kind is not Ailment.NO_CONTROLLER)
    state = cell("● healthy", "in_sync")
    if reasons:
        bearable = reasons[0].kind in _BEARABLE
        tone = "under_replicated" if bearable else "offline"
        state = cell(f"{'◐' if bearable else '✗'} {reasons[0].said}", tone)
    lags = [each.total_lag for each in snapshot.groups if each.total_lag is not None]
    return row._replace(
        state=state,
        brokers_up=snapshot.brokers_up,
        brokers=len(snapshot.brokers),
        under_replicated=snapshot.under_replicated,
        offline=sum(unserved(topic, silent) for topic in snapshot.topics),
        lag=sum(lags) if lags else None,
        is_healthy=not reasons,
        problem=problem or snapshot.error or (reasons[0].said if reasons else ""),
        age_ms=float(max(0, now_ms - snapshot.metadata_observed_at_ms)),
    )


def _name(row: ContextRow) -> Cell:
    named = Span(f" {row.name} ", f"on {row.colour}") if row.colour else Span(f" {row.name} ", "title")
    said = [Span("▶ " if row.is_open else "  ", "accent"), named]
    if row.read_only:
        said.append(Span(" RO", "under_replicated"))
    if row.is_default:
        said.append(Span(" default", "muted"))
    return tuple(said)


def _brokers(row: ContextRow) -> Cell:
    if row.brokers_up is None:
        return UNKNOWN
    return cell(f"{row.brokers_up}/{row.brokers}", "in_sync" if row.brokers_up == row.brokers else "offline")


def _number(value: int | None, bad: str) -> Cell:
    return UNKNOWN if value is None else cell(text.count(value), bad if value else "in_sync")


CONTEXT_COLUMNS: tuple[Column, ...] = (
    Column("name", "   CONTEXT", _name, 16, sort=lambda row: row.name, max_width=36),
    Column(
        "brokers",
        "BROKERS",
        _brokers,
        7,
        sort=lambda row: -1 if row.brokers_up is None else row.brokers_up,
        right=True,
    ),
    Column(
        "under",
        "UNDER",
        lambda row: _number(row.under_replicated, "under_replicated"),
        5,
        sort=lambda row: -1 if row.under_replicated is None else row.under_replicated,
        right=True,
        descending=True,
    ),
    Column(
        "offline",
        "OFFLINE",
        lambda row: _number(row.offline, "offline"),
        7,
        sort=lambda row: -1 if row.offline is None else row.offline,
        right=True,
        descending=True,
    ),
    Column(
        "lag",
        "LAG",
        lambda row: UNKNOWN if row.lag is None else cell(text.count(row.lag), lag_tone(row.lag)),
        7,
        sort=lambda row: -1 if row.lag is None else row.lag,
        right=True,
        descending=True,
        priority=1,
    ),
    Column("state", "STATE", lambda row: row.state, 14, sort=lambda row: row.is_healthy, max_width=70),
    Column("servers", "SERVERS", lambda row: cell(row.servers, "muted"), 16, max_width=40, priority=2),
    Column("security", "SECURITY", lambda row: cell(row.security or "–", "muted"), 10, max_width=14, priority=3),
)
