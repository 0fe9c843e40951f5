"""Registration, heartbeats, fencing and shutdown of brokers, as ClusterControlManager and BrokerHeartbeatManager do."""

from __future__ import annotations

import pytest
from controller_harness import ELR, GRACE_MS, SESSION_MS, ControllerHarness, directory_of, incarnation_of

from engine.core.controller.directory_ids import LOST, MIGRATING, UNASSIGNED
from engine.core.controller.feature_control import BOOTSTRAP_FEATURES
from engine.core.controller.image import METADATA_VERSION
from engine.model.errors import ErrorCode
from engine.model.notes import NoteKind
from engine.wire.apis import ApiKey
from engine.wire.messages import controller_registration_request
from engine.wire.messages.controller_registration_request import ControllerRegistrationRequest

# -- registration -----------------------------------------------------------------------------------------------


def test_a_new_cluster_begins_with_its_feature_levels() -> None:
    h = ControllerHarness()
    assert [(each.name, each.feature_level) for each in h.log] == list(BOOTSTRAP_FEATURES.items())
    h.fail_over()
    assert len(h.log) == len(BOOTSTRAP_FEATURES), "a second controller writes no second beginning"


def test_a_broker_registers_fenced_with_the_offset_of_its_record_as_epoch() -> None:
    h = ControllerHarness()
    offset = len(h.log)
    response = h.register(1, rack="a")
    assert (response.error_code, response.broker_epoch) == (0, offset)
    broker = h.broker(1)
    assert broker.fenced and not broker.in_controlled_shutdown
    assert (broker.rack, broker.incarnation_id) == ("a", incarnation_of(1, 1))
    assert broker.listeners["PLAINTEXT"].port == 9001
    assert broker.log_dirs == (directory_of(1),)
    assert h.kinds() == [NoteKind.BROKER_REGISTERED]


@pytest.mark.parametrize(
    ("request_of", "error"),
    [
        ({"cluster_id": "another"}, ErrorCode.INCONSISTENT_CLUSTER_ID),
        ({"is_migrating": True}, ErrorCode.BROKER_ID_NOT_REGISTERED),
        ({"log_dirs": []}, ErrorCode.INVALID_REGISTRATION),
        ({"log_dirs": [UNASSIGNED]}, ErrorCode.INVALID_REGISTRATION),
        ({"log_dirs": [LOST]}, ErrorCode.INVALID_REGISTRATION),
        ({"log_dirs": [MIGRATING]}, ErrorCode.INVALID_REGISTRATION),
        ({"log_dirs": [directory_of(1), directory_of(1)]}, ErrorCode.INVALID_REGISTRATION),
        ({"log_dirs": [directory_of(2)]}, ErrorCode.INVALID_REGISTRATION),
        ({"features": {METADATA_VERSION: (7, 29)}}, ErrorCode.UNSUPPORTED_VERSION),
        ({"features": {METADATA_VERSION: (31, 40)}}, ErrorCode.UNSUPPORTED_VERSION),
        ({"features": {}}, ErrorCode.INVALID_REGISTRATION),
    ],
)
def test_a_registration_is_refused_for(request_of: dict[str, object], error: ErrorCode) -> None:
    h = ControllerHarness()
    h.register(2)
    before = len(h.log)
    assert h.register(1, **request_of).error_code == error  # type: ignore[arg-type]
    assert len(h.log) == before and 1 not in h.image.brokers


def test_a_broker_that_does_not_know_a_feature_in_use_is_refused() -> None:
    h = ControllerHarness()
    h.start(1)
    assert h.update_feature(ELR, 1).error_code == 0
    assert h.register(2, features={METADATA_VERSION: (7, 30)}).error_code == ErrorCode.UNSUPPORTED_VERSION
    assert h.register(2).error_code == 0


def test_a_second_process_with_the_id_of_one_that_lives_is_refused() -> None:
    h = ControllerHarness()
    h.start(1)
    assert h.register(1).error_code == ErrorCode.DUPLICATE_BROKER_REGISTRATION
    assert h.broker(1).incarnation_id == incarnation_of(1, 1)


def test_the_same_process_that_registers_again_keeps_its_epoch_and_stays_unfenced() -> None:
    h = ControllerHarness()
    h.start(1)
    epoch = h.broker(1).broker_epoch
    response = h.register(1, incarnation=1, rack="moved")
    assert (response.error_code, response.broker_epoch) == (0, epoch)
    assert (h.broker(1).fenced, h.broker(1).rack) == (False, "moved")


def test_the_same_process_in_controlled_shutdown_stays_in_it_when_it_registers_again() -> None:
    h = ControllerHarness()
    h.start(1, 2)
    h.create("t", [1, 2])
    h.heartbeat(1, want_shut_down=True)
    h.register(1, incarnation=1)
    assert h.broker(1).in_controlled_shutdown and not h.broker(1).fenced


def test_a_new_process_may_take_the_id_of_one_whose_session_lapsed() -> None:
    h = ControllerHarness()
    h.start(1)
    old = h.broker(1).broker_epoch
    h.advance(SESSION_MS + 1)
    assert h.broker(1).fenced
    response = h.register(1)
    assert response.error_code == 0 and response.broker_epoch > old


def test_a_new_process_may_take_the_id_of_one_whose_connection_is_lost() -> None:
    h = ControllerHarness()
    h.start(1)
    assert h.machine.on_broker_connection_lost(1, h.broker(1).broker_epoch, h.now_ms)
    assert h.register(1).error_code == 0
    assert h.broker(1).fenced


def test_a_new_incarnation_loses_leaderships_and_isrs_of_the_old_one_where_others_are_left() -> None:
    h = ControllerHarness()
    h.start(1, 2)
    h.create("t", [1, 2], [2, 1])
    h.create("alone", [1])
    h.machine.on_broker_connection_lost(1, h.broker(1).broker_epoch, h.now_ms)
    h.register(1)
    assert h.names_of_last() == ["PartitionChangeRecord"] * 3 + ["RegisterBrokerRecord"]
    assert (h.partition("t", 0).leader, h.partition("t", 0).isr) == (2, (2,))
    assert (h.partition("t", 1).leader, h.partition("t", 1).isr) == (2, (2,))
    assert (h.partition("alone").leader, h.partition("alone").isr) == (-1, (1,)), "the last member stays"
    leader_epoch = h.partition("alone").leader_epoch
    h.heartbeat(1)
    assert (h.partition("alone").leader, h.partition("alone").leader_epoch) == (1, leader_epoch + 1)
    assert h.partition("t", 0).isr == (2,), "it must catch up before it is in sync again"


def test_requests_of_the_old_incarnation_are_stale() -> None:
    h = ControllerHarness()
    h.start(1)
    old = h.broker(1).broker_epoch
    h.machine.on_broker_connection_lost(1, old, h.now_ms)
    h.register(1)
    assert h.heartbeat(1, epoch=old).error_code == ErrorCode.STALE_BROKER_EPOCH
    assert h.allocate(1, old).error_code == ErrorCode.STALE_BROKER_EPOCH
    assert h.heartbeat(7, epoch=1).error_code == ErrorCode.STALE_BROKER_EPOCH, "was never registered"
    assert not h.machine.on_broker_connection_lost(1, old, h.now_ms), "the old one's connection does not count"


def test_a_controller_registers_its_listeners() -> None:
    h = ControllerHarness()
    request = ControllerRegistrationRequest(
        controller_id=3,
        incarnation_id=incarnation_of(3, 1),
        zk_migration_ready=False,
        listeners=[controller_registration_request.Listener(name="CONTROLLER", host="h", port=9, security_protocol=0)],
        features=[
            controller_registration_request.Feature(
                name=METADATA_VERSION, min_supported_version=7, max_supported_version=30
            )
        ],
    )
    assert h.handle(ApiKey.CONTROLLER_REGISTRATION, request).error_code == 0
    controller = h.image.controllers[3]
    assert controller.listeners["CONTROLLER"] == ("h", 9, 0)
    assert controller.features[METADATA_VERSION] == (7, 30)


# -- unfencing --------------------------------------------------------------------------------------------------


def test_a_broker_is_unfenced_when_it_has_read_its_own_registration() -> None:
    h = ControllerHarness()
    epoch = h.register(1).broker_epoch
    behind = h.heartbeat(1, offset=epoch - 1)
    assert (behind.is_caught_up, behind.is_fenced) == (False, True)
    there = h.heartbeat(1, offset=epoch)
    assert (there.is_caught_up, there.is_fenced, there.should_shut_down) == (True, False, False)
    assert h.kinds()[-1] is NoteKind.BROKER_UNFENCED


def test_a_broker_that_wants_to_stay_fenced_stays_so() -> None:
    h = ControllerHarness()
    h.register(1)
    assert h.heartbeat(1, want_fence=True).is_fenced
    assert not h.last, "nothing is written for a heartbeat that changes nothing"
    assert not h.heartbeat(1).is_fenced
    assert h.heartbeat(1, want_fence=True).is_fenced
    assert h.broker(1).fenced


def test_heartbeats_without_news_write_nothing() -> None:
    h = ControllerHarness()
    h.start(1)
    before = len(h.log)
    for _ in range(5):
        assert not h.heartbeat(1).is_fenced
    assert len(h.log) == before


# -- fencing by silence -----------------------------------------------------------------------------------------


def test_a_broker_is_fenced_when_its_session_lapses_and_not_before() -> None:
    h = ControllerHarness()
    h.start(1, 2)
    h.create("t", [1, 2])
    h.advance(SESSION_MS - 1)
    assert not h.broker(1).fenced
    h.heartbeat(2)
    h.advance(1)
    assert h.broker(1).fenced and not h.broker(2).fenced
    assert (h.partition("t").leader, h.partition("t").isr) == (2, (2,))
    [fenced] = [each for each in h.notes if each.kind is NoteKind.BROKER_FENCED]
    assert (fenced.subject, fenced.detail["led"]) == ("broker 1", 1)
    assert "no heartbeat for 9000 ms" in fenced.reason


def test_the_partitions_change_before_the_registration_does() -> None:
    h = ControllerHarness()
    h.start(1, 2)
    h.create("t", [1, 2])
    h.heartbeat(2)
    h.heartbeat(1, want_fence=True)
    assert h.names_of_last() == ["PartitionChangeRecord", "BrokerRegistrationChangeRecord"]


def test_brokers_that_lapse_together_are_fenced_one_after_the_other() -> None:
    h = ControllerHarness()
    h.start(1, 2, 3)
    h.create("t", [1, 2, 3])
    h.advance(SESSION_MS)
    assert all(h.broker(each).fenced for each in (1, 2, 3))
    # Each election saw the ones before, so that none chose a leader that was about to be fenced for good.
    assert (h.partition("t").leader, h.partition("t").isr) == (-1, (3,))


def test_every_heartbeat_prolongs_the_session() -> None:
    h = ControllerHarness()
    h.start(1)
    for _ in range(5):
        h.advance(SESSION_MS - 1)
        h.heartbeat(1)
    assert not h.broker(1).fenced


def test_a_fenced_broker_that_speaks_again_is_unfenced() -> None:
    h = ControllerHarness()
    h.start(1)
    h.create("t", [1])
    h.advance(SESSION_MS)
    assert (h.broker(1).fenced, h.partition("t").leader) == (True, -1)
    assert not h.heartbeat(1).is_fenced
    assert h.partition("t").leader == 1


def test_a_new_controller_counts_unfenced_brokers_as_just_heard_of() -> None:
    h = ControllerHarness()
    h.start(1, 2)
    h.advance(SESSION_MS - 1)
    h.fail_over()
    h.advance(SESSION_MS - 1)
    h.heartbeat(2)
    assert not h.broker(1).fenced
    h.advance(1)
    assert h.broker(1).fenced and not h.broker(2).fenced


def test_under_a_new_controller_a_restarted_broker_need_not_wait_for_a_session_that_is_only_assumed() -> None:
    h = ControllerHarness()
    h.start(1)
    h.fail_over()
    assert h.register(1).error_code == 0


# -- fencing by a lost connection -------------------------------------------------------------------------------


def test_a_broker_whose_connection_drops_is_fenced_after_the_grace() -> None:
    h = ControllerHarness()
    h.start(1, 2)
    h.create("t", [1, 2])
    assert h.machine.on_broker_connection_lost(1, h.broker(1).broker_epoch, h.now_ms)
    assert h.machine.next_deadline_ms() == h.now_ms + GRACE_MS
    h.advance(GRACE_MS - 1)
    assert not h.broker(1).fenced
    h.advance(1)
    assert h.broker(1).fenced and h.partition("t").leader == 2
    assert "connection to the controller lost 300 ms ago" in h.notes[-3].reason


def test_a_heartbeat_within_the_grace_saves_the_broker() -> None:
    h = ControllerHarness()
    h.start(1)
    h.machine.on_broker_connection_lost(1, h.broker(1).broker_epoch, h.now_ms)
    h.advance(GRACE_MS - 1)
    h.heartbeat(1)
    h.advance(GRACE_MS * 3)
    assert not h.broker(1).fenced


def test_a_second_loss_does_not_prolong_the_grace() -> None:
    h = ControllerHarness()
    h.start(1)
    epoch = h.broker(1).broker_epoch
    h.machine.on_broker_connection_lost(1, epoch, h.now_ms)
    h.advance(GRACE_MS - 1)
    h.machine.on_broker_connection_lost(1, epoch, h.now_ms)
    h.advance(1)
    assert h.broker(1).fenced


def test_a_lost_connection_of_a_fenced_or_unknown_broker_means_nothing() -> None:
    h = ControllerHarness()
    epoch = h.register(1).broker_epoch
    assert not h.machine.on_broker_connection_lost(1, epoch, h.now_ms)
    assert not h.machine.on_broker_connection_lost(9, 1, h.now_ms)


def test_without_the_detection_only_the_session_counts() -> None:
    h = ControllerHarness({"kconsole.connection.loss.detection.enable": "false"})
    h.start(1)
    assert not h.machine.on_broker_connection_lost(1, h.broker(1).broker_epoch, h.now_ms)
    h.advance(SESSION_MS - 1)
    assert not h.broker(1).fenced
    assert h.register(1).error_code == ErrorCode.DUPLICATE_BROKER_REGISTRATION


# -- controlled shutdown ----------------------------------------------------------------------------------------


def test_a_broker_that_leads_nothing_may_shut_down_at_once() -> None:
    h = ControllerHarness()
    h.start(1, 2)
    h.create("t", [2, 1])
    response = h.heartbeat(1, want_shut_down=True)
    assert (response.should_shut_down, response.is_fenced) == (True, True)
    assert h.broker(1).fenced and h.partition("t").isr == (2,)


def test_a_leader_that_wants_to_shut_down_first_hands_over_and_waits_until_the_others_know() -> None:
    h = ControllerHarness()
    h.start(1, 2, 3)
    h.create("t", [1, 2, 3], [2, 1, 3])
    known = len(h.log) - 1
    for each in (1, 2, 3):
        h.heartbeat(each)
    first = h.heartbeat(1, want_shut_down=True)
    assert (first.should_shut_down, first.is_fenced) == (False, False)
    assert h.broker(1).in_controlled_shutdown and not h.broker(1).fenced
    assert (h.partition("t", 0).leader, h.partition("t", 0).isr) == (2, (2, 3))
    assert h.partition("t", 1).isr == (2, 3)
    assert NoteKind.BROKER_SHUTDOWN_STARTED in h.kinds()
    written = len(h.log) - 1
    h.heartbeat(2, offset=written)
    h.heartbeat(3, offset=known)
    assert not h.heartbeat(1, want_shut_down=True).should_shut_down, "broker 3 does not know of the new leaders"
    h.heartbeat(3, offset=written)
    last = h.heartbeat(1, want_shut_down=True)
    assert (last.should_shut_down, last.is_fenced) == (True, True)
    assert h.broker(1).fenced and h.broker(1).in_controlled_shutdown


def test_the_last_broker_may_shut_down_although_nobody_takes_over() -> None:
    h = ControllerHarness()
    h.start(1)
    h.create("t", [1])
    assert not h.heartbeat(1, want_shut_down=True).should_shut_down
    assert (h.partition("t").leader, h.partition("t").isr) == (-1, (1,))
    assert h.heartbeat(1, want_shut_down=True).should_shut_down


def test_a_broker_that_shuts_down_gets_no_new_replica_and_no_leadership() -> None:
    h = ControllerHarness()
    h.start(1, 2)
    h.create("t", [1, 2])
    h.heartbeat(1, want_shut_down=True)
    h.create("u", partitions=6, factor=1)
    assert {h.partition("u", each).leader for each in range(6)} == {2}
    assert h.alter_partition(2, [2, 1]).error_code == ErrorCode.INELIGIBLE_REPLICA


def test_a_new_controller_takes_up_a_shutdown_that_has_begun() -> None:
    h = ControllerHarness()
    h.start(1, 2)
    h.create("t", [1, 2])
    h.heartbeat(1, want_shut_down=True)
    h.fail_over()
    h.heartbeat(2)
    assert h.heartbeat(1, want_shut_down=True).should_shut_down


def test_a_broker_in_controlled_shutdown_whose_session_lapses_is_fenced() -> None:
    h = ControllerHarness()
    h.start(1, 2)
    h.create("t", [1, 2])
    h.heartbeat(1, want_shut_down=True)
    h.advance(SESSION_MS - 1)
    h.heartbeat(2)
    h.advance(1)
    assert h.broker(1).fenced
    assert h.heartbeat(1, want_shut_down=True).should_shut_down


def test_a_broker_that_began_to_shut_down_and_was_fenced_comes_back_only_as_a_new_process() -> None:
    h = ControllerHarness()
    h.start(1)
    h.create("t", [1])
    h.heartbeat(1, want_shut_down=True)
    h.advance(SESSION_MS)
    assert h.heartbeat(1).is_fenced, "no record could take it out of its shutdown again"
    assert h.partition("t").leader == -1
    h.register(1)
    assert not h.heartbeat(1).is_fenced
    assert h.partition("t").leader == 1


def test_a_fenced_broker_that_wants_to_shut_down_may() -> None:
    h = ControllerHarness()
    h.register(1)
    response = h.heartbeat(1, want_shut_down=True)
    assert response.should_shut_down and response.is_fenced
    assert not h.last


# -- unregistering ----------------------------------------------------------------------------------------------


def test_an_unregistered_broker_is_gone_from_leaderships_and_isrs() -> None:
    h = ControllerHarness()
    h.start(1, 2)
    h.create("t", [1, 2])
    assert h.unregister(1).error_code == 0
    assert 1 not in h.image.brokers
    assert (h.partition("t").leader, h.partition("t").isr, h.partition("t").replicas) == (2, (2,), (1, 2))
    assert h.unregister(1).error_code == ErrorCode.BROKER_ID_NOT_REGISTERED
    assert h.heartbeat(1, epoch=1).error_code == ErrorCode.STALE_BROKER_EPOCH


def test_the_last_member_of_an_isr_stays_it_even_when_unregistered() -> None:
    h = ControllerHarness()
    h.start(1, 2)
    h.create("t", [1, 2])
    h.fence(2)
    h.unregister(1)
    assert (h.partition("t").leader, h.partition("t").isr) == (-1, (1,))
    h.heartbeat(2)
    assert h.partition("t").leader == -1, "broker 2 was not in sync"
    h.start(1)
    assert h.partition("t").leader == 1


# -- log directories --------------------------------------------------------------------------------------------


def test_replicas_in_a_lost_log_directory_lose_leaderships_and_isrs() -> None:
    h = ControllerHarness()
    h.register(1, log_dirs=[directory_of(1, 0), directory_of(1, 1)])
    h.heartbeat(1)
    h.start(2)
    h.create("t", [1, 2])
    assert h.partition("t").directory(1) == UNASSIGNED, "which of two directories is the broker's choice"
    h.heartbeat(1, offline=[directory_of(1, 1)])
    assert h.broker(1).log_dirs == (directory_of(1, 0),)
    assert h.partition("t").leader == 1, "nothing says that the replica was there"
    h.create("u", [1, 2])
    assert h.partition("u").directory(1) == directory_of(1, 0)


def test_a_broker_that_loses_the_directory_of_a_replica_leads_it_no_more() -> None:
    h = ControllerHarness()
    h.start(1, 2)
    h.create("t", [1, 2])
    h.register(1, incarnation=1, log_dirs=[directory_of(1, 0), directory_of(1, 1)])
    h.heartbeat(1, offline=[directory_of(1, 0)])
    assert (h.partition("t").leader, h.partition("t").isr) == (2, (2,))
    assert h.broker(1).log_dirs == (directory_of(1, 1),) and not h.broker(1).fenced
    assert h.kinds()[-1] is NoteKind.LOG_DIR_FAILED
    h.heartbeat(1, offline=[directory_of(1, 0)])
    assert not h.last, "it is told with every heartbeat"


def test_a_broker_that_loses_all_its_log_directories_is_fenced() -> None:
    h = ControllerHarness()
    h.start(1, 2)
    h.create("t", [1, 2])
    assert h.heartbeat(1, offline=[directory_of(1)]).is_fenced
    assert (h.partition("t").leader, h.partition("t").isr) == (2, (2,))
    assert h.heartbeat(1, offline=[directory_of(1)]).is_fenced
    assert not h.last


def test_a_fenced_broker_does_not_lead_what_is_in_a_directory_that_it_lost_meanwhile() -> None:
    h = ControllerHarness()
    h.start(1)
    h.create("t", [1])
    h.register(1, incarnation=1, log_dirs=[directory_of(1, 0), directory_of(1, 1)])
    h.fence(1)
    assert h.heartbeat(1, offline=[directory_of(1, 0)]).is_fenced, "first its registration must say so"
    assert not h.heartbeat(1, offline=[directory_of(1, 0)]).is_fenced
    assert (h.partition("t").leader, h.partition("t").isr) == (-1, (1,))


def test_directories_that_are_not_the_brokers_own_do_not_fail() -> None:
    h = ControllerHarness()
    h.start(1, 2)
    h.heartbeat(1, offline=[directory_of(2)])
    assert not h.last


def test_a_fully_cordoned_broker_gets_no_new_replicas() -> None:
    h = ControllerHarness()
    h.start(1, 2)
    h.heartbeat(1, cordoned=[directory_of(1)])
    assert h.broker(1).cordoned_log_dirs == (directory_of(1),)
    h.heartbeat(1, cordoned=[directory_of(1)])
    assert not h.last, "the same again is no change"
    h.create("t", partitions=5, factor=1)
    assert {h.partition("t", each).leader for each in range(5)} == {2}
    h.heartbeat(1, cordoned=[])
    h.create("u", partitions=5, factor=2)
