"""Registrations and heartbeats of brokers and controllers (ClusterControlManager, BrokerHeartbeatManager)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.core.controller import directory_ids
from engine.core.controller.image import METADATA_VERSION, VersionRange
from engine.core.controller.leadership import Leadership
from engine.core.controller.sessions import BrokerState, Session, next_state
from engine.core.controller.state import ControllerState, Step
from engine.model.errors import ErrorCode, KafkaError
from engine.model.notes import Note, NoteKind
from engine.wire.messages import register_broker_record, register_controller_record
from engine.wire.messages.broker_heartbeat_request import BrokerHeartbeatRequest
from engine.wire.messages.broker_heartbeat_response import BrokerHeartbeatResponse
from engine.wire.messages.broker_registration_change_record import BrokerRegistrationChangeRecord
from engine.wire.messages.broker_registration_request import BrokerRegistrationRequest
from engine.wire.messages.broker_registration_response import BrokerRegistrationResponse
from engine.wire.messages.controller_registration_request import ControllerRegistrationRequest
from engine.wire.messages.controller_registration_response import ControllerRegistrationResponse
from engine.wire.messages.register_broker_record import RegisterBrokerRecord
from engine.wire.messages.register_controller_record import RegisterControllerRecord
from engine.wire.messages.unregister_broker_request import UnregisterBrokerRequest
from engine.wire.messages.unregister_broker_response import UnregisterBrokerResponse

if TYPE_CHECKING:
    from engine.core.controller.broker_image import BrokerImage


class ClusterControl:
    """Who belongs to the cluster."""

    def __init__(self, state: ControllerState, leadership: Leadership) -> None:
        self._state = state
        self._leadership = leadership

    # -- registration -------------------------------------------------------------------------------------------

    def register_broker(
        self, step: Step, request: BrokerRegistrationRequest, now_ms: float
    ) -> BrokerRegistrationResponse:
        """Register a broker. A new incarnation gets the offset of its record as epoch, a known one keeps its own.

        Raises:
            KafkaError: INCONSISTENT_CLUSTER_ID, DUPLICATE_BROKER_REGISTRATION (another process with this id lives),
                INVALID_REGISTRATION, UNSUPPORTED_VERSION (features), BROKER_ID_NOT_REGISTERED (a ZooKeeper broker).
        """
        state = self._state
        broker_id = request.broker_id
        if request.cluster_id != state.cluster_id:
            raise KafkaError(
                ErrorCode.INCONSISTENT_CLUSTER_ID,
                f"Expected cluster ID {state.cluster_id}, but got cluster ID {request.cluster_id}",
            )
        existing = state.image.brokers.get(broker_id)
        is_same_process = existing is not None and existing.incarnation_id == request.incarnation_id
        if existing is not None and not is_same_process and state.sessions.is_valid(existing, now_ms):
            raise KafkaError(
                ErrorCode.DUPLICATE_BROKER_REGISTRATION, "Another broker is registered with that broker id."
            )
        if request.is_migrating_zk_broker:
            raise KafkaError(ErrorCode.BROKER_ID_NOT_REGISTERED, "Controller does not support registering ZK brokers.")
        self._check_directories(request)
        self._check_features(request)
        record = _registration_record(request)
        if is_same_process:
            assert existing is not None
            record.fenced = existing.fenced
            record.in_controlled_shutdown = existing.in_controlled_shutdown
            record.broker_epoch = existing.broker_epoch
            record.cordoned_log_dirs = None if existing.cordoned_log_dirs is None else list(existing.cordoned_log_dirs)
        else:
            self._leadership.forget_incarnation(
                step,
                broker_id,
                is_clean_shutdown=existing is not None and existing.broker_epoch == request.previous_broker_epoch,
            )
            record.broker_epoch = state.next_offset + len(step.records)
        step.records.append(record)
        if is_same_process:
            state.sessions.touch(broker_id, now_ms, -1)
        else:
            state.sessions.open(broker_id, now_ms)
            step.notes.append(
                Note(
                    NoteKind.BROKER_REGISTERED,
                    f"broker {broker_id}",
                    "first registration" if existing is None else "a new process took the place of the old one",
                    {
                        "broker_id": broker_id,
                        "broker_epoch": record.broker_epoch,
                        "previous_broker_epoch": -1 if existing is None else existing.broker_epoch,
                        "rack": record.rack,
                    },
                )
            )
        return BrokerRegistrationResponse(error_code=int(ErrorCode.NONE), broker_epoch=record.broker_epoch)

    def _check_directories(self, request: BrokerRegistrationRequest) -> None:
        if not request.log_dirs:
            raise _invalid("No directories specified in request")
        if any(directory_ids.is_reserved(each) for each in request.log_dirs):
            raise _invalid("Reserved directory ID in request")
        if len(set(request.log_dirs)) != len(request.log_dirs):
            raise _invalid("Duplicate directory ID in request")
        for broker_id, other in sorted(self._state.image.brokers.items()):
            if broker_id != request.broker_id:
                for directory_id in other.log_dirs:
                    if directory_id in request.log_dirs:
                        raise _invalid(f"Broker {broker_id} is already registered with directory {directory_id.hex()}")

    def _check_features(self, request: BrokerRegistrationRequest) -> None:
        supported = {
            each.name: VersionRange(each.min_supported_version, each.max_supported_version) for each in request.features
        }
        if METADATA_VERSION not in supported:
            raise _invalid(f"Request features do not contain '{METADATA_VERSION}'")
        for name, level in sorted(self._state.image.features.items()):
            low, high = supported.get(name, VersionRange(0, 0))
            if not low <= level <= high:
                raise KafkaError(
                    ErrorCode.UNSUPPORTED_VERSION,
                    f"Unable to register because the broker does not support finalized version {level} of {name}. "
                    f"The broker wants a version between {low} and {high}, inclusive.",
                )

    def unregister_broker(self, step: Step, request: UnregisterBrokerRequest) -> UnregisterBrokerResponse:
        """Remove a broker's registration. Raises: KafkaError: BROKER_ID_NOT_REGISTERED."""
        self._leadership.unregister(step, request.broker_id)
        self._state.sessions.close(request.broker_id)
        return UnregisterBrokerResponse(error_code=int(ErrorCode.NONE), error_message=None)

    def register_controller(self, step: Step, request: ControllerRegistrationRequest) -> ControllerRegistrationResponse:
        """Register a controller's listeners and features (KIP-919)."""
        step.records.append(
            RegisterControllerRecord(
                controller_id=request.controller_id,
                incarnation_id=request.incarnation_id,
                zk_migration_ready=False,
                end_points=[
                    register_controller_record.ControllerEndpoint(
                        name=each.name, host=each.host, port=each.port, security_protocol=each.security_protocol
                    )
                    for each in request.listeners
                ],
                features=[
                    register_controller_record.ControllerFeature(
                        name=each.name,
                        min_supported_version=each.min_supported_version,
                        max_supported_version=each.max_supported_version,
                    )
                    for each in request.features
                ],
            )
        )
        return ControllerRegistrationResponse(error_code=int(ErrorCode.NONE), error_message=None)

    # -- heartbeats ---------------------------------------------------------------------------------------------

    def heartbeat(self, step: Step, request: BrokerHeartbeatRequest, now_ms: float) -> BrokerHeartbeatResponse:
        """Keep the session alive and move the broker between fenced, unfenced and shutting down.

        Raises:
            KafkaError: STALE_BROKER_EPOCH.
        """
        state = self._state
        broker_id = request.broker_id
        broker = state.check_broker_epoch(broker_id, request.broker_epoch)
        session = state.sessions.touch(broker_id, now_ms, request.current_metadata_offset)
        newly_lost = [each for each in broker.log_dirs if each in request.offline_log_dirs]
        # Without any directory a broker can do nothing (and no record could say so: none is no change there). One that
        # just lost some is not unfenced before they are taken off its registration: it would lead what was in them.
        has_none = bool(newly_lost) and len(newly_lost) == len(broker.log_dirs)
        current, following = next_state(
            broker=broker,
            session=session,
            want_fence=request.want_fence
            or has_none
            or (broker.fenced and bool(newly_lost))
            or state.sessions.has_ended(broker),
            want_shut_down=request.want_shut_down,
            metadata_offset=request.current_metadata_offset,
            has_leaderships=self._leadership.has_leaderships(broker_id) if request.want_shut_down else False,
            lowest_active_offset=state.sessions.lowest_active_offset(state.image),
        )
        if current is not following:
            why = "asked for it"
            if has_none:
                why = "all its log directories failed"
            elif state.sessions.has_ended(broker):
                why = "its session with ZooKeeper is over"
            self._transition(step, broker, session, following, why)
        if following is BrokerState.CONTROLLED_SHUTDOWN and session.controlled_shutdown_offset < 0:
            session.controlled_shutdown_offset = state.next_offset + len(step.records) - 1
        if newly_lost and not has_none:
            self._leadership.directories_offline(step, broker_id, newly_lost)
        if request.cordoned_log_dirs is not None and tuple(request.cordoned_log_dirs) != broker.cordoned_log_dirs:
            step.records.append(
                BrokerRegistrationChangeRecord(
                    broker_id=broker_id,
                    broker_epoch=broker.broker_epoch,
                    cordoned_log_dirs=list(request.cordoned_log_dirs),
                )
            )
        return BrokerHeartbeatResponse(
            error_code=int(ErrorCode.NONE),
            is_caught_up=request.current_metadata_offset >= broker.broker_epoch,
            is_fenced=following in (BrokerState.FENCED, BrokerState.SHUTDOWN_NOW),
            should_shut_down=following is BrokerState.SHUTDOWN_NOW,
        )

    def _transition(self, step: Step, broker: BrokerImage, session: Session, following: BrokerState, why: str) -> None:
        broker_id = broker.broker_id
        if following is BrokerState.UNFENCED:
            self._leadership.unfence(step, broker_id)
        elif following is BrokerState.CONTROLLED_SHUTDOWN:
            self._leadership.begin_controlled_shutdown(step, broker_id)
        else:
            session.controlled_shutdown_offset = -1
            if not broker.fenced:
                if following is BrokerState.SHUTDOWN_NOW:
                    why = "its controlled shutdown is done"
                self._leadership.fence(step, broker_id, why)

    # -- silence ------------------------------------------------------------------------------------------------

    def fence_one_stale(self, step: Step, now_ms: float) -> bool:
        """Fence one broker whose session has lapsed; returns whether there was one.

        One at a time: the choice of new leaders for the next one must see what this one did.
        """
        stale = self._state.sessions.find_stale(self._state.image, now_ms)
        if stale is None:
            return False
        broker_id, cause = stale
        self._state.sessions.close(broker_id)
        self._leadership.fence(step, broker_id, cause)
        return True


def _registration_record(request: BrokerRegistrationRequest) -> RegisterBrokerRecord:
    features = [
        register_broker_record.BrokerFeature(
            name=each.name,
            min_supported_version=each.min_supported_version,
            max_supported_version=each.max_supported_version,
        )
        for each in request.features
    ]
    return RegisterBrokerRecord(
        broker_id=request.broker_id,
        is_migrating_zk_broker=False,
        incarnation_id=request.incarnation_id,
        end_points=[
            register_broker_record.BrokerEndpoint(
                name=each.name, host=each.host, port=each.port, security_protocol=each.security_protocol
            )
            for each in request.listeners
        ],
        features=features,
        rack=request.rack,
        fenced=True,
        log_dirs=list(request.log_dirs),
    )


def _invalid(message: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_REGISTRATION, message)
