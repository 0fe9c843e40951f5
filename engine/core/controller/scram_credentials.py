"""SCRAM credentials of users: altered by the controller, described without secrets from any image (KIP-554, KIP-900).

Kafka: ScramControlManager, ScramImage. The client sends the salted password; what is kept are the two keys made from
it (RFC 5802), with which a server can check a password and nobody can log in.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from typing import Any

from engine.core.controller.image import MetadataImage
from engine.core.controller.state import ControllerState, Step
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.messages import describe_user_scram_credentials_response as described
from engine.wire.messages.alter_user_scram_credentials_request import (
    AlterUserScramCredentialsRequest,
    ScramCredentialUpsertion,
)
from engine.wire.messages.alter_user_scram_credentials_response import (
    AlterUserScramCredentialsResponse,
    AlterUserScramCredentialsResult,
)
from engine.wire.messages.describe_user_scram_credentials_request import DescribeUserScramCredentialsRequest
from engine.wire.messages.remove_user_scram_credential_record import RemoveUserScramCredentialRecord
from engine.wire.messages.user_scram_credential_record import UserScramCredentialRecord

# ScramMechanism's numbers, each with its hash.
MECHANISMS = {1: "sha256", 2: "sha512"}
MIN_ITERATIONS, MAX_ITERATIONS = 4096, 16384


class ScramControl:
    """Validates and records credentials."""

    def __init__(self, state: ControllerState) -> None:
        self._state = state

    def alter(self, step: Step, request: AlterUserScramCredentialsRequest) -> AlterUserScramCredentialsResponse:
        """Set and delete credentials. A user that is named twice is refused, and changed not at all."""
        response = AlterUserScramCredentialsResponse()
        changes: list[Any] = [*request.deletions, *request.upsertions]
        named = Counter(each.name for each in changes)
        refused: set[str] = set()
        for change in changes:
            result = AlterUserScramCredentialsResult(user=change.name, error_code=0, error_message=None)
            try:
                if named[change.name] > 1:
                    raise KafkaError(
                        ErrorCode.DUPLICATE_RESOURCE, "A user credential cannot be altered twice in the same request"
                    )
                step.records.append(self._record(change))
            except KafkaError as error:
                if change.name in refused:
                    continue
                refused.add(change.name)
                result.error_code, result.error_message = int(error.code), error.message
            response.results.append(result)
        step.check_size()
        return response

    def _record(self, change: Any) -> UserScramCredentialRecord | RemoveUserScramCredentialRecord:
        if not change.name:
            raise KafkaError(ErrorCode.UNACCEPTABLE_CREDENTIAL, "Username must not be empty")
        if change.mechanism not in MECHANISMS:
            raise KafkaError(ErrorCode.UNSUPPORTED_SASL_MECHANISM, "Unknown SCRAM mechanism")
        if isinstance(change, ScramCredentialUpsertion):
            if change.iterations < MIN_ITERATIONS:
                raise KafkaError(ErrorCode.UNACCEPTABLE_CREDENTIAL, "Too few iterations")
            if change.iterations > MAX_ITERATIONS:
                raise KafkaError(ErrorCode.UNACCEPTABLE_CREDENTIAL, "Too many iterations")
            return credential(
                change.name, change.mechanism, change.iterations, bytes(change.salt), bytes(change.salted_password)
            )
        if (change.name, change.mechanism) not in self._state.image.scram_credentials:
            raise KafkaError(ErrorCode.RESOURCE_NOT_FOUND, "Attempt to delete a user credential that does not exist")
        return RemoveUserScramCredentialRecord(name=change.name, mechanism=change.mechanism)


def credential(
    name: str, mechanism: int, iterations: int, salt: bytes, salted_password: bytes
) -> UserScramCredentialRecord:
    """What is kept of a password (RFC 5802, section 3)."""
    hash_name = MECHANISMS[mechanism]
    client_key = hmac.digest(salted_password, b"Client Key", hash_name)
    return UserScramCredentialRecord(
        name=name,
        mechanism=mechanism,
        salt=salt,
        stored_key=hashlib.new(hash_name, client_key).digest(),
        server_key=hmac.digest(salted_password, b"Server Key", hash_name),
        iterations=iterations,
    )


def describe_scram_credentials(
    image: MetadataImage, request: DescribeUserScramCredentialsRequest
) -> described.DescribeUserScramCredentialsResponse:
    """Mechanisms and iterations of the users asked for, or of all; never salts or keys."""
    response = described.DescribeUserScramCredentialsResponse(error_code=0, error_message=None)
    asked = Counter(each.name for each in request.users or ())
    if not asked:
        asked = Counter(dict.fromkeys((user for user, _ in image.scram_credentials), 1))
    for user, times in asked.items():
        result = described.DescribeUserScramCredentialsResult(user=user, error_code=0, error_message=None)
        result.credential_infos = [
            described.CredentialInfo(mechanism=mechanism, iterations=found.iterations)
            for mechanism in MECHANISMS
            if (found := image.scram_credentials.get((user, mechanism))) is not None
        ]
        if times > 1:
            result.credential_infos = []
            result.error_code = int(ErrorCode.DUPLICATE_RESOURCE)
            result.error_message = (
                f"Cannot describe SCRAM credentials for the same user twice in a single request: {user}"
            )
        elif not result.credential_infos:
            result.error_code = int(ErrorCode.RESOURCE_NOT_FOUND)
            result.error_message = f"Attempt to describe a user credential that does not exist: {user}"
        response.results.append(result)
    return response
