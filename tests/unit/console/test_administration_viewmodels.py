"""What administration screens say, and what their forms mean: pure."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from console.administration_commands import administration_spec, partitions_named
from console.commands import CommandError
from console.screens.base import ViewSpec
from console.tool_commands import (
    abort_command,
    acl_command,
    alter_configs_command,
    delete_records_command,
    quota_command,
    set_scram_command,
)
from console.viewmodel.acls import AclRow, acl_of
from console.viewmodel.administration_documents import FIELDS, MAKERS
from console.viewmodel.cells import plain
from console.viewmodel.client_quotas import QuotaRow, change_cells, change_of, removal_of
from console.viewmodel.configs import (
    APPEND,
    BROKER,
    DELETE,
    SET,
    SUBTRACT,
    TOPIC,
    ConfigOf,
    ConfigValue,
    Edit,
    Outcome,
    Synonym,
    check_edit,
    config_rows,
    diff_cells,
    outcome,
    pairs,
    source_words,
    without_tags,
)
from console.viewmodel.keeping import KeptRows, Told
from console.viewmodel.log_dirs import LogDirRow, ReplicaRow
from console.viewmodel.producers import ProducerRow, producer_words
from console.viewmodel.record_deletion import cut_cells, cut_words, cuts_of
from console.viewmodel.scram_users import ScramRow, credential_of
from console.viewmodel.transactions import TransactionRow, TransactionsFound, newest, told_of
from tests.console.sample_snapshots import START_MS, sample_cluster

TOPIC_LEVEL = ConfigOf(TOPIC, "orders").level
RETENTION = ConfigValue(
    "retention.ms",
    "5000",
    TOPIC_LEVEL,
    kind="LONG",
    synonyms=(Synonym("retention.ms", "5000", TOPIC_LEVEL), Synonym("log.retention.ms", "9", "STATIC_BROKER_CONFIG")),
)
POLICY = ConfigValue("cleanup.policy", "delete", "DEFAULT_CONFIG", kind="LIST")
SECRET = ConfigValue("ssl.key.password", None, "STATIC_BROKER_CONFIG", sensitive=True, kind="PASSWORD")
LOG_DIRS = ConfigValue("log.dirs", "/data", "STATIC_BROKER_CONFIG", read_only=True, kind="STRING")


# -- configs ---------------------------------------------------------------------------------------


def test_an_edit_becomes_what_kafkas_controller_makes_of_it() -> None:
    assert outcome(RETENTION, Edit("retention.ms", SET, "7"), TOPIC_LEVEL) == ("7", TOPIC_LEVEL, True)
    # What is beneath comes to light.
    assert outcome(RETENTION, Edit("retention.ms", DELETE), TOPIC_LEVEL) == ("9", "STATIC_BROKER_CONFIG", True)
    alone = RETENTION._replace(synonyms=RETENTION.synonyms[:1])
    assert not outcome(alone, Edit("retention.ms", DELETE), TOPIC_LEVEL).is_known
    assert outcome(POLICY, Edit("cleanup.policy", APPEND, "compact,delete"), TOPIC_LEVEL).value == "delete,compact"
    assert outcome(POLICY, Edit("cleanup.policy", SUBTRACT, "delete"), TOPIC_LEVEL) == Outcome("", TOPIC_LEVEL)
    assert outcome(SECRET, Edit(SECRET.name, SET, "hush"), TOPIC_LEVEL).value is None


def test_what_no_broker_would_take_is_told_before_one_is_asked() -> None:
    assert check_edit(RETENTION, Edit("retention.ms", SET, "7")) == ""
    assert check_edit(RETENTION, Edit("retention.ms", APPEND, "7")) == "append is for lists; retention.ms is long"
    assert check_edit(POLICY, Edit("cleanup.policy", SUBTRACT, " , ")) == "subtract needs a value"
    assert "restart it" in check_edit(LOG_DIRS, Edit("log.dirs", SET, "/x"))
    assert check_edit(None, Edit("", SET, "1")) == "name a config"


def test_a_diff_shows_old_and_new_with_their_origins_and_no_secret() -> None:
    configs = {each.name: each for each in (RETENTION, POLICY, SECRET)}
    edits = [Edit("retention.ms", DELETE), Edit(SECRET.name, SET, "hush"), Edit("cleanup.policy", SET, "delete")]
    lines = [plain(line) for line in diff_cells(configs, edits, TOPIC_LEVEL)]
    assert lines[:3] == ["retention.ms  delete", "  - 5000  topic", "  + 9  static"]
    assert lines[3:6] == ["ssl.key.password", "  - (hidden)  static", "  + (hidden)  topic"]
    assert lines[8] == "  + delete  topic"
    command = alter_configs_command("h:1", ConfigOf(TOPIC, "orders"), configs, edits)
    assert "hush" not in "".join([*lines, command])
    assert command == (
        "kafka-configs.sh --bootstrap-server h:1 --alter --entity-type topics --entity-name orders "
        "--add-config 'ssl.key.password='\"$SECRET\"',cleanup.policy=delete' --delete-config retention.ms"
    )
    appended = [Edit("cleanup.policy", APPEND, "compact")]
    command = alter_configs_command("h:1", ConfigOf(BROKER, ""), configs, appended)
    assert command.endswith("--entity-type brokers --entity-default --add-config 'cleanup.policy=[delete,compact]'")


def test_edits_come_first_then_what_is_set_here() -> None:
    edits = {"new.config": Edit("new.config", SET, "1")}
    rows = config_rows([POLICY, RETENTION, LOG_DIRS], edits, TOPIC_LEVEL, defaults=True)
    assert [row.key for row in rows] == ["new.config", "retention.ms", "log.dirs", "cleanup.policy"]
    rows = config_rows(
        [POLICY, RETENTION], {POLICY.name: Edit(POLICY.name, SET, "compact")}, TOPIC_LEVEL, defaults=False
    )
    assert [row.key for row in rows] == ["cleanup.policy", "retention.ms"], "an edited one shows, a default or not"
    rows = config_rows([POLICY, RETENTION], {}, TOPIC_LEVEL, defaults=False)
    assert [row.key for row in rows] == ["retention.ms"]


def test_two_things_differ_in_values_and_in_what_only_one_has() -> None:
    other = RETENTION._replace(value="6000")
    found = pairs([RETENTION, POLICY, SECRET], [other, POLICY._replace(source=TOPIC_LEVEL), SECRET], same=False)
    assert [each.name for each in found] == ["retention.ms"]
    assert [each.name for each in pairs([LOG_DIRS], [], same=False)] == ["log.dirs"]
    assert len(pairs([POLICY, SECRET], [POLICY, SECRET], same=True)) == 2


def test_origins_have_short_names() -> None:
    assert (
        without_tags('set <code>acks</code> to <a href="#x">all</a>, &lt;1 &amp; 2 < 3')
        == "set acks to all, <1 & 2 < 3"
    )
    said = [source_words(f"{each}_CONFIG") for each in ("DYNAMIC_TOPIC", "DYNAMIC_BROKER", "STATIC_BROKER", "DEFAULT")]
    assert said == ["topic", "dynamic broker", "static", "default"]
    assert source_words(ConfigOf(BROKER, "").level) == "dynamic default"


# -- access ----------------------------------------------------------------------------------------


def test_a_form_makes_an_entry_or_says_what_is_wrong() -> None:
    values = {
        **{"principal": "User:alice", "permission": "ALLOW", "operation": "READ", "resource": "TOPIC"},
        **{"name": "ord", "pattern": "PREFIXED", "host": ""},
    }
    row = acl_of(values)
    assert row == AclRow("TOPIC", "ord", "PREFIXED", "User:alice", "*", "READ", "ALLOW")
    assert row.words() == "User:alice from * may READ TOPIC ord (prefixed)"
    wrongs = {"principal": "alice", "operation": "CREATE_TOKENS", "name": ""}
    for name, value in wrongs.items():
        with pytest.raises(ValueError, match=r"principal|knows no|name is needed"):
            acl_of({**values, name: value})
    cluster = acl_of({**values, "resource": "CLUSTER", "operation": "ALTER_CONFIGS", "permission": "DENY"})
    assert (cluster.resource_name, cluster.pattern_type) == ("kafka-cluster", "LITERAL")
    assert acl_command("h:1", row) == (
        "kafka-acls.sh --bootstrap-server h:1 --add --allow-principal User:alice --operation Read --topic ord "
        "--resource-pattern-type prefixed"
    )
    assert acl_command("h:1", cluster._replace(host="10.0.0.1"), remove=True) == (
        "kafka-acls.sh --bootstrap-server h:1 --remove --force --deny-principal User:alice --deny-host 10.0.0.1 "
        "--operation AlterConfigs --cluster"
    )


def test_a_password_stands_nowhere() -> None:
    values = {"user": "alice", "mechanism": "SCRAM-SHA-512", "iterations": "", "password": "hush", "again": "hush"}
    wish = credential_of(values)
    assert wish.iterations == 4096
    assert "hush" not in repr(wish) + set_scram_command("h:1", wish)
    assert """'SCRAM-SHA-512=[iterations=4096,password='"$SECRET"']'""" in set_scram_command("h:1", wish)
    for wrong in ({"again": "hash"}, {"iterations": "1"}, {"user": " "}, {"password": "", "again": ""}):
        with pytest.raises(ValueError, match=r"differ|4,096|name|password") as caught:
            credential_of({**values, **wrong})
        assert "hush" not in str(caught.value)


ALICE = QuotaRow((("client-id", None), ("user", "alice")), {"producer_byte_rate": 1024.0, "request_percentage": 12.5})


def test_quotas_are_changed_by_what_differs() -> None:
    empty = dict.fromkeys(("user", "client-id", "ip", *(f"{each}_byte_rate" for each in ("producer", "consumer"))), "")
    empty |= dict.fromkeys(("request_percentage", "controller_mutation_rate", "connection_creation_rate"), "")
    values = {**empty, "user": "alice", "client-id": "<default>", "producer_byte_rate": "20M"}
    change = change_of(values, [ALICE])
    assert change.changes == {"producer_byte_rate": 20.0 * (1 << 20), "request_percentage": None}
    lines = [plain(line) for line in change_cells(change)]
    assert lines == ["producer_byte_rate        1,024  →  20,971,520", "request_percentage        12.50  →  none"]
    assert quota_command("h:1", change) == (
        "kafka-configs.sh --bootstrap-server h:1 --alter --add-config producer_byte_rate=20971520 "
        "--delete-config request_percentage --entity-type users --entity-name alice "
        "--entity-type clients --entity-default"
    )
    assert removal_of(ALICE).changes == {"producer_byte_rate": None, "request_percentage": None}
    for wrong in (
        {"ip": "1.2.3.4"},
        {"user": "", "client-id": ""},
        {"connection_creation_rate": "5"},
        {"producer_byte_rate": "x"},
        {"producer_byte_rate": "1024", "request_percentage": "12.5"},
        {"request_percentage": "-1"},
    ):
        with pytest.raises(ValueError, match=r"alone|name a user|is no quota|as 500k|nothing changes|above 0"):
            change_of({**values, **wrong}, [ALICE])


# -- disks, producers, records ---------------------------------------------------------------------


def test_rows_of_a_source_that_does_not_answer_stay_and_grow_old() -> None:
    one, two = (LogDirRow(each, "/d", 100, 50, (ReplicaRow("t", 0, 7, 0, False),)) for each in (1, 2))
    kept = KeptRows()
    kept.take(Told({1: [one], 2: [two]}), 1_000)
    kept.take(Told({1: [one], 2: None}, ("broker 2 does not tell",)), 7_000)
    assert [(row.broker_id, row.age_ms) for row in kept.rows(8_000)] == [(1, 1_000), (2, 7_000)]
    # One that belongs to the cluster no more takes its rows with it.
    kept.take(Told({1: [one]}), 9_000)
    assert [row.broker_id for row in kept.rows(9_000)] == [1]


def test_a_directory_that_failed_or_is_full_is_a_fault() -> None:
    row = LogDirRow(1, "/d", 100, 50, (ReplicaRow("t", 0, 7, 0, False), ReplicaRow("t", 1, 5, 3, True)))
    assert row.is_healthy and (row.size_bytes, row.futures, row.used) == (12, 1, 0.5)
    assert not row._replace(usable_bytes=5).is_healthy
    assert not row._replace(error="KAFKA_STORAGE_ERROR").is_healthy
    assert row._replace(total_bytes=None).used is None


def test_an_id_is_told_by_the_coordinator_that_it_went_to() -> None:
    row = TransactionRow("tx-1", 2, "Ongoing", 7, 0, 60_000, 5.0, ())
    other = row._replace(transactional_id="tx-2")
    kept = KeptRows()
    kept.take(told_of(TransactionsFound((row, other))), 1_000)
    moved = row._replace(coordinator=3)
    kept.take(told_of(TransactionsFound((moved,), ("broker 2 does not tell",), (2,))), 2_000)
    assert [(each.key, each.coordinator, each.age_ms) for each in newest(kept.rows(3_000))] == [
        ("tx-1", 3, 1_000),
        ("tx-2", 2, 2_000),
    ]


def test_producers_are_counted_by_what_is_open() -> None:
    row = ProducerRow("t", 0, 7, 1, 12, 5, -1, 901)
    assert producer_words([row, row._replace(transaction_start_offset=-1)]) == "2 producers · 1 open"
    assert producer_words([row._replace(hangs=True)]) == "1 producer · 1 open · 1 hang"
    assert abort_command("h:1", row).endswith("abort --topic t --partition 0 --start-offset 901")


def test_what_records_would_go_is_counted_first() -> None:
    picture = sample_cluster(START_MS)
    first, second = partitions_named(("orders", "0,1"), picture)
    cuts = cuts_of([first, second], "end")
    assert [each.wanted for each in cuts] == [-1, -1]
    assert cuts[0].records == (first.high_watermark or 0) - (first.log_start_offset or 0)
    assert plain(cut_cells(cuts)[0]).startswith("orders-0  starts at ")
    assert cut_words(cuts).endswith("records go for good.")
    assert '"offset": -1' in delete_records_command("h:1", {("orders", 0): -1})
    for wrong in ("", "-5", "soon", "999,999,999"):
        with pytest.raises(ValueError, match=r"an offset"):
            cuts_of([first], wrong)


def test_what_scripts_read_is_documented() -> None:
    rows: dict[str, object] = {
        "acls": AclRow("TOPIC", "ord", "PREFIXED", "User:alice", "*", "READ", "ALLOW"),
        "users": ScramRow("alice", "SCRAM-SHA-256", 4096),
        "quotas": ALICE,
        "logdirs": LogDirRow(1, "/d", 100, 50, ()),
        "producers": ProducerRow("t", 0, 7, 1, -1, -1, -1, -1),
    }
    told = {thing: MAKERS[thing](row) for thing, row in rows.items()}
    page = (Path(__file__).resolve().parents[3] / "docs" / "scripting.md").read_text()
    for thing, row in told.items():
        (fields,) = re.findall(rf"^\| \*\*{thing}\*\* \| (.*?) \|$", page, re.MULTILINE)
        assert re.findall(r"`(\w+)`", fields) == list(row)
        assert set(FIELDS[thing]) <= set(row)
    assert (told["quotas"]["user"], told["quotas"]["client_id"], told["quotas"]["ip"]) == ("alice", "<default>", None)
    assert told["producers"]["transaction_start_offset"] is None


def test_commands_lead_to_screens_or_say_what_to_name() -> None:
    known = {"topic": ["orders", "a-1"], "broker": ["1", "2"], "group": ["billing"]}
    lead = {
        ("configs", "orders"): ViewSpec("configs", {"of": ConfigOf("topic", "orders")}),
        ("broker-configs",): ViewSpec("configs", {"of": ConfigOf("broker", "")}),
        ("broker-configs", "1", "2"): ViewSpec(
            "compare", {"left": ConfigOf("broker", "1"), "right": ConfigOf("broker", "2")}
        ),
        ("log-dirs", "2"): ViewSpec("log-dirs", {"broker": 2}),
        ("producers", "orders-3"): ViewSpec("producers", {"topic": "orders", "partitions": (3,)}),
        ("producers", "a-1"): ViewSpec("producers", {"topic": "a-1"}),
        ("hanging", "30"): ViewSpec("hanging", {"minutes": 30}),
    }
    for (target, *arguments), spec in lead.items():
        assert administration_spec(target, tuple(arguments), known) == spec
    for target, *arguments in (
        ("configs",),
        ("configs", "nosuch"),
        ("configs", "orders", "a-1", "orders"),
        ("log-dirs", "9"),
        ("producers",),
        ("producers", "orders", "x"),
        ("hanging", "x"),
    ):
        with pytest.raises(CommandError):
            administration_spec(target, tuple(arguments), known)
    assert administration_spec("topics", (), known) is None
