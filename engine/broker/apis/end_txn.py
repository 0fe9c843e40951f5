"""EndTxn (26), versions 0-5: commit or abort a transaction.

The answer comes when the decision is committed in ``__transaction_state``; the markers in the partitions follow, and
the next transaction waits for them. Version 2 names a fenced producer PRODUCER_FENCED, version 4 knows
TRANSACTION_ABORTABLE, version 5 (transaction.version 2, KIP-890) tells the producer id and epoch for the next
transaction, and may abort what was never begun.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.model.errors import ErrorCode
from engine.wire.apis import ApiKey
from engine.wire.messages.end_txn_request import EndTxnRequest
from engine.wire.messages.end_txn_response import EndTxnResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.END_TXN, 0, 5)

_FIRST_VERSION_WITH_PRODUCER_FENCED = 2
_FIRST_VERSION_WITH_EPOCH_BUMP = 5


async def handle(context: RequestContext, request: EndTxnRequest) -> EndTxnResponse:
    """The coordinator's answer."""
    result = await context.broker.transactions.end_txn(
        request.transactional_id,
        request.producer_id,
        request.producer_epoch,
        request.committed,
        2 if context.api_version >= _FIRST_VERSION_WITH_EPOCH_BUMP else 0,
    )
    error = result.error
    if error is ErrorCode.PRODUCER_FENCED and context.api_version < _FIRST_VERSION_WITH_PRODUCER_FENCED:
        error = ErrorCode.INVALID_PRODUCER_EPOCH
    return EndTxnResponse(error_code=int(error), producer_id=result.producer_id, producer_epoch=result.producer_epoch)
