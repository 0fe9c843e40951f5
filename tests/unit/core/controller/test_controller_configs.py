"""IncrementalAlterConfigs and AlterConfigs (ConfigurationControlManager): each resource as a whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from controller_harness import NODE_ID, ControllerHarness

from engine.model.errors import ErrorCode
from engine.model.notes import NoteKind
from engine.wire.apis import ApiKey
from engine.wire.messages import alter_configs_request, incremental_alter_configs_request
from engine.wire.messages.alter_configs_request import AlterConfigsRequest
from engine.wire.messages.incremental_alter_configs_request import IncrementalAlterConfigsRequest

SET, DELETE, APPEND, SUBTRACT = 0, 1, 2, 3
TOPIC, BROKER, LOGGER, METRICS, GROUP = 2, 4, 8, 16, 32

Operation = tuple[str, int, str | None]


def with_topic(properties: Mapping[str, str] | None = None, **configs: str) -> ControllerHarness:
    h = ControllerHarness(properties)
    h.start(1)
    h.create("t", [1], configs={name.replace("_", "."): value for name, value in configs.items()})
    return h


def resource(resource_type: int, name: str, *operations: Operation) -> Any:
    return incremental_alter_configs_request.AlterConfigsResource(
        resource_type=resource_type,
        resource_name=name,
        configs=[
            incremental_alter_configs_request.AlterableConfig(name=key, config_operation=kind, value=value)
            for key, kind, value in operations
        ],
    )


def incremental(h: ControllerHarness, *resources: Any, validate_only: bool = False) -> list[tuple[int, str | None]]:
    request = IncrementalAlterConfigsRequest(resources=list(resources), validate_only=validate_only)
    response = h.handle(ApiKey.INCREMENTAL_ALTER_CONFIGS, request)
    return [(each.error_code, each.error_message) for each in response.responses]


def alter(h: ControllerHarness, *operations: Operation, kind: int = TOPIC, name: str = "t") -> int:
    """Change one resource; the error code."""
    [(code, _)] = incremental(h, resource(kind, name, *operations))
    return code


def replace(
    h: ControllerHarness, configs: Mapping[str, str | None], *, kind: int = TOPIC, name: str = "t", dry: bool = False
) -> int:
    """AlterConfigs of one resource; the error code."""
    wanted = alter_configs_request.AlterConfigsResource(
        resource_type=kind,
        resource_name=name,
        configs=[alter_configs_request.AlterableConfig(name=key, value=value) for key, value in configs.items()],
    )
    response = h.handle(ApiKey.ALTER_CONFIGS, AlterConfigsRequest(resources=[wanted], validate_only=dry))
    [answer] = response.responses
    assert (answer.resource_type, answer.resource_name) == (kind, name)
    return answer.error_code  # type: ignore[no-any-return]


# -- incremental ------------------------------------------------------------------------------------------------


def test_configs_are_set_and_deleted_and_the_others_stay() -> None:
    h = with_topic(retention_ms="5", max_message_bytes="1000")
    assert alter(h, ("segment.ms", SET, "7"), ("retention.ms", DELETE, None)) == 0
    assert h.image.config(TOPIC, "t") == {"max.message.bytes": "1000", "segment.ms": "7"}
    assert h.kinds()[-2:] == [NoteKind.CONFIG_CHANGED] * 2
    assert h.notes[-2].reason == "segment.ms: unset→7"


def test_setting_what_holds_or_deleting_what_does_not_exist_writes_nothing() -> None:
    h = with_topic(retention_ms="5")
    assert alter(h, ("retention.ms", SET, "5"), ("segment.ms", DELETE, None)) == 0
    assert not h.last


def test_values_are_appended_to_and_subtracted_from_lists() -> None:
    h = with_topic()
    assert alter(h, ("cleanup.policy", APPEND, "compact")) == 0
    assert h.image.config(TOPIC, "t") == {"cleanup.policy": "delete,compact"}, "the default is what is appended to"
    assert alter(h, ("cleanup.policy", APPEND, "compact,delete")) == 0
    assert not h.last, "no value twice"
    assert alter(h, ("cleanup.policy", SUBTRACT, "delete")) == 0
    assert h.image.config(TOPIC, "t") == {"cleanup.policy": "compact"}


def test_only_lists_can_be_appended_to() -> None:
    h = with_topic(retention_ms="5")
    for kind in (APPEND, SUBTRACT):
        assert alter(h, ("retention.ms", kind, "6")) == ErrorCode.INVALID_CONFIG
    assert h.image.config(TOPIC, "t") == {"retention.ms": "5"}


@pytest.mark.parametrize(
    ("operations", "error"),
    [
        ([("retention.ms", SET, "soon")], ErrorCode.INVALID_CONFIG),
        ([("no.such.config", SET, "1")], ErrorCode.INVALID_CONFIG),
        ([("retention.ms", SET, "5"), ("min.insync.replicas", SET, "0")], ErrorCode.INVALID_CONFIG),
        ([("retention.ms", SET, None)], ErrorCode.INVALID_REQUEST),
        ([("retention.ms", SET, "5"), ("retention.ms", SET, "6")], ErrorCode.INVALID_REQUEST),
        ([("retention.ms", 9, "5")], ErrorCode.INVALID_REQUEST),
        ([("leader.replication.throttled.replicas", SET, "0:1," * 8192)], ErrorCode.INVALID_CONFIG),
    ],
)
def test_a_wrong_operation_changes_nothing_of_its_resource(operations: Sequence[Operation], error: ErrorCode) -> None:
    h = with_topic(segment_ms="7")
    before = len(h.log)
    assert alter(h, ("segment.ms", SET, "8"), *operations) == error
    assert len(h.log) == before


def test_each_resource_stands_or_falls_alone() -> None:
    h = with_topic()
    answers = incremental(
        h,
        resource(TOPIC, "t", ("retention.ms", SET, "5")),
        resource(TOPIC, "ghost", ("retention.ms", SET, "5")),
        resource(TOPIC, "", ("retention.ms", SET, "5")),
        resource(TOPIC, "a b", ("retention.ms", SET, "5")),
    )
    assert [code for code, _ in answers] == [
        0,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.INVALID_REQUEST,
        ErrorCode.INVALID_TOPIC_EXCEPTION,
    ]
    assert h.image.config(TOPIC, "t") == {"retention.ms": "5"}


def test_a_resource_named_twice_is_refused_once() -> None:
    h = with_topic()
    twice = [resource(TOPIC, "t", ("retention.ms", SET, each)) for each in ("5", "6")]
    assert [code for code, _ in incremental(h, *twice)] == [ErrorCode.INVALID_REQUEST]
    assert not h.last


def test_with_validate_only_configs_are_checked_and_not_written() -> None:
    h = with_topic()
    good, bad = ("retention.ms", SET, "5"), ("retention.ms", SET, "x")
    assert incremental(h, resource(TOPIC, "t", good), validate_only=True) == [(0, None)]
    assert incremental(h, resource(TOPIC, "t", bad), validate_only=True)[0][0] == ErrorCode.INVALID_CONFIG
    assert not h.image.configs and NoteKind.CONFIG_CHANGED not in h.kinds()


# -- brokers, groups, and what else there is --------------------------------------------------------------------


def test_the_cluster_and_single_brokers_have_configs() -> None:
    h = with_topic()
    assert alter(h, ("log.cleaner.threads", SET, "2"), kind=BROKER, name="") == 0
    assert alter(h, ("log.cleaner.threads", SET, "3"), kind=BROKER, name="1") == 0
    assert h.image.config(BROKER, "") == {"log.cleaner.threads": "2"}
    assert h.image.config(BROKER, "1") == {"log.cleaner.threads": "3"}
    assert [note.subject for note in h.notes if note.kind is NoteKind.CONFIG_CHANGED] == ["cluster", "broker 1"]


def test_a_brokers_config_is_written_again_although_it_is_the_same() -> None:
    h = with_topic()
    for _ in range(2):
        assert alter(h, ("log.cleaner.threads", SET, "2"), kind=BROKER, name="1") == 0
        assert h.names_of_last() == ["ConfigRecord"]


@pytest.mark.parametrize(
    ("name", "operation", "error"),
    [
        ("", ("node.id", SET, "5"), ErrorCode.INVALID_REQUEST),
        ("", ("listeners", SET, "PLAINTEXT://:1"), ErrorCode.INVALID_REQUEST),
        ("", ("log.cleaner.threads", SET, "many"), ErrorCode.INVALID_REQUEST),
        ("x", ("log.cleaner.threads", SET, "2"), ErrorCode.INVALID_REQUEST),
        ("-1", ("log.cleaner.threads", SET, "2"), ErrorCode.INVALID_REQUEST),
        ("9", ("log.cleaner.threads", SET, "2"), ErrorCode.BROKER_ID_NOT_REGISTERED),
    ],
)
def test_a_brokers_config_is_refused(name: str, operation: Operation, error: ErrorCode) -> None:
    h = with_topic()
    assert alter(h, operation, kind=BROKER, name=name) == error
    assert not h.last


@pytest.mark.parametrize(
    ("kind", "name", "error"),
    [
        (GROUP, "", ErrorCode.INVALID_REQUEST),
        (GROUP, "g", ErrorCode.INVALID_CONFIG),
        (LOGGER, "1", ErrorCode.INVALID_REQUEST),
        (METRICS, "m", ErrorCode.INVALID_REQUEST),
        (99, "n", ErrorCode.UNSUPPORTED_VERSION),
    ],
)
def test_resources_without_configs_here_are_refused(kind: int, name: str, error: ErrorCode) -> None:
    assert alter(with_topic(), ("some.config", SET, "1"), kind=kind, name=name) == error


def test_secrets_are_not_told() -> None:
    h = with_topic()
    alter(h, ("ssl.keystore.password", SET, "geheim"), kind=BROKER, name="1")
    told = repr([note for note in h.notes if note.kind is NoteKind.CONFIG_CHANGED])
    assert "geheim" not in told


# -- legacy -----------------------------------------------------------------------------------------------------


def test_alter_configs_deletes_what_it_does_not_name() -> None:
    h = with_topic(retention_ms="5", segment_ms="7")
    assert replace(h, {"retention.ms": "6"}) == 0
    assert h.image.config(TOPIC, "t") == {"retention.ms": "6"}
    assert replace(h, {}) == 0
    assert not h.image.configs


@pytest.mark.parametrize(
    ("configs", "error"),
    [
        ({"retention.ms": "x"}, ErrorCode.INVALID_CONFIG),
        ({"no.such.config": "1"}, ErrorCode.INVALID_CONFIG),
        ({"retention.ms": None}, ErrorCode.INVALID_REQUEST),
    ],
)
def test_alter_configs_is_refused_as_a_whole(configs: dict[str, str | None], error: ErrorCode) -> None:
    h = with_topic(retention_ms="5")
    assert replace(h, {"segment.ms": "7", **configs}) == error
    assert h.image.config(TOPIC, "t") == {"retention.ms": "5"}


def test_alter_configs_of_what_does_not_exist_or_is_only_checked() -> None:
    h = with_topic()
    assert replace(h, {}, name="ghost") == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert replace(h, {"retention.ms": "5"}, dry=True) == 0
    assert not h.image.configs


# -- configs that the controller itself obeys -------------------------------------------------------------------


def test_more_configs_than_one_batch_takes_change_nothing() -> None:
    h = ControllerHarness()
    h.start(1)
    for number in range(40):
        h.create(f"t{number}", [1])
    long = "0:1," * 8_000
    resources = [
        resource(TOPIC, f"t{number}", ("leader.replication.throttled.replicas", SET, long[:-1])) for number in range(40)
    ]
    answers = incremental(h, *resources)
    assert {code for code, _ in answers} == {ErrorCode.POLICY_VIOLATION} and len(answers) == 40
    assert not h.last


@pytest.mark.parametrize("written", ["true", "TRUE", " True "])
def test_a_boolean_is_read_as_kafka_reads_it(written: str) -> None:
    h = ControllerHarness()
    h.start(1, 2)
    h.create("t", [1, 2], configs={"unclean.leader.election.enable": written})
    h.fence(2)
    h.fence(1)
    h.heartbeat(2)
    assert h.partition("t").leader == 2


@pytest.mark.parametrize("kind_and_name", [(TOPIC, "t"), (BROKER, ""), (BROKER, str(NODE_ID))])
def test_unclean_elections_follow_the_topic_the_node_and_the_cluster(kind_and_name: tuple[int, str]) -> None:
    h = ControllerHarness()
    h.start(1, 2)
    if kind_and_name[1] == str(NODE_ID):
        h.start(NODE_ID)
    h.create("t", [1, 2])
    h.fence(2)
    h.fence(1)
    h.heartbeat(2)
    assert h.partition("t").leader == -1
    kind, name = kind_and_name
    assert alter(h, ("unclean.leader.election.enable", SET, "true"), kind=kind, name=name) == 0
    assert h.machine.next_deadline_ms() == h.now_ms, "leaderless partitions are looked at at once"
    h.advance(0)
    assert (h.partition("t").leader, h.partition("t").isr) == (2, (2,))


def test_subscriptions_to_clients_metrics_are_checked_as_kafka_checks_them() -> None:
    h = ControllerHarness()
    for name, value, code in (
        ("interval.ms", "100", 0),
        ("interval.ms", "99", ErrorCode.INVALID_REQUEST),
        ("interval.ms", "3600001", ErrorCode.INVALID_REQUEST),
        ("interval.ms", "often", ErrorCode.INVALID_CONFIG),
        ("match", "client_id=a.*,client_software_name=b", 0),
        ("match", "planet=a", ErrorCode.INVALID_CONFIG),
        ("match", "client_id=(", ErrorCode.INVALID_CONFIG),
        ("match", "client_id", ErrorCode.INVALID_CONFIG),
        ("metrics", "org.apache.kafka.", 0),
        ("planet", "a", ErrorCode.INVALID_REQUEST),
    ):
        assert alter(h, (name, SET, value), kind=METRICS, name="s") == code, (name, value)
    assert alter(h, ("metrics", APPEND, "more."), kind=METRICS, name="s") == 0
    assert h.image.config(METRICS, "s") == {
        "interval.ms": "100",
        "match": "client_id=a.*,client_software_name=b",
        "metrics": "org.apache.kafka.,more.",
    }
    assert alter(h, ("metrics", SET, "*"), kind=METRICS, name="") == ErrorCode.INVALID_REQUEST
