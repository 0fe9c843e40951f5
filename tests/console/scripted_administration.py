"""The administration of the scripted cluster: some of everything, and what was asked for is kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from console.gateway import GatewayError
from console.viewmodel.acls import AclRow, AclWish
from console.viewmodel.client_quotas import QuotaChange, QuotaRow
from console.viewmodel.configs import BROKER, ConfigOf, ConfigValue, Edit, Synonym
from console.viewmodel.keeping import Told
from console.viewmodel.log_dirs import LogDirRow, ReplicaRow
from console.viewmodel.producers import ProducerRow
from console.viewmodel.scram_users import ScramRow, ScramWish
from console.viewmodel.transactions import TransactionRow

GIB = 1 << 30


def config(name: str, kind: str, *synonyms: tuple[str, str], read_only: bool = False) -> ConfigValue:
    chain = tuple(Synonym(name, value, source) for value, source in synonyms)
    about = {"retention.ms": "How long records are kept before segments are deleted."}.get(name, "")
    return ConfigValue(name, chain[0].value, chain[0].source, read_only, False, about, chain, kind)


class ScriptedAdministration:
    """``silent`` brokers tell nothing of their disks."""

    def __init__(self, act: Callable[..., Awaitable[None]], maybe_refuse: Callable[[], None]) -> None:
        self._act, self._maybe_refuse = act, maybe_refuse
        self.silent: set[int] = set()
        # A sentence with which every change is refused when it is only to be checked.
        self.invalid = ""
        self.broker_2_differs = True

    async def configs(self, of: ConfigOf) -> list[ConfigValue]:
        self._maybe_refuse()
        if of.kind == BROKER and not of.name:
            return [config("log.cleaner.threads", "INT", ("2", of.level))]
        if of.kind == BROKER:
            threads = [("4", of.level)] if of.name == "2" else []
            return [
                config("log.dirs", "STRING", (f"/data/{of.name}", "STATIC_BROKER_CONFIG"), read_only=True),
                config("num.io.threads", "INT", *threads, ("8", "DEFAULT_CONFIG")),
                ConfigValue("ssl.keystore.password", None, "STATIC_BROKER_CONFIG", sensitive=True, kind="PASSWORD"),
            ]
        retention = [("3600000", of.level)] if of.name != "payments" else []
        return [
            config("cleanup.policy", "LIST", ("delete", "DEFAULT_CONFIG")),
            config("min.insync.replicas", "INT", ("2", "STATIC_BROKER_CONFIG"), ("1", "DEFAULT_CONFIG")),
            config("retention.ms", "LONG", *retention, ("604800000", "DEFAULT_CONFIG")),
        ]

    async def alter_configs(self, of: ConfigOf, edits: Sequence[Edit], *, validate_only: bool) -> None:
        await self._act("alter_configs", of, list(edits), validate_only)
        if self.invalid:
            raise GatewayError(self.invalid)

    async def acls(self, wish: AclWish) -> list[AclRow]:
        self._maybe_refuse()
        rows = [
            AclRow("TOPIC", "orders", "LITERAL", "User:alice", "*", "READ", "ALLOW"),
            AclRow("TOPIC", "pay", "PREFIXED", "User:billing", "10.0.0.7", "WRITE", "ALLOW"),
            AclRow("GROUP", "*", "LITERAL", "User:*", "*", "DELETE", "DENY"),
            AclRow("CLUSTER", "kafka-cluster", "LITERAL", "User:ops", "*", "ALTER_CONFIGS", "ALLOW"),
        ]
        return [row for row in rows if wish.principal in (None, row.principal)]

    async def create_acl(self, row: AclRow) -> None:
        await self._act("create_acl", row)

    async def delete_acls(self, rows: Sequence[AclRow]) -> int:
        await self._act("delete_acls", [row.key for row in rows])
        return len(rows)

    async def scram_users(self) -> list[ScramRow]:
        self._maybe_refuse()
        return [ScramRow("alice", "SCRAM-SHA-256", 4096), ScramRow("billing", "SCRAM-SHA-512", 8192)]

    async def set_scram_user(self, wish: ScramWish) -> None:
        await self._act("set_scram_user", wish)

    async def delete_scram_users(self, rows: Sequence[ScramRow]) -> None:
        await self._act("delete_scram_users", [row.key for row in rows])

    async def quotas(self) -> list[QuotaRow]:
        self._maybe_refuse()
        return [
            QuotaRow((("client-id", "reports"),), {"consumer_byte_rate": 1048576.0, "request_percentage": 12.5}),
            QuotaRow((("ip", None),), {"connection_creation_rate": 20.0}),
            QuotaRow((("client-id", None), ("user", "alice")), {"producer_byte_rate": 20971520.0}),
        ]

    async def alter_quotas(self, change: QuotaChange, *, validate_only: bool) -> None:
        await self._act("alter_quotas", change.entity, dict(change.changes), validate_only)
        if self.invalid:
            raise GatewayError(self.invalid)

    async def log_dirs(self, broker: int | None = None) -> Told:
        self._maybe_refuse()
        replicas = [ReplicaRow("orders", each, (6 - each) << 28, 0, False) for each in range(6)]
        replicas.append(ReplicaRow("payments", 1, 3 << 20, 4_200, True))
        rows: dict[int, list[LogDirRow] | None] = {
            1: [LogDirRow(1, "/data/1", 100 * GIB, 42 * GIB, tuple(replicas))],
            2: [
                LogDirRow(2, "/data/2a", 100 * GIB, 6 * GIB, tuple(replicas[:6])),
                LogDirRow(2, "/data/2b", None, None, (), "KAFKA_STORAGE_ERROR"),
            ],
            3: [LogDirRow(3, "/data/3", 100 * GIB, 20 * GIB, tuple(replicas[:4]))],
        }
        for broker_id in self.silent:
            rows[broker_id] = None
        rows = {each: told for each, told in rows.items() if broker in (None, each)}
        return Told(rows, tuple(f"broker {each} does not tell: connection lost" for each in sorted(self.silent)))

    async def producers(self, partitions: Mapping[str, Sequence[int] | None]) -> Told:
        self._maybe_refuse()
        (topic, numbers) = next(iter(partitions.items()))
        return Told(
            {
                each: [
                    ProducerRow(topic, each, 4001, 7, 812, 1_795_521_600_000, 3, 40_017, 2_000.0),
                    ProducerRow(topic, each, 4005, 0, 90_112, 1_795_521_600_000, -1, -1, 900_000.0),
                ]
                for each in (numbers if numbers is not None else (0, 1))
            }
        )

    async def hanging_transactions(self, max_transaction_timeout_ms: int) -> list[ProducerRow]:
        self._maybe_refuse()
        return [ProducerRow("payments", 1, 4003, 1, 12, 1_795_520_000_000, -1, 901, 1_600_000.0, True)]

    async def abort_transaction(self, row: ProducerRow) -> None:
        await self._act("abort_transaction", row.key, row.transaction_start_offset)

    async def terminate_transaction(self, row: TransactionRow) -> None:
        await self._act("terminate_transaction", row.key)

    async def delete_records(self, offsets: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], int]:
        await self._act("delete_records", dict(offsets))
        return {place: 80_000 if offset < 0 else offset for place, offset in offsets.items()}
