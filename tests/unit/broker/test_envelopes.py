"""What a client asks any broker for, and only the controller can do, goes there in an envelope (KIP-590)."""

from __future__ import annotations

import pytest

from engine.model.errors import ErrorCode
from engine.wire import codec
from engine.wire.apis import ApiKey
from engine.wire.messages.create_topics_request import CreatableTopic, CreateTopicsRequest
from engine.wire.messages.create_topics_response import CreateTopicsResponse
from engine.wire.messages.default_principal_data import DefaultPrincipalData
from engine.wire.messages.envelope_request import EnvelopeRequest
from engine.wire.messages.metadata_request import MetadataRequest
from engine.wire.messages.request_header import RequestHeader
from engine.wire.messages.response_header import ResponseHeader
from tests.unit.broker.in_process_cluster import CONTROLLER_PORT, InProcessCluster

PRINCIPAL = b"\0\0" + codec.encode(DefaultPrincipalData("User", "alice"), 0)


def enclosed(key: ApiKey, version: int, body: bytes, header_version: int = 2) -> bytes:
    return codec.encode(RequestHeader(int(key), version, 77, "someone"), header_version) + body


def creating(name: str) -> bytes:
    request = CreateTopicsRequest([CreatableTopic(name, 1, 1)], timeout_ms=5000)
    return enclosed(ApiKey.CREATE_TOPICS, 7, codec.encode(request, 7))


async def send(cluster: InProcessCluster, node_id: int, data: bytes, principal: bytes | None = PRINCIPAL) -> object:
    connection = await cluster.connection(node_id, port=CONTROLLER_PORT)
    return await connection.send(EnvelopeRequest(data, principal, b"\x7f\0\0\1"), version=0)


async def test_the_controller_answers_what_is_inside_with_its_header(cluster: InProcessCluster) -> None:
    answer = await send(cluster, cluster.controller_id, creating("t"))
    assert answer.error_code == 0  # type: ignore[attr-defined]
    data = answer.response_data  # type: ignore[attr-defined]
    header, position = codec.decode(ResponseHeader, 1, data)
    response, end = codec.decode(CreateTopicsResponse, 7, data, position)
    assert header.correlation_id == 77 and end == len(data)
    assert [(each.name, each.error_code) for each in response.topics] == [("t", 0)]
    await cluster.until(lambda: all("t" in each.metadata.image.topics_by_name for each in cluster))


async def test_a_node_that_is_not_the_controller_says_so_in_the_envelope(cluster: InProcessCluster) -> None:
    other = next(each for each in cluster.node_ids if each != cluster.controller_id)
    answer = await send(cluster, other, creating("t"))
    assert (answer.error_code, answer.response_data) == (ErrorCode.NOT_CONTROLLER, None)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("data", "principal", "error"),
    [
        (creating("t"), None, ErrorCode.PRINCIPAL_DESERIALIZATION_FAILURE),
        (creating("t"), b"\0\x09abc", ErrorCode.PRINCIPAL_DESERIALIZATION_FAILURE),
        (creating("t"), PRINCIPAL[:-3], ErrorCode.PRINCIPAL_DESERIALIZATION_FAILURE),
        (b"\0", PRINCIPAL, ErrorCode.INVALID_REQUEST),
        (creating("t")[:-4], PRINCIPAL, ErrorCode.INVALID_REQUEST),
        (enclosed(ApiKey.METADATA, 12, codec.encode(MetadataRequest(), 12)), PRINCIPAL, ErrorCode.INVALID_REQUEST),
        (enclosed(ApiKey.ENVELOPE, 0, b""), PRINCIPAL, ErrorCode.INVALID_REQUEST),
        (enclosed(ApiKey.CREATE_TOPICS, 99, b""), PRINCIPAL, ErrorCode.UNSUPPORTED_VERSION),
    ],
)
async def test_what_is_not_to_be_understood_is_refused_in_the_envelope(
    cluster: InProcessCluster, data: bytes, principal: bytes | None, error: ErrorCode
) -> None:
    answer = await send(cluster, cluster.controller_id, data, principal)
    assert (answer.error_code, answer.response_data) == (error, None)  # type: ignore[attr-defined]
    # The connection goes on.
    answer = await send(cluster, cluster.controller_id, creating("u"))
    assert answer.error_code == 0  # type: ignore[attr-defined]


async def test_any_broker_creates_a_topic_and_tells_errors(cluster: InProcessCluster) -> None:
    other = next(each for each in cluster.node_ids if each != cluster.controller_id)
    before = cluster[cluster.controller_id].router.request_counts().get("ENVELOPE", 0)
    request = CreateTopicsRequest([CreatableTopic("t", 1, 1), CreatableTopic("bad name", 1, 1)], timeout_ms=5000)
    for version in (2, 5, 7):
        answer = await cluster.ask(other, request, version)
        first = ErrorCode.NONE if version == 2 else ErrorCode.TOPIC_ALREADY_EXISTS
        assert {each.name: each.error_code for each in answer.topics} == {
            "t": first,
            "bad name": ErrorCode.INVALID_TOPIC_EXCEPTION,
        }
    assert cluster[cluster.controller_id].router.request_counts()["ENVELOPE"] == before + 3
