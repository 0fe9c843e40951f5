"""Where the last record of each key is, for as many keys as a given memory has room for. Kafka: SkimpyOffsetMap.

Kafka keeps MD5 sums of keys. Here the keys themselves are kept, so that two keys are never taken for one.
"""

from __future__ import annotations

# What a key costs beside its own bytes: its object, the offset's, and the table's entry. 105 to 129 were measured, 159
# while the table grows.
ENTRY_BYTES = 160


class OffsetMap:
    """Key → last offset of the part of a log that was indexed, up to :attr:`latest_offset`."""

    __slots__ = ("latest_offset", "max_bytes", "offsets", "used_bytes")

    def __init__(self, max_bytes: int) -> None:
        """``max_bytes``: log.cleaner.dedupe.buffer.size of one thread, times its load factor."""
        self.max_bytes = max_bytes
        self.used_bytes = 0
        self.offsets: dict[bytes, int] = {}
        # Everything up to here is in the map.
        self.latest_offset = -1

    def put(self, key: bytes, offset: int) -> bool:
        """Note a record; ``False`` if there is no room for another key."""
        if key not in self.offsets:
            used = self.used_bytes + ENTRY_BYTES + len(key)
            if used > self.max_bytes:
                return False
            self.used_bytes = used
        self.offsets[key] = offset
        return True

    def __len__(self) -> int:
        return len(self.offsets)
