"""Whether a transaction may be ended by who asks for it (TransactionCoordinator.endTransaction)."""

from __future__ import annotations

from engine.core.txn.metadata import EPOCH_BUMP_VERSION, LAST_CLIENT_EPOCH, TransactionMetadata
from engine.core.txn.states import COMPLETED, PREPARED, TransactionState
from engine.model.errors import ErrorCode, KafkaError


def check_end(
    metadata: TransactionMetadata, producer_id: int, producer_epoch: int, committed: bool, client_version: int
) -> bool:
    """Whether the transaction is to be ended; False: it was, by an earlier copy of this request.

    ``client_version`` is the client's transaction.version: 2 from EndTxn version 5 on. Its clients have another epoch
    after each transaction, so that a request which repeats an earlier one shows it by its epoch, or, where the epochs
    were used up, by its producer id.

    Raises:
        KafkaError: INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED; CONCURRENT_TRANSACTIONS while the markers are being
            written; INVALID_TXN_STATE for the opposite of what was decided, or where there is nothing to end.
    """
    if client_version >= EPOCH_BUMP_VERSION:
        return _check_end_v2(metadata, producer_id, producer_epoch, committed)
    _check_producer_id(metadata, producer_id)
    if producer_epoch != metadata.producer_epoch:
        raise _fenced(metadata, producer_epoch)
    state = metadata.state
    if state is TransactionState.ONGOING:
        return True
    if state in COMPLETED and committed is (state is TransactionState.COMPLETE_COMMIT):
        return False
    if state in PREPARED and committed is (state is TransactionState.PREPARE_COMMIT):
        raise _markers_under_way(metadata)
    raise _invalid(metadata, committed)


def _check_end_v2(metadata: TransactionMetadata, producer_id: int, producer_epoch: int, committed: bool) -> bool:
    state = metadata.state
    repeats_before_rotation = (
        metadata.previous_producer_id == producer_id
        and producer_epoch == LAST_CLIENT_EPOCH
        and metadata.producer_epoch == 0
    )
    repeats_before_bump = metadata.producer_epoch == producer_epoch + 1
    if not repeats_before_rotation:
        _check_producer_id(metadata, producer_id)
    is_present = producer_epoch == metadata.producer_epoch
    if state in PREPARED:
        is_valid = repeats_before_bump
    elif state in COMPLETED:
        is_valid = is_present or repeats_before_bump or repeats_before_rotation
    else:
        is_valid = is_present
    if not is_valid:
        raise _fenced(metadata, producer_epoch)
    if state is TransactionState.ONGOING:
        return True
    if state in PREPARED:
        if committed is (state is TransactionState.PREPARE_COMMIT):
            raise _markers_under_way(metadata)
        raise _invalid(metadata, committed)
    repeats = state in COMPLETED and (repeats_before_bump or repeats_before_rotation)
    if repeats and committed is (state is TransactionState.COMPLETE_COMMIT):
        return False
    # A client of this version may abort what it never began: it does not know whether a partition was added.
    if committed or repeats:
        raise _invalid(metadata, committed)
    return True


def _check_producer_id(metadata: TransactionMetadata, producer_id: int) -> None:
    if producer_id != metadata.producer_id:
        raise KafkaError(
            ErrorCode.INVALID_PRODUCER_ID_MAPPING,
            f"{metadata.transactional_id!r} has producer id {metadata.producer_id}, not {producer_id}",
        )


def _fenced(metadata: TransactionMetadata, producer_epoch: int) -> KafkaError:
    return KafkaError(
        ErrorCode.PRODUCER_FENCED,
        f"producer epoch {producer_epoch} of {metadata.transactional_id!r} is not {metadata.producer_epoch}",
    )


def _markers_under_way(metadata: TransactionMetadata) -> KafkaError:
    return KafkaError(
        ErrorCode.CONCURRENT_TRANSACTIONS, f"the markers of {metadata.transactional_id!r} are being written"
    )


def _invalid(metadata: TransactionMetadata, committed: bool) -> KafkaError:
    act = "commit" if committed else "abort"
    return KafkaError(
        ErrorCode.INVALID_TXN_STATE,
        f"{metadata.transactional_id!r} is {metadata.state.state_name}: nothing to {act}",
    )
