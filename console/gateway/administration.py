"""What the console asks of any cluster to administer it: configs, access, quotas, disks, producers. All of it goes by
Kafka's protocol alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from console.viewmodel.acls import AclRow, AclWish
from console.viewmodel.client_quotas import QuotaChange, QuotaRow
from console.viewmodel.configs import ConfigOf, ConfigValue, Edit
from console.viewmodel.keeping import Told
from console.viewmodel.producers import ProducerRow
from console.viewmodel.scram_users import ScramRow, ScramWish
from console.viewmodel.transactions import TransactionRow


class Administration(Protocol):
    """Every method raises GatewayError with a sentence, and nothing else. Changes are refused when read-only."""

    async def configs(self, of: ConfigOf) -> list[ConfigValue]:
        """All configs of something, with synonyms and documentation."""

    async def alter_configs(self, of: ConfigOf, edits: Sequence[Edit], *, validate_only: bool) -> None:
        """Change single configs, all or none; with ``validate_only`` the brokers say whether they would."""

    async def acls(self, wish: AclWish) -> list[AclRow]:
        """Entries that a filter takes."""

    async def create_acl(self, row: AclRow) -> None:
        """Create an entry."""

    async def delete_acls(self, rows: Sequence[AclRow]) -> int:
        """Delete just these. Returns how many are gone."""

    async def scram_users(self) -> list[ScramRow]:
        """Users with credentials."""

    async def set_scram_user(self, wish: ScramWish) -> None:
        """Set a credential; the password is salted here and goes nowhere."""

    async def delete_scram_users(self, rows: Sequence[ScramRow]) -> None:
        """Delete credentials."""

    async def quotas(self) -> list[QuotaRow]:
        """Entities with quotas."""

    async def alter_quotas(self, change: QuotaChange, *, validate_only: bool) -> None:
        """Set and remove quotas of an entity, all or none."""

    async def log_dirs(self, broker: int | None = None) -> Told:
        """LogDirRows by broker: of all, or of one."""

    async def producers(self, partitions: Mapping[str, Sequence[int] | None]) -> Told:
        """ProducerRows by partition, of the partitions (``None``: all) of topics."""

    async def hanging_transactions(self, max_transaction_timeout_ms: int) -> list[ProducerRow]:
        """Open transactions in all partitions that no coordinator will end, as ``kafka-transactions.sh`` finds them."""

    async def abort_transaction(self, row: ProducerRow) -> None:
        """Write an abort marker for a partition's open transaction, unless it has ended meanwhile."""

    async def terminate_transaction(self, row: TransactionRow) -> None:
        """Fence the producer of a transactional id; what it has open is aborted."""

    async def delete_records(self, offsets: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], int]:
        """Let logs start at offsets (-1: the high watermark). Where they start now."""
