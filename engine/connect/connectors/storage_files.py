"""The store of an object store sink, over fsspec: files that appear whole, and how far partitions came."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from engine.connect.connector import TopicPartition
from engine.connect.errors import ConfigError, ConnectError, DataError

_PROGRESS = "_kconsole"
_TEMPORARY = "_temporary"
# An object appears only when all of it is there.
_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "memory", "oss", "obs"}


class Place(NamedTuple):
    """A directory of this machine, and how names of files begin there."""

    directory: str
    prefix: str


class Store:
    """A directory of a file system. Directories that begin with an underscore are nothing to Spark and Hive.

    Every method raises OSError if the store fails.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        """``values``: those of :func:`engine.connect.connectors.object_store.parsed`.

        Raises:
            ConfigError: nothing is known of such a URL.
            ConnectError: what the URL needs is not installed.
        """
        self._url: str = values["store.url"]
        self._connector: str = values["connector.name"]
        try:
            self._fs: Any
            self._fs, root = url_to_fs(self._url, **values["store.options"])
        except ImportError as error:
            raise ConnectError(f"{self._url} needs more: {error}") from error
        except (ValueError, TypeError) as error:
            raise ConfigError("store.url", self._url, str(error)) from error
        self._root: str = f"{root.rstrip('/')}/{values['topics.dir'].strip('/')}".rstrip("/")
        self._is_local = isinstance(self._fs, LocalFileSystem)
        protocols = {self._fs.protocol} if isinstance(self._fs.protocol, str) else set(self._fs.protocol)
        self._appears_whole = bool(protocols & _OBJECT_STORES)

    def place(self, partition: TopicPartition) -> Place:
        """Where a partition's files are written before they are put: where a rename is enough, if that can be."""
        directory = f"{self._root}/{_TEMPORARY}" if self._is_local else tempfile.gettempdir()
        os.makedirs(directory, exist_ok=True)
        store = hashlib.sha256(f"{self._url} {self._root}".encode()).hexdigest()[:12]
        return Place(directory, f"kconsole-{store}-{partition.topic}+{partition.partition}+")

    def remove_unfinished(self, partition: TopicPartition) -> None:
        """Remove what a task that was killed has left."""
        place = self.place(partition)
        for each in Path(place.directory).iterdir():
            if each.name.startswith(place.prefix):
                remove(str(each))

    def check(self) -> None:
        """Whether files can be written.

        Raises:
            ConnectError: they cannot; says why.
        """
        name = f"{self._root}/{_TEMPORARY}/check-{uuid.uuid4().hex}"
        try:
            self._fs.makedirs(f"{self._root}/{_TEMPORARY}", exist_ok=True)
            self._fs.pipe_file(name, b"")
            self._fs.rm_file(name)
        except Exception as error:
            raise ConnectError(f"nothing can be written to {self._url}: {error}") from error

    def put(self, local: str, name: str) -> None:
        """A file that was written is there under a name below the root, in place of one that is; ``local`` is gone.

        Raises:
            ConnectError: the file on this machine is not whole.
        """
        final = f"{self._root}/{name}"
        if self._is_local:
            os.makedirs(os.path.dirname(final), exist_ok=True)
            try:
                _sync(local)
            except OSError as error:
                # Another fsync would succeed, and what could not be written be gone all the same.
                raise ConnectError(f"{local} cannot be written: {error}") from error
            os.replace(local, final)
            _sync(os.path.dirname(final))
            return
        if self._appears_whole:
            self._fs.put_file(local, final)
        else:
            temporary = f"{self._root}/{_TEMPORARY}/{uuid.uuid4().hex}"
            self._fs.makedirs(f"{self._root}/{_TEMPORARY}", exist_ok=True)
            self._fs.makedirs(final.rpartition("/")[0], exist_ok=True)
            self._fs.put_file(local, temporary)
            if self._fs.exists(final):
                self._fs.rm_file(final)
            self._fs.mv(temporary, final)
        os.unlink(local)

    def progress(self, partition: TopicPartition) -> int | None:
        """The offset before which everything is in files, or None if nothing was ever kept.

        Raises:
            DataError: what was kept cannot be read.
            ConnectError: another connector has kept it.
        """
        name = self._progress_name(partition)
        try:
            content = self._fs.cat_file(f"{self._root}/{name}")
        except FileNotFoundError:
            return None
        try:
            kept = json.loads(content)
            offset, owner = int(kept["next_offset"]), str(kept.get("connector") or self._connector)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise DataError(f"{self._root}/{name} is damaged: remove it, and files of that partition with it") from None
        if self._connector and owner != self._connector:
            raise ConnectError(
                f"{self._root}/{name} is of the connector {owner}: give {self._connector} another topics.dir, or, if "
                f"it takes the place of {owner}, change the name there"
            )
        return offset

    def keep_progress(self, partition: TopicPartition, offset: int) -> None:
        """Everything before this offset is in files."""
        place = self.place(partition)
        handle, local = tempfile.mkstemp(dir=place.directory, prefix=place.prefix)
        with os.fdopen(handle, "w") as file:
            kept = {"topic": partition.topic, "partition": partition.partition, "next_offset": offset}
            json.dump({**kept, "connector": self._connector} if self._connector else kept, file)
        self.put(local, self._progress_name(partition))

    def forget_progress(self, partition: TopicPartition) -> None:
        """As if nothing had been kept."""
        name = f"{self._root}/{self._progress_name(partition)}"
        if self._fs.exists(name):
            self._fs.rm_file(name)

    def remove_from(self, partition: TopicPartition, offset: int) -> list[str]:
        """Remove the partition's files that begin at this offset or later: of a commit that did not end."""
        pattern = re.compile(rf"{re.escape(f'{partition.topic}+{partition.partition}+')}(\d+)\.[a-z.]+")
        removed = []
        try:
            names = self._fs.find(f"{self._root}/{partition.topic}")
        except FileNotFoundError:
            return []
        for each in names:
            found = pattern.fullmatch(each.rpartition("/")[2])
            if found is not None and int(found[1]) >= offset:
                self._fs.rm_file(each)
                removed.append(each)
        return removed

    @staticmethod
    def _progress_name(partition: TopicPartition) -> str:
        return f"{_PROGRESS}/{partition.topic}/{partition.partition}.json"

    def refresh(self) -> None:
        """Look at the store itself, not at what fsspec remembers of it."""
        self._fs.invalidate_cache()


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(local: str) -> None:
    """A file that is not put after all."""
    Path(local).unlink(missing_ok=True)
