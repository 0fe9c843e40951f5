"""Quotas of clients: altered by the controller, described from any image.

Kafka: ClientQuotaControlManager, ClientQuotasImage.
An entity is one of user, client-id, both, or ip, each by name or (``None``) its default (KIP-257, KIP-546, KIP-612).
"""

from __future__ import annotations

import ipaddress
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from engine.core.controller.image import MetadataImage, QuotaEntity
from engine.core.controller.state import ControllerState, Step
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.messages import alter_client_quotas_response as altered
from engine.wire.messages import client_quota_record as recorded
from engine.wire.messages import describe_client_quotas_response as described
from engine.wire.messages.alter_client_quotas_request import AlterClientQuotasRequest
from engine.wire.messages.describe_client_quotas_request import ComponentData, DescribeClientQuotasRequest

USER, CLIENT_ID, IP = "user", "client-id", "ip"
PRODUCER_BYTE_RATE, CONSUMER_BYTE_RATE = "producer_byte_rate", "consumer_byte_rate"
REQUEST_PERCENTAGE, CONTROLLER_MUTATION_RATE = "request_percentage", "controller_mutation_rate"
CONNECTION_CREATION_RATE = "connection_creation_rate"
MATCH_EXACT, MATCH_DEFAULT, MATCH_SPECIFIED = 0, 1, 2

# Quotas by what they may be set for, each with the largest whole number that it takes; None: any positive number
# (QuotaConfig).
_LONG, _INT = 2**63 - 1, 2**31 - 1
_OF_CLIENTS: dict[str, int | None] = {
    PRODUCER_BYTE_RATE: _LONG,
    CONSUMER_BYTE_RATE: _LONG,
    REQUEST_PERCENTAGE: None,
    CONTROLLER_MUTATION_RATE: None,
}
_OF_ADDRESSES: dict[str, int | None] = {CONNECTION_CREATION_RATE: _INT}


class ClientQuotaControl:
    """Validates and records quotas."""

    def __init__(self, state: ControllerState) -> None:
        self._state = state

    def alter(self, step: Step, request: AlterClientQuotasRequest) -> altered.AlterClientQuotasResponse:
        """Set and remove quotas, each entity as a whole or not at all."""
        response = altered.AlterClientQuotasResponse()
        entities = [tuple((each.entity_type, each.entity_name) for each in entry.entity) for entry in request.entries]
        named = Counter(_comparable(each) for each in entities)
        for entity, entry in zip(entities, request.entries, strict=True):
            result = altered.EntryData(error_code=0, error_message=None)
            result.entity = [altered.EntityData(entity_type=kind, entity_name=name) for kind, name in entity]
            try:
                if named[_comparable(entity)] > 1:
                    raise _invalid(f"Ignoring duplicate entity {_shown(entity)}")
                step.records += self._alter(entity, entry.ops)
            except KafkaError as error:
                result.error_code, result.error_message = int(error.code), error.message
            response.entries.append(result)
        step.check_size()
        if request.validate_only:
            step.records.clear()
        return response

    def _alter(self, entity: QuotaEntity, operations: Sequence[Any]) -> list[recorded.ClientQuotaRecord]:
        keys = [each.key for each in operations]
        if len(set(keys)) != len(keys):
            raise _invalid(f"Duplicate quota key, not updating quota for this entity {_shown(entity)}")
        known = _quotas_of(entity)
        current = self._state.image.client_quotas.get(tuple(sorted(entity, key=lambda each: each[0])), {})
        records = []
        for each in operations:
            if each.remove:
                if each.key in current:
                    records.append(_record(entity, each.key, None))
                continue
            _check_value(known, each.key, each.value)
            if current.get(each.key) != each.value:
                records.append(_record(entity, each.key, each.value))
        return records


def describe_client_quotas(
    image: MetadataImage, request: DescribeClientQuotasRequest
) -> described.DescribeClientQuotasResponse:
    """The quotas of all entities that the filter takes.

    Raises:
        KafkaError: INVALID_REQUEST, UNSUPPORTED_VERSION: the filter makes no sense.
    """
    exact, specified = _parse_filter(request.components)
    response = described.DescribeClientQuotasResponse(error_code=0, error_message=None)
    assert response.entries is not None
    for entity, quotas in image.client_quotas.items():
        names = dict(entity)
        if request.strict and len(names) != len(exact) + len(specified):
            continue
        if any(kind not in names or names[kind] != name for kind, name in exact.items()):
            continue
        if any(kind not in names for kind in specified):
            continue
        response.entries.append(
            described.EntryData(
                entity=[described.EntityData(entity_type=kind, entity_name=name) for kind, name in entity],
                values=[described.ValueData(key=key, value=value) for key, value in quotas.items()],
            )
        )
    return response


def _parse_filter(components: Sequence[ComponentData]) -> tuple[dict[str, str | None], list[str]]:
    exact: dict[str, str | None] = {}
    specified: list[str] = []
    for each in components:
        kind = each.entity_type
        if not kind:
            raise _invalid("Invalid empty entity type.")
        if kind in exact or kind in specified:
            raise _invalid(f"Entity type {kind} cannot appear more than once in the filter.")
        if kind not in (USER, CLIENT_ID, IP):
            raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"Unsupported entity type {kind}")
        if each.match_type == MATCH_EXACT:
            if each.match is None:
                raise _invalid("Request specified MATCH_TYPE_EXACT, but set match string to null.")
            exact[kind] = each.match
        elif each.match_type in (MATCH_DEFAULT, MATCH_SPECIFIED):
            if each.match is not None:
                name = "MATCH_TYPE_DEFAULT" if each.match_type == MATCH_DEFAULT else "MATCH_TYPE_SPECIFIED"
                raise _invalid(f"Request specified {name}, but also specified a match string.")
            if each.match_type == MATCH_DEFAULT:
                exact[kind] = None
            else:
                specified.append(kind)
        else:
            raise _invalid(f"Unknown match type {each.match_type}")
    kinds = {*exact, *specified}
    if IP in kinds and len(kinds) > 1:
        raise _invalid(
            "Invalid entity filter component combination. IP filter component should not be used with user or clientId "
            "filter component."
        )
    return exact, specified


def _quotas_of(entity: QuotaEntity) -> Mapping[str, int | None]:
    """The quotas that such an entity can have. Raises: KafkaError: INVALID_REQUEST."""
    kinds = [kind for kind, _ in entity]
    if not kinds:
        raise _invalid("Invalid empty client quota entity")
    for kind, name in entity:
        if kind not in (USER, CLIENT_ID, IP):
            raise _invalid(f"Unhandled client quota entity type: {kind}")
        if kinds.count(kind) > 1:
            raise _invalid(f"Invalid client quota entity, duplicate entity entry {kind}")
        if name is not None and not name:
            raise _invalid(f"Empty {kind} not supported")
    if IP not in kinds:
        return _OF_CLIENTS
    if len(kinds) > 1:
        raise _invalid("Invalid quota entity combination, IP entity should not be combined with User or ClientId")
    ((_, address),) = entity
    if address is not None:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise _invalid(f"{address} is not a valid IP or resolvable host.") from None
    return _OF_ADDRESSES


def _check_value(known: Mapping[str, int | None], key: str, value: float) -> None:
    if key not in known:
        raise _invalid(f"Invalid configuration key {key}")
    largest = known[key]
    # Written so that a NaN is refused as well.
    if not value > 0:
        raise _invalid(f"Quota {key} must be greater than 0")
    if largest is None:
        return
    if value > largest:
        raise _invalid(f"Proposed value for {key} is too large for {'an INT' if largest == _INT else 'a LONG'}.")
    if math.fmod(value, 1.0) > 1e-6:
        raise _invalid(f"{key} cannot be a fractional value.")


def _record(entity: QuotaEntity, key: str, value: float | None) -> recorded.ClientQuotaRecord:
    return recorded.ClientQuotaRecord(
        entity=[recorded.EntityData(entity_type=kind, entity_name=name) for kind, name in entity],
        key=key,
        value=0.0 if value is None else value,
        remove=value is None,
    )


def _comparable(entity: QuotaEntity) -> tuple[tuple[str, bool, str], ...]:
    """The same for an entity whatever the order of its parts."""
    return tuple(sorted((kind, name is None, name or "") for kind, name in entity))


def _shown(entity: QuotaEntity) -> str:
    return "{" + ", ".join(f"{kind}={'<default>' if name is None else name}" for kind, name in entity) + "}"


def _invalid(message: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_REQUEST, message)
