"""DescribeTransactions (65), version 0: the state of transactional ids that this broker coordinates (KIP-664)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.wire.apis import ApiKey
from engine.wire.messages.describe_transactions_request import DescribeTransactionsRequest
from engine.wire.messages.describe_transactions_response import DescribeTransactionsResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.DESCRIBE_TRANSACTIONS, 0, 0)


def handle(context: RequestContext, request: DescribeTransactionsRequest) -> DescribeTransactionsResponse:
    """In the order asked."""
    describe = context.broker.transactions.describe
    return DescribeTransactionsResponse(transaction_states=[describe(each) for each in request.transactional_ids])
