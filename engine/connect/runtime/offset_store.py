"""Source offsets as Connect keeps them: a key for a connector's source partition, a value for the offset, both JSON.

``["my-source",{"filename":"a.txt"}]`` → ``{"position":42}`` (``OffsetStorageWriter``, ``OffsetBackingStore``).
"""

from __future__ import annotations

import asyncio
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.connect.errors import ConnectError
from engine.connect.runtime.java_map import JavaMapError, read_map, write_map
from engine.connect.runtime.submitted_records import partition_key

Raw = Mapping[bytes, bytes | None]


def offset_key(connector: str, partition: Mapping[str, Any]) -> bytes:
    """The key of a source partition, as JsonConverter writes it."""
    return json.dumps([connector, partition], separators=(",", ":"), ensure_ascii=False).encode()


def offset_value(offset: Mapping[str, Any] | None) -> bytes | None:
    """An offset's bytes; None is a tombstone."""
    return None if offset is None else json.dumps(offset, separators=(",", ":"), ensure_ascii=False).encode()


class OffsetIndex:
    """The newest offset of each source partition, whatever the order of a key's fields."""

    def __init__(self) -> None:
        self._offsets: dict[str, dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {}
        self._keys: dict[tuple[str, str], set[bytes]] = {}

    def replay(self, key: bytes | None, value: bytes | None) -> None:
        """A record of the topic, or of the file. What is not an offset is left out."""
        try:
            connector, partition = json.loads(key or b"")
            offset = None if value is None else json.loads(value)
        except (ValueError, TypeError):
            return
        if not isinstance(connector, str) or not isinstance(partition, dict):
            return
        at = partition_key(partition)
        known = self._offsets.setdefault(connector, {})
        if offset is None:
            known.pop(at, None)
            self._keys.pop((connector, at), None)
        elif isinstance(offset, dict):
            known[at] = (partition, offset)
            self._keys.setdefault((connector, at), set()).add(bytes(key or b""))

    def get(self, connector: str, partition: Mapping[str, Any]) -> dict[str, Any] | None:
        """The offset of a source partition, or None."""
        found = self._offsets.get(connector, {}).get(partition_key(partition))
        return None if found is None else found[1]

    def all(self, connector: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """All of a connector: partitions and offsets."""
        return list(self._offsets.get(connector, {}).values())

    def raw(
        self, connector: str, partition: Mapping[str, Any], offset: Mapping[str, Any] | None
    ) -> dict[bytes, bytes | None]:
        """What is to be written for an offset: under every key that the source partition has had."""
        keys = self._keys.get((connector, partition_key(partition))) or {offset_key(connector, partition)}
        return dict.fromkeys(sorted(keys), offset_value(offset))


class OffsetStore(ABC):
    """Where a worker keeps source offsets. Coroutines of its event loop; ConnectError when it cannot be had."""

    @abstractmethod
    async def start(self) -> None:
        """Read what is there."""

    @abstractmethod
    async def stop(self) -> None:
        """No more."""

    @abstractmethod
    async def index(self) -> OffsetIndex:
        """All that was written before this question."""

    @abstractmethod
    async def write(self, records: Raw) -> None:
        """Write, and return when it is kept."""

    async def read(self, connector: str, partitions: list[dict[str, Any]]) -> list[dict[str, Any] | None]:
        """Offsets of source partitions, in their order."""
        index = await self.index()
        return [index.get(connector, each) for each in partitions]

    async def put(self, connector: str, offsets: list[tuple[dict[str, Any], dict[str, Any] | None]]) -> None:
        """Keep offsets of source partitions; None forgets one."""
        index = await self.index()
        records: dict[bytes, bytes | None] = {}
        for partition, offset in offsets:
            records |= index.raw(connector, partition, offset)
        await self.write(records)


class FileOffsetStore(OffsetStore):
    """``offset.storage.file.filename``, in the format of Java's ``FileOffsetBackingStore``."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._data: dict[bytes, bytes] = {}
        self._index = OffsetIndex()
        self._writing = asyncio.Lock()

    async def start(self) -> None:
        try:
            data = read_map(self._path.read_bytes())
        except FileNotFoundError:
            if not self._path.parent.is_dir():
                raise ConnectError(
                    f"offset.storage.file.filename: there is no folder {self._path.parent}: make it"
                ) from None
            data = {}
        except OSError as error:
            raise ConnectError(f"offset.storage.file.filename: {self._path}: {error.strerror}") from error
        except JavaMapError as error:
            raise ConnectError(
                f"offset.storage.file.filename: {self._path} is no file of offsets ({error}): move it away to begin"
            ) from error
        self._data = data
        for key, value in data.items():
            self._index.replay(key, value)

    async def stop(self) -> None:
        """Everything is in the file already."""

    async def index(self) -> OffsetIndex:
        return self._index

    def _save(self, data: bytes) -> None:
        # A crash leaves the old file or the new one.
        new = self._path.with_name(self._path.name + ".new")
        with open(new, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self._path)

    async def write(self, records: Raw) -> None:
        async with self._writing:
            await self._write(records)

    async def _write(self, records: Raw) -> None:
        data = dict(self._data)
        for key, value in records.items():
            if value is None:
                data.pop(key, None)
            else:
                data[key] = value
        try:
            await asyncio.to_thread(self._save, write_map(data))
        except OSError as error:
            raise ConnectError(f"offset.storage.file.filename: {self._path}: {error.strerror}") from error
        self._data = data
        for key, value in records.items():
            self._index.replay(key, value)
