"""Administration of any cluster through the admin client."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from console.gateway.plain_errors import plain_errors, raise_failures
from console.gateway.protocol import GatewayError
from console.viewmodel.acls import AclRow, AclWish
from console.viewmodel.client_quotas import QuotaChange, QuotaRow
from console.viewmodel.configs import GROUP, ConfigOf, ConfigValue, Edit, Synonym
from console.viewmodel.keeping import Told
from console.viewmodel.log_dirs import LogDirRow, ReplicaRow
from console.viewmodel.producers import ProducerRow
from console.viewmodel.scram_users import ScramRow, ScramWish
from console.viewmodel.transactions import TransactionRow
from engine.client.admin.acls import AclBinding, AclFilter, AclOperation, AclPattern, AclPermission, AclResource
from engine.client.admin.client_quotas import QuotaEntity
from engine.client.admin.configs import ConfigChange, ConfigOp, ConfigResource, ConfigType, ResourceType
from engine.client.admin.log_dirs import LogDirDescription
from engine.client.admin.producers import ActiveProducer, hanging
from engine.client.admin.scram import ScramMechanism, salted
from engine.client.admin.transactions import TransactionDescription
from engine.model.errors import ErrorCode, KafkaError
from engine.model.topic_partition import TopicPartition

if TYPE_CHECKING:
    from engine.client.admin import AdminClient

# One broker that hangs makes the rows of the others no older than that.
_PATIENCE_MS = 2_000
# As long as those that Kafka's AdminClient makes (130 random bits, in letters and digits).
_SALT_BYTES = 26


class ClusterAdministration:
    """Implements :class:`console.gateway.administration.Administration`."""

    def __init__(
        self,
        admin: Callable[[], Awaitable[AdminClient]],
        now_ms: Callable[[], int],
        check_writable: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        """``check_writable`` raises GatewayError where nothing may be changed; ``changed`` is called after changes."""
        self._admin = admin
        self._now_ms = now_ms
        self._check_writable = check_writable
        self._changed = changed

    # -- configs --------------------------------------------------------------------------------------------------

    async def configs(self, of: ConfigOf) -> list[ConfigValue]:
        resource = _resource(of)
        with plain_errors():
            admin = await self._admin()
            await admin.metadata(())
            outcome = (await admin.describe_configs([resource], synonyms=True, documentation=True)).get(resource)
            if isinstance(outcome, KafkaError) and of.kind == GROUP and outcome.code is ErrorCode.INVALID_REQUEST:
                # As brokers say it that know no such kind of resource.
                raise GatewayError("these brokers know no configs of groups: those of Kafka 4.0 and later do")
            if not isinstance(outcome, list):
                raise outcome or GatewayError(f"nobody answered for {of.words()}")
            return [
                ConfigValue(
                    each.name,
                    None if each.sensitive else each.value,
                    each.source.name,
                    each.read_only,
                    each.sensitive,
                    each.documentation,
                    tuple(
                        Synonym(one.name, None if each.sensitive else one.value, one.source.name)
                        for one in each.synonyms
                    ),
                    "" if each.config_type is ConfigType.UNKNOWN else each.config_type.name,
                )
                for each in outcome
            ]

    async def alter_configs(self, of: ConfigOf, edits: Sequence[Edit], *, validate_only: bool) -> None:
        if not validate_only:
            self._check_writable()
        changes = [
            ConfigChange(each.name, op := ConfigOp[each.op.upper()], None if op is ConfigOp.DELETE else each.value)
            for each in edits
        ]
        with plain_errors():
            admin = await self._admin()
            await admin.metadata(())
            outcomes = await admin.alter_configs({_resource(of): changes}, validate_only=validate_only)
            raise_failures(outcomes.values())
        if not validate_only:
            self._changed()

    # -- access ---------------------------------------------------------------------------------------------------

    async def acls(self, wish: AclWish) -> list[AclRow]:
        with plain_errors():
            found = await (await self._admin()).describe_acls(
                AclFilter(
                    AclResource[wish.resource_type],
                    wish.resource_name,
                    AclPattern[wish.pattern_type],
                    wish.principal,
                    wish.host,
                    AclOperation[wish.operation],
                    AclPermission[wish.permission],
                )
            )
        return [_acl_row(each) for each in found]

    async def create_acl(self, row: AclRow) -> None:
        self._check_writable()
        with plain_errors():
            raise_failures((await (await self._admin()).create_acls([_binding(row)])).values())
        self._changed()

    async def delete_acls(self, rows: Sequence[AclRow]) -> int:
        self._check_writable()
        with plain_errors():
            gone = await (await self._admin()).delete_acls([AclFilter(*_binding(row)) for row in rows])
        self._changed()
        return len(gone)

    async def scram_users(self) -> list[ScramRow]:
        with plain_errors():
            found = await (await self._admin()).describe_scram_credentials()
        return [ScramRow(each.user, each.mechanism.sasl_name, each.iterations) for each in found]

    async def set_scram_user(self, wish: ScramWish) -> None:
        self._check_writable()
        credential = salted(
            wish.user,
            _mechanism(wish.mechanism),
            wish.iterations,
            wish.password,
            secrets.token_hex(_SALT_BYTES // 2).encode(),
        )
        with plain_errors():
            raise_failures((await (await self._admin()).alter_scram_credentials([credential])).values())
        self._changed()

    async def delete_scram_users(self, rows: Sequence[ScramRow]) -> None:
        self._check_writable()
        with plain_errors():
            admin = await self._admin()
            # A request names a user once.
            for mechanism in sorted({row.mechanism for row in rows}):
                gone = [(row.user, _mechanism(mechanism)) for row in rows if row.mechanism == mechanism]
                raise_failures((await admin.alter_scram_credentials(deletions=gone)).values())
        self._changed()

    async def quotas(self) -> list[QuotaRow]:
        with plain_errors():
            found = await (await self._admin()).describe_client_quotas()
        rows = [QuotaRow(entity.parts, values) for entity, values in found.items() if values]
        return sorted(rows, key=lambda row: row.key)

    async def alter_quotas(self, change: QuotaChange, *, validate_only: bool) -> None:
        if not validate_only:
            self._check_writable()
        entity = QuotaEntity(change.entity)
        with plain_errors():
            outcomes = await (await self._admin()).alter_client_quotas(
                {entity: change.changes}, validate_only=validate_only
            )
            raise_failures(outcomes.values())
        if not validate_only:
            self._changed()

    # -- disks ----------------------------------------------------------------------------------------------------

    async def log_dirs(self, broker: int | None = None) -> Told:
        with plain_errors():
            admin = await self._admin()
            # Fenced ones, too: what they told last stays.
            brokers = (await admin.describe_cluster()).brokers
            asked = [each for each in brokers if broker in (None, each)]
            answers = await admin.describe_log_dirs(asked, timeout_ms=_PATIENCE_MS)
        rows: dict[int, list[LogDirRow] | None] = {}
        problems: list[str] = []
        for broker_id, answer in sorted(answers.items()):
            if isinstance(answer, tuple):
                rows[broker_id] = [_log_dir_row(broker_id, each) for each in answer]
            else:
                rows[broker_id] = None
                problems.append(f"broker {broker_id} does not tell: {answer}")
        return Told(rows, tuple(problems))

    # -- producers ------------------------------------------------------------------------------------------------

    async def producers(self, partitions: Mapping[str, Sequence[int] | None]) -> Told:
        with plain_errors():
            admin = await self._admin()
            places = await _places(admin, partitions)
            answers = await admin.describe_producers(places, timeout_ms=_PATIENCE_MS)
        rows: dict[TopicPartition, list[ProducerRow] | None] = {}
        problems: dict[str, None] = {}
        for place in places:
            answer = answers.get(place)
            rows[place] = [self._producer_row(each) for each in answer] if isinstance(answer, list) else None
            if answer is not None and not isinstance(answer, list):
                problems[str(answer)] = None
        return Told(rows, tuple(problems))

    async def hanging_transactions(self, max_transaction_timeout_ms: int) -> list[ProducerRow]:
        with plain_errors():
            admin = await self._admin()
            metadata = await admin.metadata()
            everything: dict[str, Sequence[int] | None] = dict.fromkeys(metadata.topics)
            producers = await admin.describe_producers(await _places(admin, everything))
            # Of those that are not fenced, as Kafka's AdminClient: what the others coordinated has moved.
            transactions = await admin.transactions(metadata.brokers)
        silent = [f"{place}: {each}" for place, each in producers.items() if not isinstance(each, list)]
        silent += [f"broker {node}: {each}" for node, each in transactions.items() if not isinstance(each, list)]
        if silent:
            # A transaction that only they know would look as if nobody did.
            raise GatewayError(f"nothing can be judged while some do not answer: {silent[0]}")
        known: list[TransactionDescription] = [
            each for answer in transactions.values() if isinstance(answer, list) for each in answer
        ]
        all_of_them: list[ActiveProducer] = [
            each for answer in producers.values() if isinstance(answer, list) for each in answer
        ]
        found = hanging(all_of_them, known, self._now_ms(), max_transaction_timeout_ms)
        return [self._producer_row(each)._replace(hangs=True) for each in found]

    async def abort_transaction(self, row: ProducerRow) -> None:
        self._check_writable()
        place = TopicPartition(row.topic, row.partition)
        with plain_errors():
            admin = await self._admin()
            answer = (await admin.describe_producers([place]))[place]
            if not isinstance(answer, list):
                raise answer
            # As the tool with --start-offset: just that transaction, with its producer's epoch of now.
            still = next(
                (
                    each
                    for each in answer
                    if each.producer_id == row.producer_id
                    and each.transaction_start_offset == row.transaction_start_offset
                ),
                None,
            )
            if still is None:
                raise GatewayError(f"the transaction of producer {row.producer_id} in {place} has ended meanwhile")
            await admin.abort_transaction(still)
        self._changed()

    async def terminate_transaction(self, row: TransactionRow) -> None:
        self._check_writable()
        with plain_errors():
            admin = await self._admin()
            await admin.metadata(())
            await admin.force_terminate(row.transactional_id, row.coordinator)
        self._changed()

    async def delete_records(self, offsets: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], int]:
        self._check_writable()
        with plain_errors():
            outcomes = await (await self._admin()).delete_records(
                {TopicPartition(*place): offset for place, offset in offsets.items()}
            )
            raise_failures(outcomes.values())
        self._changed()
        return {(*place,): start for place, start in outcomes.items() if isinstance(start, int)}

    def _producer_row(self, each: ActiveProducer) -> ProducerRow:
        idle = float(max(0, self._now_ms() - each.last_timestamp_ms)) if each.last_timestamp_ms >= 0 else None
        return ProducerRow(*each.topic_partition, *each[1:], idle)


async def _places(admin: AdminClient, partitions: Mapping[str, Sequence[int] | None]) -> list[TopicPartition]:
    """The partitions of topics, as metadata has them now. Raises: KafkaError: a topic is not there."""
    metadata = await admin.metadata(partitions)
    places: list[TopicPartition] = []
    for name, numbers in partitions.items():
        topic = metadata.topics.get(name)
        if topic is None or topic.error is not None:
            raise (topic.error if topic and topic.error else None) or KafkaError(
                ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"there is no topic {name}"
            )
        wanted = [each.partition for each in topic.partitions] if numbers is None else numbers
        places += [TopicPartition(name, number) for number in wanted]
    return places


def _resource(of: ConfigOf) -> ConfigResource:
    return ConfigResource(ResourceType[of.kind.upper().replace("-", "_")], of.name)


def _binding(row: AclRow) -> AclBinding:
    return AclBinding(
        AclResource[row.resource_type],
        row.resource_name,
        AclPattern[row.pattern_type],
        row.principal,
        row.host,
        AclOperation[row.operation],
        AclPermission[row.permission],
    )


def _acl_row(each: AclBinding) -> AclRow:
    return AclRow(
        each.resource_type.name,
        each.resource_name,
        each.pattern_type.name,
        each.principal,
        each.host,
        each.operation.name,
        each.permission.name,
    )


def _mechanism(name: str) -> ScramMechanism:
    return ScramMechanism[name.replace("-", "_")]


def _log_dir_row(broker_id: int, each: LogDirDescription) -> LogDirRow:
    replicas = sorted(
        (ReplicaRow(*place, log.size_bytes, log.offset_lag, log.is_future) for place, log in each.replicas.items()),
        key=lambda row: (-row.size_bytes, row.key),
    )
    error = f"{each.error.code.name}" if each.error is not None else ""
    return LogDirRow(broker_id, each.path, each.total_bytes, each.usable_bytes, tuple(replicas), error)
