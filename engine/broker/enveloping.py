"""Requests in envelopes: a broker seals what its client asked of the controller, the controller opens it (KIP-590).

Kafka: ForwardingManager, EnvelopeUtils, DefaultKafkaPrincipalBuilder (the serialized principal).
"""

from __future__ import annotations

import inspect
import ipaddress
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.broker.context import RequestContext
from engine.model.errors import ErrorCode, KafkaError
from engine.wire import apis, codec
from engine.wire.apis import ApiKey
from engine.wire.messages.default_principal_data import DefaultPrincipalData
from engine.wire.messages.envelope_request import EnvelopeRequest
from engine.wire.messages.request_header import RequestHeader
from engine.wire.messages.response_header import ResponseHeader

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.wire.message import Message
    from engine.wire.messages.envelope_response import EnvelopeResponse

# ApiKeys.forwardable in Kafka.
FORWARDABLE = frozenset(
    {
        ApiKey.CREATE_TOPICS,
        ApiKey.DELETE_TOPICS,
        ApiKey.CREATE_ACLS,
        ApiKey.DELETE_ACLS,
        ApiKey.ALTER_CONFIGS,
        ApiKey.CREATE_PARTITIONS,
        ApiKey.CREATE_DELEGATION_TOKEN,
        ApiKey.RENEW_DELEGATION_TOKEN,
        ApiKey.EXPIRE_DELEGATION_TOKEN,
        ApiKey.ELECT_LEADERS,
        ApiKey.INCREMENTAL_ALTER_CONFIGS,
        ApiKey.ALTER_PARTITION_REASSIGNMENTS,
        ApiKey.LIST_PARTITION_REASSIGNMENTS,
        ApiKey.ALTER_CLIENT_QUOTAS,
        ApiKey.ALTER_USER_SCRAM_CREDENTIALS,
        ApiKey.UPDATE_FEATURES,
        ApiKey.DESCRIBE_QUORUM,
        ApiKey.UNREGISTER_BROKER,
        ApiKey.ADD_RAFT_VOTER,
        ApiKey.REMOVE_RAFT_VOTER,
    }
)
_KEY_AND_VERSION = Struct(">hh")
_VERSION = Struct(">h")
_PRINCIPAL_VERSION = 0


class Enclosed(NamedTuple):
    """The request that was in an envelope."""

    context: RequestContext
    request: Message
    handle: Callable[[RequestContext, Any], Any]

    async def answer(self) -> Message:
        """What the API's handler says. Raises as the handler does."""
        answer = self.handle(self.context, self.request)
        response: Message = await answer if inspect.isawaitable(answer) else answer
        return response


def open_envelope(context: RequestContext, envelope: EnvelopeRequest) -> Enclosed:
    """Parse what is inside.

    Raises:
        KafkaError: PRINCIPAL_DESERIALIZATION_FAILURE; INVALID_REQUEST, the request does not parse or is none that a
            broker forwards; UNSUPPORTED_VERSION.
    """
    principal = _parse_principal(envelope.request_principal)
    data = envelope.request_data
    if len(data) < _KEY_AND_VERSION.size:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"an enclosed request of {len(data)} bytes")
    key, version = _KEY_AND_VERSION.unpack_from(data)
    if key not in FORWARDABLE:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"API key {key} is not forwarded in an envelope")
    served = context.broker.router.find(key, context.is_controller_listener)
    if served is None or not served.spec.min_version <= version <= served.spec.max_version:
        raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"{ApiKey(key).name} v{version} is not served")
    try:
        header, position = codec.decode(RequestHeader, apis.request_header_version(key, version), data)
        request, _ = codec.decode(apis.request_class(key), version, data, position)
    except codec.DecodeError as error:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"the enclosed request does not parse: {error}") from error
    inner = RequestContext(context.broker, context.connection, key, version, header.correlation_id, header.client_id)
    inner.principal = principal
    return Enclosed(inner, request, served.handle)


def answer_enveloped(context: RequestContext, response: Message) -> bytes:
    """The response with its header, as the client of the broker will get it but for the size."""
    header_version = apis.response_header_version(context.api_key, context.api_version)
    head = codec.encode(ResponseHeader(correlation_id=context.correlation_id), header_version)
    return head + codec.encode(response, context.api_version)


def seal(context: RequestContext, request: Message) -> EnvelopeRequest:
    """An envelope around a client's request."""
    key, version = context.api_key, context.api_version
    header = RequestHeader(
        request_api_key=key,
        request_api_version=version,
        correlation_id=context.correlation_id,
        client_id=context.client_id,
    )
    head = codec.encode(header, apis.request_header_version(key, version))
    kind, _, name = context.principal.partition(":")
    principal = codec.encode(DefaultPrincipalData(type=kind, name=name), _PRINCIPAL_VERSION)
    try:
        address = ipaddress.ip_address(context.connection.peer_host).packed
    except ValueError:
        # A connection that is no socket's (simulated).
        address = bytes(4)
    return EnvelopeRequest(
        request_data=head + codec.encode(request, version),
        request_principal=_VERSION.pack(_PRINCIPAL_VERSION) + principal,
        client_host_address=address,
    )


def unseal(context: RequestContext, envelope: EnvelopeResponse) -> Message:
    """The controller's answer to what was sealed.

    Raises:
        KafkaError: the envelope's error; UNKNOWN_SERVER_ERROR, nothing that parses is inside.
    """
    if envelope.error_code != ErrorCode.NONE:
        raise KafkaError(ErrorCode(envelope.error_code), "the controller took no envelope")
    key, version = context.api_key, context.api_version
    data = envelope.response_data or b""
    try:
        _, position = codec.decode(ResponseHeader, apis.response_header_version(key, version), data)
        response, _ = codec.decode(apis.response_class(key), version, data, position)
    except codec.DecodeError as error:
        raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, f"the controller's answer does not parse: {error}") from error
    return response


def _parse_principal(data: bytes | None) -> str:
    """``User:alice``. Raises: KafkaError: PRINCIPAL_DESERIALIZATION_FAILURE."""
    try:
        if data is None or len(data) < _VERSION.size:
            raise codec.DecodeError("no principal")
        (version,) = _VERSION.unpack_from(data)
        principal, _ = codec.decode(DefaultPrincipalData, version, data, _VERSION.size)
    except codec.DecodeError as error:
        message = f"the principal of an envelope does not parse: {error}"
        raise KafkaError(ErrorCode.PRINCIPAL_DESERIALIZATION_FAILURE, message) from error
    return f"{principal.type}:{principal.name}"
