"""Access control lists: altered by the controller, described from any image (AclControlManager, StandardAuthorizer).

Kept and shown, not enforced: docs/decisions/0009. Without an authorizer in the configuration all of it is refused, as
Kafka refuses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from engine.core.controller.image import MetadataImage
from engine.core.controller.state import MAX_RECORDS_PER_USER_OP, ControllerState, Step
from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import Uuid
from engine.wire.messages import create_acls_response as created
from engine.wire.messages import delete_acls_response as deleted
from engine.wire.messages import describe_acls_response as described
from engine.wire.messages.access_control_entry_record import AccessControlEntryRecord
from engine.wire.messages.create_acls_request import AclCreation, CreateAclsRequest
from engine.wire.messages.delete_acls_request import DeleteAclsFilter, DeleteAclsRequest
from engine.wire.messages.describe_acls_request import DescribeAclsRequest
from engine.wire.messages.remove_access_control_entry_record import RemoveAccessControlEntryRecord

# ResourceType, PatternType, AclOperation, AclPermissionType: in all of them 0 is UNKNOWN and 1 is ANY.
UNKNOWN, ANY = 0, 1
CLUSTER_RESOURCE, CLUSTER_NAME = 4, "kafka-cluster"
MATCH, LITERAL, PREFIXED = 2, 3, 4
DENY, ALLOW = 2, 3
_RESOURCE_TYPES, _OPERATIONS = range(2, 8), range(2, 16)
_WILDCARD = "*"


class AclFilter(NamedTuple):
    """What an entry must be; ``None`` and ANY take everything (AclBindingFilter)."""

    resource_type: int
    resource_name: str | None
    pattern_type: int
    principal: str | None
    host: str | None
    operation: int
    permission_type: int

    @classmethod
    def of(cls, asked: DescribeAclsRequest | DeleteAclsFilter) -> AclFilter:
        """The filter of a request. Raises: KafkaError: INVALID_REQUEST: a kind that is not known."""
        if (
            asked.resource_type_filter not in (ANY, *_RESOURCE_TYPES)
            or asked.pattern_type_filter not in (ANY, MATCH, LITERAL, PREFIXED)
            or asked.operation not in (ANY, *_OPERATIONS)
            or asked.permission_type not in (ANY, DENY, ALLOW)
        ):
            raise KafkaError(ErrorCode.INVALID_REQUEST, "The filter contains unknown elements.")
        return cls(
            asked.resource_type_filter,
            asked.resource_name_filter,
            asked.pattern_type_filter,
            asked.principal_filter,
            asked.host_filter,
            asked.operation,
            asked.permission_type,
        )

    def takes(self, entry: AccessControlEntryRecord) -> bool:
        """Whether the entry is one of those asked for."""
        return (
            self.resource_type in (ANY, entry.resource_type)
            and self._takes_pattern(entry)
            and self.principal in (None, entry.principal)
            and self.host in (None, entry.host)
            and self.operation in (ANY, entry.operation)
            and self.permission_type in (ANY, entry.permission_type)
        )

    def _takes_pattern(self, entry: AccessControlEntryRecord) -> bool:
        name = self.resource_name
        if self.pattern_type not in (ANY, MATCH, entry.pattern_type):
            return False
        if name is None or name == entry.resource_name:
            return True
        if self.pattern_type != MATCH:
            return False
        # MATCH: every pattern that a resource of this name falls under.
        if entry.pattern_type == LITERAL:
            return entry.resource_name == _WILDCARD
        return entry.pattern_type == PREFIXED and name.startswith(entry.resource_name)


class AclControl:
    """Validates and records access control entries."""

    def __init__(self, state: ControllerState) -> None:
        self._state = state

    def create(self, step: Step, request: CreateAclsRequest) -> created.CreateAclsResponse:
        """Add entries, each for itself; one that is there already is added again without effect."""
        self._check_authorizer()
        response = created.CreateAclsResponse()
        known = {_content(each) for each in self._state.image.acls.values()}
        for creation in request.creations:
            result = created.AclCreationResult(error_code=0, error_message=None)
            try:
                _check_creation(creation)
            except KafkaError as error:
                result.error_code, result.error_message = int(error.code), error.message
            else:
                record = AccessControlEntryRecord(
                    id=self._state.random.uuid(),
                    resource_type=creation.resource_type,
                    resource_name=creation.resource_name,
                    pattern_type=creation.resource_pattern_type,
                    principal=creation.principal,
                    host=creation.host,
                    operation=creation.operation,
                    permission_type=creation.permission_type,
                )
                if _content(record) not in known:
                    known.add(_content(record))
                    step.records.append(record)
            response.results.append(result)
        step.check_size()
        return response

    def delete(self, step: Step, request: DeleteAclsRequest) -> deleted.DeleteAclsResponse:
        """Delete what the filters take; an entry that two of them take is in both answers."""
        self._check_authorizer()
        response = deleted.DeleteAclsResponse()
        gone: dict[Uuid, None] = {}
        for each in request.filters:
            result = deleted.DeleteAclsFilterResult(error_code=0, error_message=None)
            try:
                for acl_id, entry in _taken(self._state.image, AclFilter.of(each)):
                    gone[acl_id] = None
                    result.matching_acls.append(
                        deleted.DeleteAclsMatchingAcl(
                            error_code=0,
                            error_message=None,
                            resource_type=entry.resource_type,
                            resource_name=entry.resource_name,
                            pattern_type=entry.pattern_type,
                            principal=entry.principal,
                            host=entry.host,
                            operation=entry.operation,
                            permission_type=entry.permission_type,
                        )
                    )
            except KafkaError as error:
                result.error_code, result.error_message = int(error.code), error.message
            response.filter_results.append(result)
        if len(gone) > MAX_RECORDS_PER_USER_OP:
            raise KafkaError(
                ErrorCode.POLICY_VIOLATION,
                f"Cannot remove more than {MAX_RECORDS_PER_USER_OP} acls in a single delete operation.",
            )
        step.records += [RemoveAccessControlEntryRecord(id=each) for each in gone]
        return response

    def _check_authorizer(self) -> None:
        if not self._state.config.authorizer_class_name:
            raise KafkaError(ErrorCode.SECURITY_DISABLED, "No Authorizer is configured.")


def describe_acls(image: MetadataImage, request: DescribeAclsRequest) -> described.DescribeAclsResponse:
    """The entries that the filter takes, by resource pattern. Raises: KafkaError: INVALID_REQUEST."""
    response = described.DescribeAclsResponse(error_code=0, error_message=None)
    resources: dict[tuple[int, str, int], described.DescribeAclsResource] = {}
    for _, entry in _taken(image, AclFilter.of(request)):
        key = (entry.resource_type, entry.resource_name, entry.pattern_type)
        resource = resources.get(key)
        if resource is None:
            resource = resources[key] = described.DescribeAclsResource(*key)
        resource.acls.append(
            described.AclDescription(entry.principal, entry.host, entry.operation, entry.permission_type)
        )
    response.resources = list(resources.values())
    return response


def _taken(image: MetadataImage, wanted: AclFilter) -> Iterator[tuple[Uuid, AccessControlEntryRecord]]:
    for acl_id, entry in image.acls.items():
        if wanted.takes(entry):
            yield acl_id, entry


def _check_creation(creation: AclCreation) -> None:
    if creation.resource_type == CLUSTER_RESOURCE and creation.resource_name != CLUSTER_NAME:
        raise _invalid(f"The only valid name for the CLUSTER resource is {CLUSTER_NAME}")
    if not creation.resource_name:
        raise _invalid("Invalid empty resource name")
    if creation.resource_type not in _RESOURCE_TYPES:
        raise _invalid(f"Invalid resourceType {_kind(creation.resource_type)}")
    if creation.resource_pattern_type not in (LITERAL, PREFIXED):
        raise _invalid(f"Invalid patternType {_kind(creation.resource_pattern_type)}")
    if creation.operation not in _OPERATIONS:
        raise _invalid(f"Invalid operation {_kind(creation.operation)}")
    if creation.permission_type not in (DENY, ALLOW):
        raise _invalid(f"Invalid permissionType {_kind(creation.permission_type)}")
    # KafkaPrincipal: a type and a name.
    if ":" not in creation.principal:
        raise _invalid(
            f"Could not parse principal from `{creation.principal}` (no colon is present separating the "
            "principal type from the principal name)"
        )


def _kind(number: int) -> str:
    return {ANY: "ANY", MATCH: "MATCH"}.get(number, "UNKNOWN")


def _content(entry: AccessControlEntryRecord) -> tuple[Any, ...]:
    return (
        entry.resource_type,
        entry.resource_name,
        entry.pattern_type,
        entry.principal,
        entry.host,
        entry.operation,
        entry.permission_type,
    )


def _invalid(message: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_REQUEST, message)
