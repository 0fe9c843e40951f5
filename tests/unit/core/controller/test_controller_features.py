"""Feature levels, eligible leader replicas (KIP-966), and blocks of producer ids."""

from __future__ import annotations

import pytest
from controller_harness import ELR, ControllerHarness

from engine.core.controller.feature_control import LATEST_METADATA_VERSION, SUPPORTED_FEATURES
from engine.core.controller.image import METADATA_VERSION
from engine.core.controller.topic_image import RECOVERING
from engine.model.errors import ErrorCode
from engine.wire.apis import ApiKey
from engine.wire.messages.incremental_alter_configs_request import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)

UPGRADE, SAFE_DOWNGRADE, UNSAFE_DOWNGRADE = 1, 2, 3
MIN_ISR = "min.insync.replicas"
TOPIC, BROKER = 2, 4


def set_min_isr(h: ControllerHarness, kind: int, name: str, value: str | None) -> int:
    """Set min.insync.replicas somewhere, or delete it; the error code."""
    operation = AlterableConfig(name=MIN_ISR, config_operation=0 if value is not None else 1, value=value)
    wanted = AlterConfigsResource(resource_type=kind, resource_name=name, configs=[operation])
    request = IncrementalAlterConfigsRequest(resources=[wanted])
    [answer] = h.handle(ApiKey.INCREMENTAL_ALTER_CONFIGS, request).responses
    return answer.error_code  # type: ignore[no-any-return]


def with_elr(min_isr: int = 2) -> ControllerHarness:
    """Three brokers with a topic of three replicas, eligible leader replicas switched on."""
    h = ControllerHarness({MIN_ISR: str(min_isr)})
    h.start(1, 2, 3)
    assert h.update_feature(ELR, 1).error_code == 0
    h.create("t", [1, 2, 3])
    return h


def state(h: ControllerHarness) -> tuple[int, tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Leader, ISR, ELR and last known leader."""
    partition = h.partition("t")
    return partition.leader, partition.isr, partition.elr, partition.last_known_elr


# -- levels -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [0, 1, 2])
def test_a_feature_is_raised_and_lowered(version: int) -> None:
    h = ControllerHarness()
    h.start(1)
    assert h.update_feature(ELR, 1, version=version).error_code == 0
    assert h.image.features[ELR] == 1
    assert h.update_feature(ELR, 0, kind=SAFE_DOWNGRADE, version=version).error_code == 0
    assert ELR not in h.image.features


@pytest.mark.parametrize(
    ("name", "level", "kind"),
    [
        (ELR, 2, UPGRADE),
        (ELR, -1, SAFE_DOWNGRADE),
        (ELR, 1, SAFE_DOWNGRADE),
        (ELR, 1, 9),
        ("no.such.feature", 1, UPGRADE),
        (METADATA_VERSION, LATEST_METADATA_VERSION + 1, UPGRADE),
        (METADATA_VERSION, LATEST_METADATA_VERSION - 1, UPGRADE),
        (METADATA_VERSION, LATEST_METADATA_VERSION - 1, SAFE_DOWNGRADE),
        (METADATA_VERSION, LATEST_METADATA_VERSION - 1, UNSAFE_DOWNGRADE),
    ],
)
def test_a_level_is_refused(name: str, level: int, kind: int) -> None:
    h = ControllerHarness()
    h.start(1)
    assert h.update_feature(name, level, kind=kind).error_code == ErrorCode.INVALID_UPDATE_VERSION
    assert not h.last


def test_older_versions_tell_each_features_error() -> None:
    response = ControllerHarness().update_feature(ELR, 2, version=1)
    assert response.error_code == 0
    assert [each.error_code for each in response.results] == [ErrorCode.INVALID_UPDATE_VERSION]


def test_a_feature_is_raised_only_when_every_broker_has_it() -> None:
    h = ControllerHarness()
    h.start(1)
    h.register(2, features={name: levels for name, levels in SUPPORTED_FEATURES.items() if name != ELR})
    refused = h.update_feature(ELR, 1)
    assert refused.error_code == ErrorCode.INVALID_UPDATE_VERSION and "Broker 2" in refused.error_message


def test_with_validate_only_a_level_is_checked_and_not_written() -> None:
    h = ControllerHarness()
    assert h.update_feature(ELR, 1, validate_only=True).error_code == 0
    assert not h.last and ELR not in h.image.features


# -- eligible leader replicas -----------------------------------------------------------------------------------


def test_members_that_leave_an_isr_below_the_minimum_stay_eligible() -> None:
    h = with_elr()
    h.fence(1)
    assert state(h) == (2, (2, 3), (), ())
    h.fence(2)
    assert state(h) == (3, (3,), (2,), ())
    h.fence(3)
    assert state(h) == (-1, (), (2, 3), (3,))
    h.heartbeat(1)
    assert state(h)[0] == -1, "broker 1 left when the minimum still held: it may lack committed records"
    h.heartbeat(2)
    assert state(h) == (2, (2,), (3,), ())
    assert h.partition("t").leader_recovery_state != RECOVERING, "that was a clean election"


def test_the_eligible_are_forgotten_when_the_isr_is_large_enough_again() -> None:
    h = with_elr()
    h.fence(1)
    h.fence(2)
    h.heartbeat(1)
    assert h.alter_partition(3, [3, 1]).error_code == 0
    assert state(h) == (3, (3, 1), (), ())


def test_a_broker_that_crashed_is_not_eligible_but_one_that_went_cleanly_is() -> None:
    for is_clean in (True, False):
        h = with_elr()
        h.fence(1)
        h.fence(2)
        assert state(h) == (3, (3,), (2,), ())
        h.advance(9_001)
        h.register(2, previous_epoch=h.broker(2).broker_epoch if is_clean else -1)
        assert h.partition("t").elr == ((2, 3) if is_clean else (3,))


def test_when_all_eligible_replicas_crashed_the_last_leader_is_the_best_there_is() -> None:
    h = with_elr()
    for broker_id in (1, 2, 3):
        h.fence(broker_id)
    h.advance(9_001)
    for broker_id in (2, 3):
        h.register(broker_id)
    assert state(h) == (-1, (), (), (3,))
    h.heartbeat(2)
    assert state(h)[0] == -1
    h.heartbeat(3)
    assert state(h) == (3, (3,), (), ())
    assert h.partition("t").leader_recovery_state == RECOVERING


def test_another_minimum_makes_a_topics_eligible_replicas_forgotten() -> None:
    """Under min.insync.replicas=1 the leader alone commits records that the eligible ones do not have."""
    for kind, name in ((TOPIC, "t"), (BROKER, "")):
        h = with_elr()
        h.fence(1)
        h.fence(2)
        assert h.partition("t").elr == (2,)
        assert set_min_isr(h, kind, name, "1") == 0
        assert h.names_of_last() == ["ConfigRecord", "ClearElrRecord"]
        assert h.partition("t").elr == ()
        h.fence(3)
        h.heartbeat(2)
        assert h.partition("t").leader == -1, "broker 2 may lack what broker 3 committed alone"


def test_with_eligible_replicas_all_controllers_read_the_same_minimum() -> None:
    h = ControllerHarness({MIN_ISR: "2"})
    h.start(1, 2)
    assert set_min_isr(h, BROKER, "1", "1") == 0
    assert h.update_feature(ELR, 1).error_code == 0
    assert h.image.config(BROKER, "") == {MIN_ISR: "2"}, "the cluster gets the value of the file"
    assert h.image.config(BROKER, "1") == {}, "a single broker's is removed"
    assert set_min_isr(h, BROKER, "1", "1") == ErrorCode.INVALID_CONFIG
    assert set_min_isr(h, BROKER, "", None) == ErrorCode.INVALID_CONFIG
    assert set_min_isr(h, BROKER, "", "1") == 0


def test_a_clusters_own_minimum_stays_when_eligible_replicas_are_switched_on() -> None:
    h = ControllerHarness({MIN_ISR: "2"})
    h.start(1)
    set_min_isr(h, BROKER, "", "3")
    h.update_feature(ELR, 1)
    assert h.image.config(BROKER, "") == {MIN_ISR: "3"}
    assert h.names_of_last() == ["FeatureLevelRecord"]


def test_a_leaderless_partition_does_not_take_nobody_for_its_last_leader() -> None:
    h = ControllerHarness()
    h.start(1)
    h.create("t", [1])
    h.start(2)
    h.fence(1)
    assert state(h) == (-1, (1,), (), ())
    h.update_feature(ELR, 1)
    h.unregister(1)
    assert state(h) == (-1, (), (), ())


def test_a_broker_that_registers_after_it_was_unregistered_came_back_uncleanly() -> None:
    h = ControllerHarness()
    h.start(1, 2)
    h.create("t", [1])
    h.unregister(1)
    assert state(h) == (-1, (1,), (), ())
    h.update_feature(ELR, 1)
    h.register(1)
    assert state(h)[1] == ()


def test_switching_eligible_replicas_off_leaves_leaders_that_were_eligible() -> None:
    h = with_elr()
    for broker_id in (1, 2, 3):
        h.fence(broker_id)
    h.update_feature(ELR, 0, kind=SAFE_DOWNGRADE)
    h.heartbeat(3)
    assert (h.partition("t").leader, h.partition("t").isr, h.partition("t").elr) == (3, (3,), ())


# -- producer ids -----------------------------------------------------------------------------------------------


def test_each_block_of_producer_ids_is_given_out_once() -> None:
    """T8 PidUnique: through the log, so that neither another broker nor another controller gives it out again."""
    h = ControllerHarness()
    h.start(1, 2)
    starts = []
    for broker_id in (1, 2, 1, 2):
        response = h.allocate(broker_id)
        assert (response.error_code, response.producer_id_len) == (0, 1_000)
        starts.append(response.producer_id_start)
        h.fail_over()
    assert starts == [0, 1_000, 2_000, 3_000]


def test_a_producer_id_block_needs_a_registered_broker_with_its_epoch() -> None:
    h = ControllerHarness()
    h.start(1)
    assert h.allocate(1, epoch=77).error_code == ErrorCode.STALE_BROKER_EPOCH
    assert h.allocate(5, epoch=1).error_code == ErrorCode.STALE_BROKER_EPOCH
    assert h.image.next_producer_id == 0


def test_producer_ids_end_before_they_overflow() -> None:
    h = ControllerHarness()
    h.start(1)
    h.image.next_producer_id = h.replayed.next_producer_id = (1 << 63) - 1_000
    assert h.allocate(1).error_code == ErrorCode.UNKNOWN_SERVER_ERROR
    h.image.next_producer_id = h.replayed.next_producer_id = (1 << 63) - 1_001
    assert h.allocate(1).error_code == 0
