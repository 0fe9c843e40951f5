"""Quotas of users, clients and addresses (KIP-546)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from engine.client.admin.base import AdminBase
from engine.client.admin.outcome import check, refusal
from engine.model.errors import KafkaError
from engine.wire.messages.alter_client_quotas_request import AlterClientQuotasRequest, EntityData, EntryData, OpData
from engine.wire.messages.alter_client_quotas_response import AlterClientQuotasResponse
from engine.wire.messages.describe_client_quotas_request import DescribeClientQuotasRequest
from engine.wire.messages.describe_client_quotas_response import DescribeClientQuotasResponse


class QuotaEntity(NamedTuple):
    """Whose quotas: pairs of a type (``user``, ``client-id``, ``ip``) and a name, sorted by type. The name ``None`` is
    the default of that type: it holds for whoever has none by name."""

    parts: tuple[tuple[str, str | None], ...]


class QuotaAdmin(AdminBase):
    """Any broker describes; changes are forwarded to the active controller."""

    async def describe_client_quotas(self, *, timeout_ms: float | None = None) -> dict[QuotaEntity, dict[str, float]]:
        """The quotas of every entity that has some, by their names.

        Raises:
            ClientError: nobody answers.
            KafkaError: refused.
        """
        # No component and not strict: all.
        request = DescribeClientQuotasRequest()
        response: DescribeClientQuotasResponse = await self.brokers.send_any(request, timeout_ms=timeout_ms)
        check(response.error_code, response.error_message)
        return {
            _entity((each.entity_type, each.entity_name) for each in entry.entity): {
                each.key: each.value for each in entry.values
            }
            for entry in response.entries or ()
        }

    async def alter_client_quotas(
        self,
        changes: Mapping[QuotaEntity, Mapping[str, float | None]],
        *,
        validate_only: bool = False,
        timeout_ms: float = 15_000,
    ) -> dict[QuotaEntity, KafkaError | None]:
        """Set quotas, and remove those whose value is ``None``; each entity as a whole or not at all.

        Raises:
            ClientError: nobody answers.
        """
        entries = [
            EntryData(
                entity=[EntityData(entity_type=kind, entity_name=name) for kind, name in entity.parts],
                ops=[OpData(key=key, value=value or 0.0, remove=value is None) for key, value in wanted.items()],
            )
            for entity, wanted in changes.items()
        ]
        request = AlterClientQuotasRequest(entries=entries, validate_only=validate_only)
        response: AlterClientQuotasResponse = await self.brokers.send_any(
            request, timeout_ms=timeout_ms, idempotent=False
        )
        return {
            _entity((each.entity_type, each.entity_name) for each in entry.entity): refusal(
                entry.error_code, entry.error_message
            )
            for entry in response.entries
        }


def _entity(parts: Iterable[tuple[str, str | None]]) -> QuotaEntity:
    return QuotaEntity(tuple(sorted(parts, key=lambda part: part[0])))
