"""SCRAM credentials of users (KIP-554). The password never leaves this process: what is sent is the salted one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

from engine.client.admin.base import AdminBase
from engine.client.admin.outcome import check, refusal
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.messages.alter_user_scram_credentials_request import (
    AlterUserScramCredentialsRequest,
    ScramCredentialDeletion,
    ScramCredentialUpsertion,
)
from engine.wire.messages.alter_user_scram_credentials_response import AlterUserScramCredentialsResponse
from engine.wire.messages.describe_user_scram_credentials_request import DescribeUserScramCredentialsRequest
from engine.wire.messages.describe_user_scram_credentials_response import DescribeUserScramCredentialsResponse


class ScramMechanism(IntEnum):
    """ScramMechanism's numbers; a name with hyphens is that of SASL."""

    UNKNOWN = 0
    SCRAM_SHA_256 = 1
    SCRAM_SHA_512 = 2

    @classmethod
    def _missing_(cls, value: object) -> ScramMechanism | None:
        return cls.UNKNOWN if isinstance(value, int) else None

    @property
    def sasl_name(self) -> str:
        """``SCRAM-SHA-256``."""
        return self.name.replace("_", "-")


_HASHES = {ScramMechanism.SCRAM_SHA_256: "sha256", ScramMechanism.SCRAM_SHA_512: "sha512"}


class ScramCredential(NamedTuple):
    """That a user has a credential; salts and keys are never told."""

    user: str
    mechanism: ScramMechanism
    iterations: int


class ScramUpsertion(NamedTuple):
    """A credential to set."""

    user: str
    mechanism: ScramMechanism
    iterations: int
    salt: bytes
    salted_password: bytes

    def __repr__(self) -> str:
        return f"ScramUpsertion({self.user!r}, {self.mechanism.sasl_name}, {self.iterations})"


def salted(user: str, mechanism: ScramMechanism, iterations: int, password: str, salt: bytes) -> ScramUpsertion:
    """The credential of a password, salted as Kafka's AdminClient does (ScramFormatter.saltedPassword: Hi of RFC 5802
    over the password's UTF-8; no SASLprep)."""
    key = hashlib.pbkdf2_hmac(_HASHES[mechanism], password.encode(), salt, iterations)
    return ScramUpsertion(user, mechanism, iterations, salt, key)


class ScramAdmin(AdminBase):
    """Any broker describes; changes are forwarded to the active controller."""

    async def describe_scram_credentials(self, *, timeout_ms: float | None = None) -> list[ScramCredential]:
        """Those of all users, sorted.

        Raises:
            ClientError: nobody answers.
            KafkaError: refused.
        """
        response: DescribeUserScramCredentialsResponse = await self.brokers.send_any(
            DescribeUserScramCredentialsRequest(users=None), timeout_ms=timeout_ms
        )
        check(response.error_code, response.error_message)
        found: list[ScramCredential] = []
        for result in response.results:
            # A user may lose the last credential between two steps of a broker.
            if result.error_code != ErrorCode.RESOURCE_NOT_FOUND:
                check(result.error_code, result.error_message)
            found += [
                ScramCredential(result.user, ScramMechanism(each.mechanism), each.iterations)
                for each in result.credential_infos
            ]
        return sorted(found)

    async def alter_scram_credentials(
        self,
        upsertions: Iterable[ScramUpsertion] = (),
        deletions: Iterable[tuple[str, ScramMechanism]] = (),
        *,
        timeout_ms: float = 15_000,
    ) -> dict[str, KafkaError | None]:
        """Set and delete credentials, by user. A user can be named once.

        Raises:
            ClientError: nobody answers.
        """
        request = AlterUserScramCredentialsRequest(
            deletions=[ScramCredentialDeletion(name=user, mechanism=int(each)) for user, each in deletions],
            upsertions=[
                ScramCredentialUpsertion(
                    name=each.user,
                    mechanism=int(each.mechanism),
                    iterations=each.iterations,
                    salt=each.salt,
                    salted_password=each.salted_password,
                )
                for each in upsertions
            ],
        )
        response: AlterUserScramCredentialsResponse = await self.brokers.send_any(
            request, timeout_ms=timeout_ms, idempotent=False
        )
        return {result.user: refusal(result.error_code, result.error_message) for result in response.results}
