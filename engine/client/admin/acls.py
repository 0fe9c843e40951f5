"""Access control lists: describing, creating, deleting (KIP-140, KIP-290)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import NamedTuple

from engine.client.admin.base import AdminBase
from engine.client.admin.outcome import check, refusal
from engine.model.errors import KafkaError
from engine.wire.messages.create_acls_request import AclCreation, CreateAclsRequest
from engine.wire.messages.create_acls_response import CreateAclsResponse
from engine.wire.messages.delete_acls_request import DeleteAclsFilter, DeleteAclsRequest
from engine.wire.messages.delete_acls_response import DeleteAclsResponse
from engine.wire.messages.describe_acls_request import DescribeAclsRequest
from engine.wire.messages.describe_acls_response import DescribeAclsResponse


class AclResource(IntEnum):
    """org.apache.kafka.common.resource.ResourceType. ANY stands in filters only."""

    UNKNOWN = 0
    ANY = 1
    TOPIC = 2
    GROUP = 3
    CLUSTER = 4
    TRANSACTIONAL_ID = 5
    DELEGATION_TOKEN = 6
    USER = 7

    @classmethod
    def _missing_(cls, value: object) -> AclResource | None:
        return cls.UNKNOWN if isinstance(value, int) else None


class AclPattern(IntEnum):
    """PatternType. ANY and MATCH stand in filters only; MATCH: all patterns that a name falls under."""

    UNKNOWN = 0
    ANY = 1
    MATCH = 2
    LITERAL = 3
    PREFIXED = 4

    @classmethod
    def _missing_(cls, value: object) -> AclPattern | None:
        return cls.UNKNOWN if isinstance(value, int) else None


class AclOperation(IntEnum):
    """AclOperation. ANY stands in filters only."""

    UNKNOWN = 0
    ANY = 1
    ALL = 2
    READ = 3
    WRITE = 4
    CREATE = 5
    DELETE = 6
    ALTER = 7
    DESCRIBE = 8
    CLUSTER_ACTION = 9
    DESCRIBE_CONFIGS = 10
    ALTER_CONFIGS = 11
    IDEMPOTENT_WRITE = 12
    CREATE_TOKENS = 13
    DESCRIBE_TOKENS = 14
    TWO_PHASE_COMMIT = 15

    @classmethod
    def _missing_(cls, value: object) -> AclOperation | None:
        return cls.UNKNOWN if isinstance(value, int) else None


class AclPermission(IntEnum):
    """AclPermissionType. ANY stands in filters only."""

    UNKNOWN = 0
    ANY = 1
    DENY = 2
    ALLOW = 3

    @classmethod
    def _missing_(cls, value: object) -> AclPermission | None:
        return cls.UNKNOWN if isinstance(value, int) else None


class AclBinding(NamedTuple):
    """An entry, and the resources that it is about. ``principal`` is ``User:alice``, ``host`` an address or ``*``."""

    resource_type: AclResource
    resource_name: str
    pattern_type: AclPattern
    principal: str
    host: str
    operation: AclOperation
    permission: AclPermission


class AclFilter(NamedTuple):
    """What an entry must be; ``None`` and ANY take everything."""

    resource_type: AclResource = AclResource.ANY
    resource_name: str | None = None
    pattern_type: AclPattern = AclPattern.ANY
    principal: str | None = None
    host: str | None = None
    operation: AclOperation = AclOperation.ANY
    permission: AclPermission = AclPermission.ANY


class AclAdmin(AdminBase):
    """Any broker describes; changes are forwarded to the active controller."""

    async def describe_acls(
        self, wanted: AclFilter | None = None, *, timeout_ms: float | None = None
    ) -> list[AclBinding]:
        """Entries that a filter takes, sorted.

        Raises:
            ClientError: nobody answers.
            KafkaError: SECURITY_DISABLED: the brokers have no authorizer; or refused otherwise.
        """
        request = DescribeAclsRequest(*(wanted or AclFilter()))
        response: DescribeAclsResponse = await self.brokers.send_any(request, timeout_ms=timeout_ms)
        check(response.error_code, response.error_message)
        return sorted(
            AclBinding(
                AclResource(resource.resource_type),
                resource.resource_name,
                AclPattern(resource.pattern_type),
                entry.principal,
                entry.host,
                AclOperation(entry.operation),
                AclPermission(entry.permission_type),
            )
            for resource in response.resources
            for entry in resource.acls
        )

    async def create_acls(
        self, bindings: Sequence[AclBinding], *, timeout_ms: float = 15_000
    ) -> dict[AclBinding, KafkaError | None]:
        """Create entries; one that is there already is no error.

        Raises:
            ClientError: nobody answers.
        """
        request = CreateAclsRequest(creations=[AclCreation(*each) for each in bindings])
        response: CreateAclsResponse = await self.brokers.send_any(request, timeout_ms=timeout_ms, idempotent=False)
        return {
            binding: refusal(result.error_code, result.error_message)
            for binding, result in zip(bindings, response.results, strict=True)
        }

    async def delete_acls(self, filters: Iterable[AclFilter], *, timeout_ms: float = 15_000) -> list[AclBinding]:
        """Delete what filters take; the entries that are gone.

        Raises:
            ClientError: nobody answers.
            KafkaError: a filter, or one of the deletions, is refused.
        """
        request = DeleteAclsRequest(filters=[DeleteAclsFilter(*each) for each in filters])
        response: DeleteAclsResponse = await self.brokers.send_any(request, timeout_ms=timeout_ms, idempotent=False)
        gone: list[AclBinding] = []
        for result in response.filter_results:
            check(result.error_code, result.error_message)
            for entry in result.matching_acls:
                check(entry.error_code, entry.error_message)
                gone.append(
                    AclBinding(
                        AclResource(entry.resource_type),
                        entry.resource_name,
                        AclPattern(entry.pattern_type),
                        entry.principal,
                        entry.host,
                        AclOperation(entry.operation),
                        AclPermission(entry.permission_type),
                    )
                )
        return gone
