"""Records as a Parquet file, by pyarrow (extra ``parquet``)."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from console.viewmodel.records import RecordView

# A row group is written at so many records or bytes, whichever comes first: memory stays bounded, readers skip by it.
ROW_GROUP_RECORDS = 50_000
ROW_GROUP_BYTES = 32 * 1024 * 1024


def missing() -> str:
    """Why no such file can be written here; empty if it can."""
    if importlib.util.find_spec("pyarrow") is None:
        return "pyarrow is not installed here: pip install 'kconsole[parquet]'"
    return ""


class ParquetFile:
    """Takes records, and writes a row group once there are enough. Blocks: call it in a thread.

    ``key`` and ``value`` are text: UTF-8, or the JSON that a serde read; ``key_bytes`` and ``value_bytes`` are there
    where that is not all of it. A key or value that is null has neither.
    """

    def __init__(
        self, path: Path, *, group_records: int = ROW_GROUP_RECORDS, group_bytes: int = ROW_GROUP_BYTES
    ) -> None:
        """Raises: OSError: it cannot be written; pyarrow is not there."""
        said = missing()
        if said:
            raise OSError(said)
        import pyarrow as pa
        import pyarrow.parquet

        self._pa = pa
        self._schema = pa.schema(
            [
                pa.field("topic", pa.dictionary(pa.int32(), pa.string()), nullable=False),
                pa.field("partition", pa.int32(), nullable=False),
                pa.field("offset", pa.int64(), nullable=False),
                pa.field("timestamp", pa.timestamp("ms", tz="UTC"), nullable=False),
                pa.field("key", pa.string()),
                pa.field("key_bytes", pa.binary()),
                pa.field("value", pa.string()),
                pa.field("value_bytes", pa.binary()),
                pa.field("headers", pa.list_(pa.struct([("name", pa.string()), ("value", pa.binary())]))),
                pa.field("masked", pa.list_(pa.string())),
            ]
        )
        self._writer: Any = pyarrow.parquet.ParquetWriter(str(path), self._schema, compression="zstd")
        self._group_records, self._group_bytes = group_records, group_bytes
        self._rows: list[RecordView] = []
        self._bytes = 0

    def write(self, records: Sequence[RecordView]) -> None:
        """Take records. Raises: OSError."""
        for record in records:
            self._rows.append(record)
            self._bytes += len(record.key or b"") + len(record.value or b"")
            if len(self._rows) >= self._group_records or self._bytes >= self._group_bytes:
                self._write_group()

    def _write_group(self) -> None:
        rows, self._rows, self._bytes = self._rows, [], 0
        keys = [_both(each.key, each.readable_key) for each in rows]
        values = [_both(each.value, each.readable_value) for each in rows]
        columns = {
            "topic": [each.topic for each in rows],
            "partition": [each.partition for each in rows],
            "offset": [each.offset for each in rows],
            "timestamp": [each.timestamp_ms for each in rows],
            "key": [text for text, _ in keys],
            "key_bytes": [data for _, data in keys],
            "value": [text for text, _ in values],
            "value_bytes": [data for _, data in values],
            "headers": [[{"name": name, "value": value} for name, value in each.headers] for each in rows],
            "masked": [list(each.reading.masked) if each.reading is not None else [] for each in rows],
        }
        try:
            self._writer.write_table(self._pa.table(columns, schema=self._schema))
        except self._pa.ArrowException as error:
            raise OSError(f"Parquet cannot have it: {error}") from None

    def close(self) -> None:
        """Write what is left, and the end. Raises: OSError."""
        try:
            if self._rows:
                self._write_group()
        finally:
            self._writer.close()


def _both(data: bytes | None, readable: bytes | None) -> tuple[str | None, bytes | None]:
    """As text, and as bytes where the text does not have all of them."""
    if readable is None:
        return None, data
    try:
        text = readable.decode()
    except UnicodeDecodeError:
        return None, data
    return text, None if data == readable else data
