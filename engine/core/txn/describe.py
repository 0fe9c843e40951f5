"""What DescribeTransactions and ListTransactions say of transactional ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from engine.core.txn.metadata import TransactionMetadata
from engine.core.txn.states import STATES_BY_NAME
from engine.model.errors import ErrorCode
from engine.wire.messages.describe_transactions_response import TopicData
from engine.wire.messages.describe_transactions_response import TransactionState as DescribedTransaction
from engine.wire.messages.list_transactions_request import ListTransactionsRequest
from engine.wire.messages.list_transactions_response import TransactionState as ListedTransaction


def described(metadata: TransactionMetadata | None, transactional_id: str) -> DescribedTransaction:
    """One transactional id of a DescribeTransactions response."""
    if metadata is None:
        return DescribedTransaction(int(ErrorCode.TRANSACTIONAL_ID_NOT_FOUND), transactional_id)
    topics: dict[str, TopicData] = {}
    for topic, partition in sorted(metadata.partitions):
        topics.setdefault(topic, TopicData(topic)).partitions.append(partition)
    return DescribedTransaction(
        transactional_id=transactional_id,
        transaction_state=metadata.state.state_name,
        transaction_timeout_ms=metadata.timeout_ms,
        transaction_start_time_ms=metadata.start_timestamp_ms,
        producer_id=metadata.producer_id,
        producer_epoch=metadata.producer_epoch,
        topics=list(topics.values()),
    )


def unknown_states(request: ListTransactionsRequest) -> list[str]:
    """Names in the filter that are no states."""
    return [each for each in request.state_filters if each not in STATES_BY_NAME]


def listed(
    transactions: Iterable[TransactionMetadata],
    request: ListTransactionsRequest,
    matches: Callable[[str], bool],
    now_ms: int,
) -> list[ListedTransaction]:
    """Those that pass the request's filters; ``matches`` is the one of the transactional id."""
    states = {STATES_BY_NAME[each] for each in request.state_filters if each in STATES_BY_NAME}
    producer_ids = set(request.producer_id_filters)
    return [
        ListedTransaction(each.transactional_id, each.producer_id, each.state.state_name)
        for each in transactions
        if (not producer_ids or each.producer_id in producer_ids)
        and (not request.state_filters or each.state in states)
        and (request.duration_filter < 0 or now_ms - each.start_timestamp_ms > request.duration_filter)
        and matches(each.transactional_id)
    ]
