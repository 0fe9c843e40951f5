"""The failure of a disk."""

from __future__ import annotations

from engine.model.errors import ErrorCode, KafkaError


class LogDirFailure(KafkaError):
    """A write or an fsync in a log directory failed; what was not synced may be lost, so it is never tried again (L4).

    Answered to clients as KAFKA_STORAGE_ERROR.
    """

    def __init__(self, directory: str, reason: object) -> None:
        super().__init__(ErrorCode.KAFKA_STORAGE_ERROR, f"{directory} is offline: {reason}")
        self.directory = directory


class LogCorrupt(KafkaError):
    """Bytes that were once synced are no longer what they were (L2): the log must not be served, and not be cut.

    ``directory`` is the partition's. Answered to clients as KAFKA_STORAGE_ERROR.
    """

    def __init__(self, directory: str, reason: object) -> None:
        super().__init__(ErrorCode.KAFKA_STORAGE_ERROR, f"{directory} is corrupt: {reason}")
        self.directory = directory
        self.reason = str(reason)
