"""ListTransactions (66), versions 0-2: the transactional ids that this broker coordinates (KIP-664).

Filters by state and producer id; version 1 adds how long a transaction has run at least (KIP-994), version 2 a regular
expression that the whole id has to match (KIP-1152). Names of states that are not known are given back. Not honoured:
what RE2 does not know of Java's expressions (back references, look-around), which no linear matcher can do; they are
refused with INVALID_REGULAR_EXPRESSION (docs/decisions/0010).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.wire.apis import ApiKey
from engine.wire.messages.list_transactions_request import ListTransactionsRequest
from engine.wire.messages.list_transactions_response import ListTransactionsResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.LIST_TRANSACTIONS, 0, 2)


def handle(context: RequestContext, request: ListTransactionsRequest) -> ListTransactionsResponse:
    """The coordinator's answer."""
    return context.broker.transactions.list(request)
