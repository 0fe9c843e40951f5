"""The answer of each controller API when the request fails as a whole (Kafka: AbstractRequest.getErrorResponse)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.model.errors import ErrorCode
from engine.wire.apis import ApiKey, response_class
from engine.wire.messages import (
    alter_client_quotas_response,
    alter_configs_response,
    alter_user_scram_credentials_response,
    create_acls_response,
    create_partitions_response,
    create_topics_response,
    delete_acls_response,
    delete_topics_response,
    elect_leaders_response,
    incremental_alter_configs_response,
)

Build = Callable[[Any, int, str], Any]


def error_response(api_key: int, request: Any, code: ErrorCode, message: str) -> Any:
    """The response that carries one error: at its top where it has such a field, else at each item asked for."""
    build = _PER_ITEM.get(api_key)
    if build is not None:
        return build(request, int(code), message)
    response: Any = response_class(api_key)()
    response.error_code = int(code)
    if hasattr(response, "error_message"):
        response.error_message = message
    return response


def is_not_controller(response: Any) -> bool:
    """Whether the node that answered was not the active controller: nothing was done, another must be asked."""
    if getattr(response, "error_code", 0) == ErrorCode.NOT_CONTROLLER:
        return True
    for field in ("topics", "responses", "results", "entries", "filter_results"):
        for item in getattr(response, field, None) or ():
            if getattr(item, "error_code", 0) == ErrorCode.NOT_CONTROLLER:
                return True
    # ElectLeaders in version 0 has no error of its own.
    for topic in getattr(response, "replica_election_results", ()):
        if any(each.error_code == ErrorCode.NOT_CONTROLLER for each in topic.partition_result):
            return True
    return False


def _create_topics(request: Any, code: int, message: str) -> Any:
    return create_topics_response.CreateTopicsResponse(
        topics=[
            create_topics_response.CreatableTopicResult(name=each.name, error_code=code, error_message=message)
            for each in request.topics
        ]
    )


def _delete_topics(request: Any, code: int, message: str) -> Any:
    results = [
        delete_topics_response.DeletableTopicResult(
            name=each.name, topic_id=each.topic_id, error_code=code, error_message=message
        )
        for each in request.topics
    ]
    results += [
        delete_topics_response.DeletableTopicResult(name=name, error_code=code, error_message=message)
        for name in request.topic_names
    ]
    return delete_topics_response.DeleteTopicsResponse(responses=results)


def _create_partitions(request: Any, code: int, message: str) -> Any:
    return create_partitions_response.CreatePartitionsResponse(
        results=[
            create_partitions_response.CreatePartitionsTopicResult(
                name=each.name, error_code=code, error_message=message
            )
            for each in request.topics
        ]
    )


def _alter_configs(request: Any, code: int, message: str) -> Any:
    return alter_configs_response.AlterConfigsResponse(
        responses=[
            alter_configs_response.AlterConfigsResourceResponse(
                error_code=code,
                error_message=message,
                resource_type=each.resource_type,
                resource_name=each.resource_name,
            )
            for each in request.resources
        ]
    )


def _incremental_alter_configs(request: Any, code: int, message: str) -> Any:
    return incremental_alter_configs_response.IncrementalAlterConfigsResponse(
        responses=[
            incremental_alter_configs_response.AlterConfigsResourceResponse(
                error_code=code,
                error_message=message,
                resource_type=each.resource_type,
                resource_name=each.resource_name,
            )
            for each in request.resources
        ]
    )


def _alter_client_quotas(request: Any, code: int, message: str) -> Any:
    return alter_client_quotas_response.AlterClientQuotasResponse(
        entries=[
            alter_client_quotas_response.EntryData(
                error_code=code,
                error_message=message,
                entity=[
                    alter_client_quotas_response.EntityData(entity_type=each.entity_type, entity_name=each.entity_name)
                    for each in entry.entity
                ],
            )
            for entry in request.entries
        ]
    )


def _alter_user_scram_credentials(request: Any, code: int, message: str) -> Any:
    users = dict.fromkeys(each.name for each in (*request.deletions, *request.upsertions))
    return alter_user_scram_credentials_response.AlterUserScramCredentialsResponse(
        results=[
            alter_user_scram_credentials_response.AlterUserScramCredentialsResult(
                user=user, error_code=code, error_message=message
            )
            for user in users
        ]
    )


def _create_acls(request: Any, code: int, message: str) -> Any:
    return create_acls_response.CreateAclsResponse(
        results=[
            create_acls_response.AclCreationResult(error_code=code, error_message=message) for _ in request.creations
        ]
    )


def _delete_acls(request: Any, code: int, message: str) -> Any:
    return delete_acls_response.DeleteAclsResponse(
        filter_results=[
            delete_acls_response.DeleteAclsFilterResult(error_code=code, error_message=message) for _ in request.filters
        ]
    )


def _elect_leaders(request: Any, code: int, message: str) -> Any:
    return elect_leaders_response.ElectLeadersResponse(
        error_code=code,
        replica_election_results=[
            elect_leaders_response.ReplicaElectionResult(
                topic=topic.topic,
                partition_result=[
                    elect_leaders_response.PartitionResult(partition_id=each, error_code=code, error_message=message)
                    for each in topic.partitions
                ],
            )
            for topic in request.topic_partitions or []
        ],
    )


_PER_ITEM: dict[int, Build] = {
    ApiKey.CREATE_TOPICS: _create_topics,
    ApiKey.DELETE_TOPICS: _delete_topics,
    ApiKey.CREATE_PARTITIONS: _create_partitions,
    ApiKey.ALTER_CONFIGS: _alter_configs,
    ApiKey.INCREMENTAL_ALTER_CONFIGS: _incremental_alter_configs,
    ApiKey.ELECT_LEADERS: _elect_leaders,
    ApiKey.ALTER_CLIENT_QUOTAS: _alter_client_quotas,
    ApiKey.ALTER_USER_SCRAM_CREDENTIALS: _alter_user_scram_credentials,
    ApiKey.CREATE_ACLS: _create_acls,
    ApiKey.DELETE_ACLS: _delete_acls,
}
