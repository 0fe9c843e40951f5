"""An app over the scripted gateway, and how tests drive it."""

from __future__ import annotations

from typing import Any

from sample_contexts import SampleContexts, sample_opener
from sample_files import record
from sample_snapshots import finished_act
from scripted import EMBEDDED, FrozenClock, ScriptedGateway

from console.app import KConsole
from console.context_acts import ContextActs
from console.gateway import Capabilities
from console.modals.base import Dialog
from console.recording.options import Recording

# Screens by name, and the keys that lead there. "!name" is an act of the gateway on broker 2, "~line" a command.
SHOTS: dict[str, list[str]] = {
    "cluster": [],
    "cluster-killed": ["!kill_brokers", "j"],
    "topics": ["2"],
    "topics-filter": ["2", "slash", "o", "r"],
    "partitions": ["2", "j", "j", "enter"],
    "partitions-killed": ["!kill_brokers", "2", "j", "j", "enter"],
    "segments": ["2", "j", "j", "enter", "s"],
    "batches": ["2", "j", "j", "enter", "s", "j", "j", "enter"],
    "batch": ["2", "j", "j", "enter", "s", "j", "j", "enter", "j", "enter"],
    "records": ["2", "j", "j", "l"],
    "records-over-time": ["2", "j", "j", "l", "h"],
    "record-detail": ["2", "j", "j", "l", "enter"],
    "groups": ["3"],
    "group": ["3", "j", "enter"],
    "members": ["3", "j", "enter", "m"],
    "groups-newer": ["!add_newer_groups", "3"],
    "share-group": ["!add_newer_groups", "3", "j", "j", "enter"],
    "streams-members": ["!add_newer_groups", "3", "G", "enter", "m"],
    "streams-tasks": ["!add_newer_groups", "3", "G", "enter", "m", "m"],
    "application": ["!run_workers", "~streams word-count", "tab", "j"],
    "kill-worker": ["!run_workers", "~streams word-count", "ctrl+k"],
    "topology": ["!run_workers", "~topology word-count"],
    "store": ["!run_workers", "~stores word-count", "j", "enter", "s", "c", "a", "r", "t"],
    "events": ["!kill_brokers", "4"],
    "failover": ["!kill_brokers", "5"],
    "workload": ["6"],
    "quorum": ["7"],
    "acts": ["ctrl+k", "8"],
    "plan": ["D"],
    "reset": ["3", "o", "ctrl+s"],
    "transactions": ["~transactions"],
    "connections": ["~connections"],
    "wire": ["~wire"],
    "impact": ["i"],
    "faults": ["!add_two_faults", "~faults"],
    "fault-preview": ["j", "F", "right", "ctrl+s"],
    "impact-majority": ["~impact 1 2"],
    "moves": ["D", "ctrl+s", "m"],
    "reassign": ["~partitions orders", "m", "2", "comma", "1", "tab", "2", "ctrl+s"],
    "configs": ["2", "e"],
    "plots": ["v"],
    "plots-group": ["3", "v"],
    "plots-failover": ["!kill_brokers", "5", "v"],
    "config-diff": ["2", "e", "x", "a"],
    "contexts": ["~ctx", "j"],
    "log": ["l"],
    "help": ["question_mark"],
    "aliases": ["ctrl+a"],
    "command": ["colon", "t", "o"],
    "produce": ["2", "j", "j", "p"],
    "new-topic": ["2", "n"],
    "delete": ["2", "ctrl+d"],
    "seek": ["2", "l", "s"],
}


def make_app(
    capabilities: Capabilities = EMBEDDED,
    *,
    theme: str = "dark",
    clock: FrozenClock | None = None,
    recording: Recording | None = None,
) -> tuple[KConsole, ScriptedGateway]:
    clock = clock or FrozenClock()
    gateway = ScriptedGateway(clock, capabilities)
    app = KConsole(
        gateway,
        theme=theme,
        now_ms=clock.now_ms,
        monotonic_ms=clock.monotonic_ms,
        refresh_s=0,
        recording=recording,
        contexts=lambda app: ContextActs(app, SampleContexts(), None, sample_opener(clock)),
    )
    return app, gateway


# Workers that go on as long as their screen is there.
_ENDLESS = frozenset(
    (
        "snapshots",
        "events",
        "records",
        "log",
        "configs",
        "moves",
        "segments",
        "zookeeper",
        "batches",
        "transactions",
        "recording",
        "polled",
        "connections",
        "wire",
    )
)


def _is_busy(app: KConsole) -> bool:
    """Whether an act or a question is under way, or the cluster has something to tell that was not taken yet."""
    # Who asks a person in a dialog waits for the test.
    asks = isinstance(app.screen, Dialog)
    acting = not asks and any(worker.is_running and worker.group not in _ENDLESS for worker in app.workers)
    return acting or app.contexts.waiting or bool(getattr(app.travel.live, "has_news", False))


async def settle(app: KConsole, pilot: Any) -> None:
    """Let everything that is under way come to the screen. The pilot alone takes a process that gets no CPU for an idle
    one, so what is known to be under way is waited for by its name."""
    quiet = 0
    for _ in range(200):
        await pilot.pause()
        app.tick()
        quiet = 0 if _is_busy(app) else quiet + 1
        if quiet == 2:
            break
    await pilot.pause()


async def populate(app: KConsole, gateway: ScriptedGateway, pilot: Any) -> None:
    """Rates that moved, a past with events, records, logs."""
    await settle(app, pilot)
    clock = gateway.clock
    shape = (4, 9, 7, 12, 14, 11, 16, 13, 9, 12, 15, 18, 17, 20, 14, 16)
    for at, step in enumerate(shape):
        clock.advance(1_000)
        snapshot = gateway.snapshot
        brokers = tuple(
            _scaled(broker, clock.at_ms, 0.6 + ((step + 3 * broker.broker_id * (at % 3)) % 20) / 25)
            for broker in snapshot.brokers
        )
        topics = tuple(_moved(topic, clock.at_ms, step) for topic in snapshot.topics)
        groups = tuple(_lagging(group, at, clock.at_ms) for group in snapshot.groups)
        quorum = _quorum(snapshot.quorum, clock.at_ms)
        picture = snapshot.with_facts(
            at_ms=clock.at_ms,
            brokers=brokers,
            topics=topics,
            groups=groups,
            quorum=quorum,
            metadata_observed_at_ms=clock.at_ms,
        )
        app.take(picture)
    gateway.show(picture)
    for number, (kind, subject, reason, source) in enumerate(EVENTS):
        clock.at_ms += 40 if number else 0
        gateway.tell(kind, subject, reason, source)
    gateway.arrive(
        *(
            record(
                "orders",
                offset % 6,
                80_000 + offset,
                clock.at_ms - 3_000 + offset * 37,
                headers=(("trace", b"4f1c9a"),) if offset % 4 == 0 else (),
            )
            for offset in range(60)
        )
    )
    gateway.logs[1, False] = [
        "2026-11-24 12:00:01.104 INFO engine.broker.broker: broker 1 is starting, incarnation 1",
        "2026-11-24 12:00:01.201 INFO engine.storage.log_dir: recovered 25 logs in 61 ms",
        "2026-11-24 12:00:01.377 WARNING engine.broker.quorum.host: election timeout in epoch 7: asking for votes",
        "2026-11-24 12:00:01.398 INFO engine.broker.quorum.host: following 2 in epoch 7",
        "2026-11-24 12:00:01.420 ERROR engine.broker.replica_fetchers: fetching from broker 3: connection lost, "
        "retrying in 50 ms because the broker at 127.0.0.1:9094 has not come up yet and nothing listens on its port",
        "2026-11-24 12:00:01.611 INFO engine.broker.broker: broker 1 serves clients on 127.0.0.1:9092",
    ]
    await settle(app, pilot)


EVENTS = (
    ("process_started", "broker 1", "the cluster was started", "supervisor"),
    ("quorum_leader_elected", "node 2", "2 of 3 votes in epoch 7", "broker 2"),
    ("controller_activated", "node 2", "replayed the log up to offset 12", "broker 2"),
    ("broker_unfenced", "broker 1", "caught up with the metadata log", "broker 2"),
    ("topic_created", "orders", "asked for by kconsole-supervisor: 6 partitions, replication factor 3", "broker 2"),
    ("group_rebalanced", "billing", "member billing-3 joined, generation 3", "broker 2"),
    ("isr_shrunk", "orders-3", "broker 3 was 30,012 ms behind (replica.lag.time.max.ms is 30,000)", "broker 1"),
    ("isr_expanded", "orders-3", "broker 3 caught up", "broker 1"),
    ("leader_changed", "payments-1", "broker 3 was fenced; 1 is the next in the ISR", "broker 2"),
)


def _scaled(broker: Any, at_ms: int, factor: float) -> Any:
    from dataclasses import replace

    if not broker.reachable:
        return broker
    return replace(broker, bytes_in_per_s=12_000 * factor, bytes_out_per_s=25_000 * factor, observed_at_ms=at_ms)


def _moved(topic: Any, at_ms: int, step: int) -> Any:
    from dataclasses import replace

    return replace(
        topic,
        partitions=tuple(
            replace(
                each,
                observed_at_ms=at_ms,
                messages_in_per_s=step / 4 + each.partition,
                high_watermark=(each.high_watermark or 0) + step,
                replica_states=tuple(
                    state._replace(
                        observed_at_ms=at_ms,
                        log_end_offset=(state.log_end_offset or 0) + step,
                        high_watermark=(state.high_watermark or 0) + step,
                    )
                    for state in each.replica_states
                ),
            )
            for each in topic.partitions
        ),
    )


def _lagging(group: Any, at: int, at_ms: int) -> Any:
    from dataclasses import replace

    growth = at * 9 if group.group_id == "analytics" else at % 3
    offsets = tuple(each._replace(lag=(each.lag or 0) + growth // 3) for each in group.offsets)
    return replace(group, offsets=offsets, total_lag=sum(each.lag or 0 for each in offsets), observed_at_ms=at_ms)


def _quorum(quorum: Any, at_ms: int) -> Any:
    from dataclasses import replace

    nodes = tuple(
        replace(each, last_fetch_at_ms=at_ms - 300, last_caught_up_at_ms=at_ms - 300) for each in quorum.nodes
    )
    return replace(quorum, nodes=nodes, observed_at_ms=at_ms)


__all__ = ["EVENTS", "SHOTS", "finished_act", "make_app", "populate", "settle"]
