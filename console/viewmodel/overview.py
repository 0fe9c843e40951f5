"""What the header says of a cluster."""

from __future__ import annotations

from typing import NamedTuple

from console.viewmodel import text
from console.viewmodel.cells import Cell, Span
from console.viewmodel.health import STALE_MS, leaderless_since_ms, silent_brokers, unserved
from console.viewmodel.history import History, total
from engine.supervisor.snapshot import ClusterSnapshot, Source


class Overview(NamedTuple):
    """The header's two lines: a left and a right part each."""

    first_left: Cell
    first_right: Cell
    second_left: Cell
    second_right: Cell


def overview(
    snapshot: ClusterSnapshot | None,
    history: History,
    now_ms: int,
    width: int,
    *,
    read_only: bool,
    failure: str,
    context: Cell = (),
) -> Overview:
    """Fit for ``width`` cells. ``context`` is the name under which the cluster was opened, if it has one."""
    product = Span("kconsole", "accent")
    if snapshot is None:
        waiting = failure or "looking for the cluster …"
        empty: Cell = (Span("", "muted"),)
        return Overview(
            (product, *context, Span("  ", "muted"), Span(waiting, "offline" if failure else "muted")),
            empty,
            empty,
            empty,
        )
    where = list(context)
    if not context:
        where.append(Span(f"  {snapshot.source}", "title" if snapshot.source is Source.ATTACHED else "info"))
        if read_only:
            where.append(Span(" read-only", "under_replicated"))
    age = _age(snapshot, now_ms, failure)
    if snapshot.faults:
        # What looks broken may be so on purpose.
        number = len(snapshot.faults)
        told = f"{text.plural(number, 'fault')} on  " if width >= 96 else f"✗{number} "
        age = (Span(told, "offline"), *age)
    before: Cell = (product, *where, Span("  cluster ", "muted"))
    after = _controller(snapshot, now_ms)
    # The cluster's id gives way to everything else of the line; a blank stands at its ends and before its right part.
    room = width - 3 - sum(len(span.text) for span in (*before, *after, *age))
    cluster = text.shorten_middle(snapshot.cluster_id or "–", max(6, min(24 if width >= 100 else 14, room)))
    first_left: Cell = (*before, Span(cluster, "text"), *after)
    return Overview(
        first_left,
        age,
        _brokers(snapshot, width),
        _rates(snapshot, history, width),
    )


def context_label(name: str, colour: str, *, read_only: bool, width: int) -> Cell:
    """The name of a context on its colour (``#rrggbb``, or none), and RO where nothing may be changed."""
    shown = text.shorten_middle(name, 24 if width >= 100 else 14)
    named = Span(f" {shown} ", f"on {colour}") if colour else Span(shown, "title")
    blank = Span(" ", "muted")
    return (Span("  ", "muted"), named, *((blank, Span("RO", "under_replicated")) if read_only else ()))


def _controller(snapshot: ClusterSnapshot, now_ms: int) -> Cell:
    if snapshot.controller_id is None or snapshot.controller_id < 0:
        return (Span("  controller ", "muted"), Span("none", "offline"))
    if since_ms := leaderless_since_ms(snapshot):
        return (Span("  controller ", "muted"), Span(f"none {text.age(now_ms - since_ms)}", "offline"))
    epoch = "" if snapshot.controller_epoch is None else f" epoch {snapshot.controller_epoch}"
    return (Span("  controller ", "muted"), Span(f"★ {snapshot.controller_id}", "controller"), Span(epoch, "muted"))


def _age(snapshot: ClusterSnapshot, now_ms: int, failure: str) -> Cell:
    # Why stands in the status line.
    problem = failure or snapshot.error
    if snapshot.source is Source.SIMULATED and not problem:
        return (Span("virtual time ", "muted"), Span("●", "info"))
    if not snapshot.metadata_observed_at_ms and not problem:
        return (Span("connecting ", "muted"), Span("●", "under_replicated"))
    old_ms = max(0, now_ms - snapshot.metadata_observed_at_ms) if snapshot.metadata_observed_at_ms else 0
    if old_ms > STALE_MS or failure:
        return (Span(f"stale {text.age(old_ms)} ", "offline"), Span("●", "offline"))
    if problem:
        return (Span("partly stale ", "under_replicated"), Span("●", "under_replicated"))
    return (Span("live ", "muted"), Span("●", "in_sync"))


def _brokers(snapshot: ClusterSnapshot, width: int) -> Cell:
    up, all_ = snapshot.brokers_up, len(snapshot.brokers)
    silent = silent_brokers(snapshot)
    offline = sum(unserved(topic, silent) for topic in snapshot.topics)
    spans = [
        Span("brokers ", "muted"),
        Span(f"{up}/{all_}", "in_sync" if up == all_ else "offline"),
        Span(" up  ", "muted"),
        Span("under-replicated ", "muted"),
        Span(text.count(snapshot.under_replicated), "under_replicated" if snapshot.under_replicated else "in_sync"),
        Span("  offline ", "muted"),
        Span(text.count(offline), "offline" if offline else "in_sync"),
    ]
    if width >= 110:
        partitions = sum(len(topic.partitions) for topic in snapshot.topics)
        spans += [
            Span("  topics ", "muted"),
            Span(text.count(len(snapshot.topics))),
            Span("  partitions ", "muted"),
            Span(text.count(partitions)),
            Span("  groups ", "muted"),
            Span(text.count(len(snapshot.groups))),
        ]
    return tuple(spans)


def _rates(snapshot: ClusterSnapshot, history: History, width: int) -> Cell:
    incoming = total(broker.bytes_in_per_s for broker in snapshot.brokers)
    outgoing = total(broker.bytes_out_per_s for broker in snapshot.brokers)
    if incoming is None and outgoing is None:
        # A cluster that counts no bytes for us: its high watermarks tell how many records come.
        records = total(broker.messages_in_per_s for broker in snapshot.brokers)
        return () if records is None else (Span("in ", "muted"), Span(f"{text.per_second(records)[:-2]} records/s"))
    spark = 16 if width >= 130 else 8 if width >= 100 else 0
    spans = [Span("in ", "muted"), Span(text.rate(incoming))]
    if spark:
        spans.append(Span(" " + text.spark(history.of("in"), spark), "bytes_in"))
    spans += [Span("  out ", "muted"), Span(text.rate(outgoing))]
    if spark:
        spans.append(Span(" " + text.spark(history.of("out"), spark), "bytes_out"))
    return tuple(spans)
