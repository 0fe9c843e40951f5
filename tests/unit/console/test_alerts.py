"""Alerts: fire once, resolve once; hysteresis; what is not known changes nothing; the file of rules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from console.alert_rules import AlertFile, Webhook, parse_alert_file
from console.cli import main
from console.viewmodel.alerts import KNOWN_FOR_MS, Alerts, Change, Condition, Rule, change_document
from engine.supervisor.snapshot import ClusterSnapshot
from engine.supervisor.yaml_nodes import SpecErrors
from tests.console.sample_snapshots import START_MS, kill_in, sample_cluster


def seen(snapshot: ClusterSnapshot, at_s: float) -> ClusterSnapshot:
    """The same, told anew at that second."""
    now_ms = START_MS + round(at_s * 1000)
    return replace(
        snapshot,
        at_ms=now_ms,
        metadata_observed_at_ms=now_ms,
        brokers=tuple(replace(each, observed_at_ms=now_ms) for each in snapshot.brokers),
        groups=tuple(replace(each, observed_at_ms=now_ms) for each in snapshot.groups),
        topics=tuple(
            replace(topic, partitions=tuple(replace(each, observed_at_ms=now_ms) for each in topic.partitions))
            for topic in snapshot.topics
        ),
    )


def lagging(lag: int) -> ClusterSnapshot:
    """The first group is so many records behind, all in one partition."""
    cluster = sample_cluster()
    first = cluster.groups[0]
    offsets = tuple(replace_lag(each, lag if at == 0 else 0) for at, each in enumerate(first.offsets))
    return replace(cluster, groups=(replace(first, offsets=offsets, total_lag=lag),))


def replace_lag(offset, lag):  # type: ignore[no-untyped-def]
    return offset._replace(lag=lag)


def told(alerts: Alerts, snapshot: ClusterSnapshot | None, at_s: float, *, as_seen: bool = True) -> list[str]:
    picture = seen(snapshot, at_s) if snapshot is not None and as_seen else snapshot
    changes = alerts.evaluate(picture, START_MS + round(at_s * 1000), at_s * 1000)
    return [f"{'fired' if each.fired else 'resolved'} {each.subject}" for each in changes]


GROUP = f"group {sample_cluster().groups[0].group_id}"


def test_an_alert_fires_once_after_its_time_and_resolves_once_after_its_own() -> None:
    alerts = Alerts((Rule("late", Condition.LAG, 100, 5_000, 50, 3_000),))
    assert told(alerts, lagging(101), 0) == []
    assert told(alerts, lagging(101), 4.9) == []
    assert told(alerts, lagging(900), 5) == [f"fired {GROUP}"]
    assert told(alerts, lagging(900), 60) == []
    # Between the two limits nothing changes, however long.
    assert told(alerts, lagging(51), 61) == [] == told(alerts, lagging(51), 900)
    assert told(alerts, lagging(50), 901) == [] == told(alerts, lagging(50), 903.9)
    assert [each[1] for each in alerts.firing] == [GROUP]
    assert told(alerts, lagging(50), 904) == [f"resolved {GROUP}"]
    assert told(alerts, lagging(50), 999) == []
    assert alerts.firing == []


def test_a_value_that_comes_and_goes_neither_fires_nor_resolves() -> None:
    alerts = Alerts((Rule("late", Condition.LAG, 100, 5_000, 100, 3_000),))
    assert [told(alerts, lagging(101 if at % 4 else 100), at) for at in range(41)] == [[]] * 41
    assert told(alerts, lagging(101), 50) == [] and told(alerts, lagging(101), 55) == [f"fired {GROUP}"]
    assert [told(alerts, lagging(100 if at % 3 else 101), at) for at in range(57, 90)] == [[]] * 33


def test_what_is_not_known_changes_nothing() -> None:
    alerts = Alerts((Rule("late", Condition.LAG, 100, 5_000, 100, 3_000),))
    told(alerts, lagging(101), 0)
    old = seen(lagging(101), 0)
    at_s = KNOWN_FOR_MS / 1000 + 1
    assert told(alerts, old, at_s, as_seen=False) == [], "it does not fire on a figure of long ago"
    assert told(alerts, lagging(101), at_s + 1) == [f"fired {GROUP}"]
    gone = seen(lagging(0), at_s + 2)
    assert told(alerts, gone, at_s + 60, as_seen=False) == [], "nor is it resolved by one"
    assert [each[1] for each in alerts.firing] == [GROUP]


def test_a_lag_that_is_known_in_part_fires_and_does_not_resolve() -> None:
    alerts = Alerts((Rule("late", Condition.LAG, 100, 0, 100, 0),))
    partly = lagging(101)
    first = partly.groups[0]
    offsets = (first.offsets[0], *(each._replace(lag=None) for each in first.offsets[1:]))
    partly = replace(partly, groups=(replace(first, offsets=offsets),))
    assert told(alerts, partly, 0) == [f"fired {GROUP}"]
    less = replace(partly, groups=(replace(first, offsets=(offsets[0]._replace(lag=1), *offsets[1:])),))
    assert told(alerts, less, 1) == []
    assert told(alerts, lagging(1), 2) == [f"resolved {GROUP}"]


def test_a_group_that_is_gone_is_resolved() -> None:
    alerts = Alerts((Rule("late", Condition.LAG, 100, 0, 100, 3_000),))
    assert told(alerts, lagging(101), 0) == [f"fired {GROUP}"]
    without = replace(lagging(101), groups=())
    assert told(alerts, without, 1) == []
    assert told(alerts, without, 4) == [f"resolved {GROUP}"]
    assert told(alerts, without, 5) == []


def test_each_condition_sees_a_killed_broker_in_its_own_way() -> None:
    rules = tuple(Rule(str(each), each, clear_for_ms=0) for each in Condition if each is not Condition.LAG)
    alerts = Alerts(rules)
    assert told(alerts, sample_cluster(), 0) == []
    assert told(alerts, kill_in(sample_cluster(), 2), 1) == ["fired cluster", "fired broker 2"]
    assert {rule.when for rule, _, _ in alerts.firing} == {Condition.UNDER_REPLICATED, Condition.BROKER_DOWN}
    assert told(alerts, sample_cluster(), 2) == ["resolved cluster", "resolved broker 2"]
    # A leader that is silent serves nobody, before anybody has elected another.
    silent = sample_cluster()
    silent = replace(
        silent, brokers=tuple(replace(e, reachable=e.broker_id != 1, error="late") for e in silent.brokers)
    )
    assert told(alerts, silent, 3) == ["fired cluster", "fired broker 1"]
    assert Condition.OFFLINE in {rule.when for rule, _, _ in alerts.firing}


def test_a_topic_narrows_a_rule() -> None:
    rule = Rule("r", Condition.UNDER_REPLICATED, topic="ord*", clear_for_ms=0)
    dead = kill_in(sample_cluster(), 2)
    change = Alerts((rule,)).evaluate(seen(dead, 0), START_MS, 0)[0]
    assert change.said.startswith("6 partitions under-replicated: orders-0, ") and change.said.endswith(" and 1 more")
    assert change.value == 6
    assert Alerts((rule._replace(over=6),)).evaluate(seen(dead, 0), START_MS, 0) == []


def test_a_cluster_counts_as_unreachable_only_after_it_had_its_chance() -> None:
    alerts = Alerts((Rule("gone", Condition.UNREACHABLE, clear_for_ms=0),))
    assert told(alerts, None, 0) == [] == told(alerts, None, 14)
    assert told(alerts, None, 15) == ["fired cluster"]
    assert told(alerts, sample_cluster(), 16) == ["resolved cluster"]
    last = seen(sample_cluster(), 16)
    assert told(alerts, last, 31, as_seen=False) == []
    assert told(alerts, last, 31.5, as_seen=False) == ["fired cluster"]


def test_the_same_alert_has_one_id_when_it_fires_and_when_it_is_resolved() -> None:
    alerts = Alerts((Rule("late", Condition.LAG, 100, 0, 100, 0),))
    fired = alerts.evaluate(seen(lagging(101), 1), START_MS + 1_000, 1_000)[0]
    resolved = alerts.evaluate(seen(lagging(7), 9), START_MS + 9_000, 9_000)[0]
    assert change_document(fired, "c1") == {
        "event": "fired",
        "alert_id": f"late/{GROUP}/{START_MS + 1_000}",
        "rule": "late",
        "when": "lag",
        "subject": GROUP,
        "value": 101,
        "over": 100,
        "said": f"{GROUP} is 101 records behind",
        "at_ms": START_MS + 1_000,
        "since_ms": START_MS + 1_000,
        "cluster_id": "c1",
    }
    assert isinstance(resolved, Change) and resolved.alert_id == fired.alert_id and not resolved.fired


def test_a_file_of_rules_is_read_whole() -> None:
    file = parse_alert_file(
        """
rules:
  - {name: late, when: lag, group: "bill*", topic: orders, over: 10000, for: 30s, clear_at: 1000, clear_for: 1m}
  - {when: broker_down, for: 1.5s}
  - {when: under_replicated, topic: orders, over: 2}
notify:
  bell: false
  desktop: true
  webhook: {url: "http://h:1/${PATH_PART}", timeout: 500ms, retries: 2, headers: {Authorization: "Bearer ${TOKEN}"}}
""",
        {"TOKEN": "t", "PATH_PART": "p"},
    )
    assert file == AlertFile(
        (
            Rule("late", Condition.LAG, 10_000, 30_000, 1_000, 60_000, "bill*", "orders"),
            Rule("broker_down", Condition.BROKER_DOWN, 0, 1_500),
            Rule("under_replicated", Condition.UNDER_REPLICATED, 2, 0, 2, topic="orders"),
        ),
        bell=False,
        desktop=True,
        webhook=Webhook("http://h:1/p", 0.5, 2, (("Authorization", "Bearer t"),)),
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("rules: []", "1:8: the file has no rules; add `rules: [{name: offline, when: offline}]`"),
        ("rules: [{when: lagg, over: 1}]", "1:16: 'when' of a rule cannot be 'lagg'; did you mean 'lag'?"),
        ("rules: [{over: 1}]", "1:9: a rule has no 'when'; add `when: …`"),
        ("rules: [{when: lag}]", "1:9: a rule of lag has no 'over'; add `over: 10000`, a number of records"),
        ("rules: [{when: lag, over: 1, clear_at: 2}]", "1:40: 'clear_at' 2 is more than 'over' 1; give at most that"),
        ("rules: [{when: offline, for: soon}]", "1:30: 'for' is 'soon'; write a time as in 500ms, 30s, 5m or 1h"),
        ("rules: [{when: offline, group: g}]", "1:25: unknown key 'group' in a rule;"),
        ("rules: [{when: offline}, {when: offline}]", "1:26: there are two rules called 'offline'; give each"),
        (
            "rules: [{when: offline}]\nnotify: {webhook: {url: ftp://h}}",
            "2:25: 'url' of the webhook is none; write http://… or https://…",
        ),
        (
            "rules: [{when: offline}]\nnotify: {webhook: {url: 'http://${NOPE}/'}}",
            "2:25: the environment has no NOPE; export NOPE, or write the value here",
        ),
    ],
)
def test_each_mistake_in_a_file_of_rules_has_its_place_and_a_remedy(text: str, complaint: str) -> None:
    with pytest.raises(SpecErrors) as caught:
        parse_alert_file(text, {})
    assert caught.value.in_file("f").startswith(f"f:{complaint}")


@pytest.mark.parametrize("words", [("watch",), (), ("--bootstrap-servers", "127.0.0.1:1")])
def test_a_wrong_file_of_rules_exits_with_two_before_anything_starts(words: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "alerts.yaml"
    path.write_text("rules: [{when: lag}]")
    where = () if "--bootstrap-servers" in words else ("--data-dir", str(tmp_path / "data"))
    result = CliRunner().invoke(main, [*words, "--rules", str(path), *where])
    assert result.exit_code == 2
    assert f"{path}:1:9: a rule of lag has no 'over'" in result.stderr
    assert not (tmp_path / "data").exists()
