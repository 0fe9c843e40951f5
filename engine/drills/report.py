"""What a drill found, judged: measures, verdicts, and the document that all reports are made from. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from engine.drills.drill import LEDGER_COUNTS, TIMES, Assertion, Drill
from engine.drills.losses import Lost
from engine.drills.measurements import SHOWN_SILENCE_NS, Silence
from engine.supervisor.ledger import Account

BUCKET_NS = 100_000_000


class DoneAct(NamedTuple):
    """An act that was carried out: whom it hit, when it began, when it was done (a start: when a process was there)."""

    text: str
    kind: str
    brokers: tuple[int, ...]
    planned_s: float
    began_ns: int
    done_ns: int


class Moment(NamedTuple):
    """Something that the cluster reported; ``subject`` is who, ``reason`` why."""

    at_ns: int
    kind: str
    subject: str
    reason: str


class StateSpan(NamedTuple):
    """A broker's process was in this state from then on."""

    broker_id: int
    at_ns: int
    state: str


class Findings(NamedTuple):
    """Everything that was measured. Times are CLOCK_MONOTONIC; ``began_ns`` is the drill's 0.

    ``back_in_sync_ns`` is None where it did not come to that, ``account_gap`` says why the account is not whole,
    ``stopped`` what kept the drill from being carried out.
    """

    began_ns: int
    ended_ns: int
    acts: tuple[DoneAct, ...]
    silences: tuple[Silence, ...]
    account: Account
    account_gap: str
    failed: dict[str, int]
    latency_ms: dict[str, float | None]
    back_in_sync_ns: int | None
    not_in_sync: str
    acknowledged: tuple[int, ...]
    moments: tuple[Moment, ...]
    states: tuple[StateSpan, ...]
    stopped: str = ""
    lost: Lost = Lost()

    @property
    def worst(self) -> Silence | None:
        """The longest silence."""
        return max(self.silences, key=lambda each: each.to_ns - each.from_ns, default=None)

    @property
    def healed_ns(self) -> int:
        """When the last act was done."""
        return max((act.done_ns for act in self.acts), default=self.began_ns)

    def seconds(self, at_ns: int) -> float:
        """On the drill's clock."""
        return round((at_ns - self.began_ns) / 1e9, 4)


class Verdict(NamedTuple):
    """One assertion judged; ``value`` is what was measured, None if it could not be."""

    assertion: Assertion
    holds: bool
    value: float | None
    detail: str


def judge(drill: Drill, findings: Findings) -> list[Verdict]:
    """Each assertion against what was measured. What could not be measured does not hold."""
    return [_judge(each, drill, findings) for each in drill.assertions]


def _judge(assertion: Assertion, drill: Drill, findings: Findings) -> Verdict:
    value, detail = _measure(assertion.name, drill, findings)
    if findings.stopped:
        return Verdict(assertion, False, value, "the drill was not carried out")
    if value is None:
        return Verdict(assertion, False, None, detail)
    return Verdict(assertion, compare(value, assertion.comparator, assertion.value), value, detail)


def compare(value: float, comparator: str, bound: float) -> bool:
    """``value comparator bound``."""
    if comparator == "≤":
        return value <= bound
    if comparator == "<":
        return value < bound
    if comparator == "≥":
        return value >= bound
    if comparator == ">":
        return value > bound
    assert comparator == "=", f"there is no comparator {comparator!r}"
    return value == bound


def _measure(name: str, drill: Drill, findings: Findings) -> tuple[float | None, str]:
    account = findings.account
    if name == "unavailable":
        worst = findings.worst
        if worst is None:
            return None, "no record was sent"
        return round(worst.ms, 3), _where(worst, drill, findings)
    if name == "back in sync within":
        if findings.back_in_sync_ns is None:
            return None, findings.not_in_sync
        return round(max(0.0, (findings.back_in_sync_ns - findings.healed_ns) / 1e6), 3), "after the last act"
    if name.startswith("latency "):
        value = findings.latency_ms[name.removeprefix("latency ")]
        return value, "no record was acknowledged" if value is None else ""
    if name in LEDGER_COUNTS:
        if findings.account_gap:
            return None, findings.account_gap
        by_name = {
            "lost": (account.lost, _lost_where(findings)),
            "lost at unclean elections": (findings.lost.unclean, ""),
            "lost at clean elections": (findings.lost.clean, "by a leader from the ISR that had less"),
            "duplicated": (account.duplicated, ""),
            "reordered": (account.reordered, ""),
        }
        number, detail = by_name[name]
        return number, detail if number else ""
    if name == "failed":
        return sum(findings.failed.values()), ", ".join(f"{count} {why}" for why, count in findings.failed.items())
    assert name == "acknowledged", f"nobody measures {name!r}"
    return account.acknowledged, ""


def _lost_where(findings: Findings) -> str:
    places = f"where they should stand: {', '.join(findings.account.lost_offsets)}"
    return f"{findings.lost.words}; {places}" if findings.lost.words else places


def _where(silence: Silence, drill: Drill, findings: Findings) -> str:
    """Which partition, when, and after which act."""
    # A record may have waited already when its broker was hit.
    before = [act.text for act in findings.acts if act.began_ns <= silence.from_ns + SHOWN_SILENCE_NS]
    place = f"{drill.load.topic.name}-{silence.partition} from {findings.seconds(silence.from_ns):.2f} s"
    after = f", {before[-1]}" if before and silence.to_ns - silence.from_ns >= SHOWN_SILENCE_NS else ""
    return place + after + ("" if silence.ended else ", to the end")


def as_document(drill: Drill, findings: Findings) -> dict[str, Any]:
    """The report as plain values, for JSON and for the other reports; times are seconds on the drill's clock."""
    verdicts = judge(drill, findings)
    load, topic = drill.load, drill.load.topic
    at = findings.seconds
    shown = [each for each in findings.silences if each.to_ns - each.from_ns >= SHOWN_SILENCE_NS]
    worst = findings.worst
    back = findings.back_in_sync_ns
    return {
        "drill": drill.name,
        "about": drill.about,
        "passed": all(each.holds for each in verdicts),
        "stopped": findings.stopped,
        "cluster": {
            "brokers": [each.broker_id for each in drill.cluster.brokers],
            "durability": drill.cluster.durability,
            "configs": drill.cluster.configs,
        },
        "load": {
            "topic": topic.name,
            "partitions": topic.partitions,
            "replication_factor": topic.replication_factor,
            "configs": topic.configs,
            "acks": load.acks,
            "rate": load.rate_per_s,
            "clients": load.clients,
            "size": load.size_bytes,
        },
        "assertions": [
            {
                "name": each.assertion.name,
                "expected": f"{each.assertion.comparator} {say(each.assertion.name, each.assertion.value)}",
                "measured": each.value,
                "unit": "ms" if each.assertion.name in TIMES else "",
                "holds": each.holds,
                "detail": each.detail,
                "line": each.assertion.line,
            }
            for each in verdicts
        ],
        "seconds": at(findings.ended_ns),
        "acts": [
            {
                "at": at(each.began_ns),
                "done": at(each.done_ns),
                "planned": each.planned_s,
                "act": each.text,
                "kind": each.kind,
                "brokers": list(each.brokers),
            }
            for each in findings.acts
        ],
        "unavailable_ms": None if worst is None else round(worst.ms, 3),
        "silences": [
            {"partition": each.partition, "from": at(each.from_ns), "to": at(each.to_ns), "ended": each.ended}
            for each in shown
        ],
        "back_in_sync": None if back is None else at(back),
        "latency_ms": findings.latency_ms,
        "records": {
            **{name: value for name, value in findings.account._asdict().items() if name != "lost_offsets"},
            "lost_offsets": list(findings.account.lost_offsets),
            "read_back": not findings.account_gap,
            "failed": findings.failed,
            "lost_at": findings.lost._asdict(),
        },
        "acknowledged_each_100_ms": list(findings.acknowledged),
        "events": [
            {"at": at(each.at_ns), "kind": each.kind, "subject": each.subject, "reason": each.reason}
            for each in findings.moments
        ],
        "processes": [
            {"broker": each.broker_id, "at": at(each.at_ns), "state": each.state} for each in findings.states
        ],
    }


def say(name: str, value: float | None) -> str:
    """A measure of that name, for people."""
    if value is None:
        return "not measured"
    if name not in TIMES:
        return f"{value:g}" if value < 1e6 else f"{value:.0f}"
    if value < 1000:
        return f"{value:.3g} ms" if value < 100 else f"{value:.0f} ms"
    return f"{value / 1000:.4g} s"


def setting(document: dict[str, Any]) -> str:
    """Cluster and load in a line."""
    load, cluster = document["load"], document["cluster"]
    return (
        f"{count(len(cluster['brokers']), 'broker')}, durability {cluster['durability']}; {load['topic']} with "
        f"{count(load['partitions'], 'partition')} of {count(load['replication_factor'], 'replica')}; "
        f"{count(load['clients'], 'client')}, {load['rate']:g} records/s, acks={load['acks']}"
    )


def count(number: int, what: str) -> str:
    """``1 broker``, ``2 brokers``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def as_text(document: dict[str, Any]) -> str:
    """The report for a terminal."""
    load, records = document["load"], document["records"]
    lines = [
        document["drill"] + (f": {document['about']}" if document["about"] else ""),
        setting(document),
        "",
    ]
    rows = [(act["at"], f"{act['act']}{whom(act)}") for act in document["acts"]]
    rows += [
        (each["from"], f"  {load['topic']}-{each['partition']} acknowledges nothing {_for(each)}")
        for each in document["silences"]
    ]
    rows += [(each["at"], f"  {each['subject']}: {each['kind'].replace('_', ' ')}") for each in _told(document)]
    if document["back_in_sync"] is not None:
        rows.append((document["back_in_sync"], "every replica is in sync"))
    lines += [f"{at:9.3f} s  {what}" for at, what in sorted(rows, key=lambda row: row[0])]
    lines += [
        "",
        f"{records['sent']} sent, {records['acknowledged']} acknowledged"
        + (
            f", {records['lost']} lost, {records['duplicated']} duplicated, {records['reordered']} reordered"
            if records["read_back"]
            else ", not all read back"
        )
        + f", {sum(records['failed'].values())} failed",
        "",
    ]
    if document["stopped"]:
        lines += [f"the drill was not carried out: {document['stopped']}", ""]
    width = max([20, *(len(each["name"]) for each in document["assertions"])])
    for each in document["assertions"]:
        measured = say(each["name"], each["measured"])
        detail = f"  ({each['detail']})" if each["detail"] else ""
        mark = "holds" if each["holds"] else "FAILS"
        lines.append(f"{mark}  {each['name']:<{width}} {each['expected']:<10} {measured}{detail}")
    failed = sum(not each["holds"] for each in document["assertions"])
    many = len(document["assertions"])
    lines += ["", f"passed: {many} of {many} hold" if not failed else f"failed: {failed} of {many} do not hold"]
    return "\n".join(lines)


def whom(act: dict[str, Any]) -> str:
    """The brokers that a role meant; nothing where the act names them itself."""
    ids = ", ".join(map(str, act["brokers"]))
    if not ids or act["act"].removeprefix(f"{act['kind']} ") == ids:
        return ""
    return f": broker{'s' if len(act['brokers']) > 1 else ''} {ids}"


def _for(silence: dict[str, Any]) -> str:
    length = say("unavailable", (silence["to"] - silence["from"]) * 1000)
    return f"for {length}" + ("" if silence["ended"] else ", to the end")


# What a terminal is told of all that happened; the page has the rest.
_TOLD = ("leader_changed", "controller_activated", "broker_fenced", "zookeeper_leader_elected")


def _told(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in document["events"] if each["kind"] in _TOLD]
