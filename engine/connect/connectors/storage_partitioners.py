"""Which directory a record's file is in, below its topic's (Confluent's ``Partitioner``); names as Hive has them."""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from engine.connect.data import Struct
from engine.connect.errors import ConfigError, DataError
from engine.connect.records import SinkRecord

PARTITIONERS = ("default", "field", "time", "daily", "hourly")
_CLASSES = {
    "DefaultPartitioner": "default",
    "FieldPartitioner": "field",
    "TimeBasedPartitioner": "time",
    "DailyPartitioner": "daily",
    "HourlyPartitioner": "hourly",
}
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR_MS = 3_600_000
_QUARTER_MS = 900_000  # clocks change on such
_DAILY = "'year'=YYYY/'month'=MM/'day'=dd"


def short_name(value: str) -> str:
    """One of :data:`PARTITIONERS`, of such a name or of a class of Confluent's.

    Raises:
        ConfigError: it is none.
    """
    found = _CLASSES.get(value.rpartition(".")[2], value.lower())
    if found not in PARTITIONERS:
        raise ConfigError("partitioner.class", value, f"it is none of {', '.join(PARTITIONERS)}")
    return found


class Partitioner(ABC):
    """Of one sink's configs."""

    @abstractmethod
    def directory(self, record: SinkRecord) -> str:
        """A record's directory, ``a=1/b=2``.

        Raises:
            DataError: the record lacks what it depends on.
        """


class _ByPartition(Partitioner):
    def directory(self, record: SinkRecord) -> str:
        return f"partition={record.partition}"


class _ByField(Partitioner):
    def __init__(self, names: list[str]) -> None:
        if not names:
            raise ConfigError("partition.field.name", "", "partitioner.class field needs it")
        self._names = names

    def directory(self, record: SinkRecord) -> str:
        return "/".join(f"{quote(each, safe='')}={_text(field_of(record, each))}" for each in self._names)


def _text(value: Any) -> str:
    if value is None:
        return _HIVE_NULL
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, (str, int, float, date)):
        raise DataError(f"no directory can be named by a {type(value).__name__}")
    return quote(str(value), safe=" ,@()-_.") or _HIVE_NULL


class _ByTime(Partitioner):
    def __init__(self, pattern: str, duration_ms: int, zone: ZoneInfo, values: Mapping[str, Any]) -> None:
        self._format = joda_format(pattern)
        self._duration_ms = duration_ms
        self._zone = zone
        self.time_ms = time_extractor(values)
        self._offset: tuple[int, int] = (-1, 0)
        self._last: tuple[int, str] = (-1, "")

    def directory(self, record: SinkRecord) -> str:
        # Rounded by the zone's clock: hours and days of India begin within hours of UTC.
        time_ms = self.time_ms(record)
        quarter = time_ms // _QUARTER_MS
        if self._offset[0] != quarter:
            there = (_EPOCH + timedelta(milliseconds=time_ms)).astimezone(self._zone).utcoffset() or timedelta()
            self._offset = (quarter, there // timedelta(milliseconds=1))
        whole = (time_ms + self._offset[1]) // self._duration_ms
        if self._last[0] != whole:
            self._last = (whole, self._format(_EPOCH + timedelta(milliseconds=whole * self._duration_ms)))
        return self._last[1]


def make_partitioner(values: Mapping[str, Any], zone: ZoneInfo) -> Partitioner:
    """The partitioner of a sink's configs.

    Raises:
        ConfigError: one of them cannot be.
    """
    match values["partitioner.class"]:
        case "field":
            return _ByField(values["partition.field.name"])
        case "time":
            return _ByTime(values["path.format"], values["partition.duration.ms"], zone, values)
        case "daily":
            return _ByTime(_DAILY, 24 * _HOUR_MS, zone, values)
        case "hourly":
            return _ByTime(f"{_DAILY}/'hour'=HH", _HOUR_MS, zone, values)
    return _ByPartition()


def time_extractor(values: Mapping[str, Any]) -> Callable[[SinkRecord], int]:
    """What tells a record's time in ms since 1970; it raises DataError for a record without one."""
    match values["timestamp.extractor"]:
        case "wallclock":
            return lambda record: int(time.time() * 1000)
        case "recordfield":
            name: str = values["timestamp.field"]
            return lambda record: _millis(field_of(record, name), name)
    return _record_time


def _record_time(record: SinkRecord) -> int:
    if record.timestamp is None:
        raise DataError("the record has no timestamp")
    return record.timestamp


def _millis(value: Any, name: str) -> int:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise DataError(f"{name} of the value is {value!r}, which is no time as ISO 8601 has it") from None
    if isinstance(value, datetime):
        moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        return (moment - _EPOCH) // timedelta(milliseconds=1)
    if isinstance(value, date):
        return (datetime(value.year, value.month, value.day, tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise DataError(f"{name} of the value is {value!r}, which is no time")


def field_of(record: SinkRecord, path: str) -> Any:
    """A field of a record's value; dots go into structs and maps.

    Raises:
        DataError: there is no such field.
    """
    value = record.value
    for name in (path,) if _has(value, path) else path.split("."):
        if not _has(value, name):
            raise DataError(f"the record's value has no field {path}")
        value = value[name]
    return value


def _has(value: Any, name: str) -> bool:
    if isinstance(value, Struct):
        return value.schema.field(name) is not None
    return isinstance(value, dict) and name in value


_JODA: dict[str, Callable[[datetime, int], str]] = {
    "y": lambda moment, width: f"{moment.year % 100:02}" if width == 2 else f"{moment.year:0{width}}",
    "M": lambda moment, width: f"{moment:%b}" if width == 3 else f"{moment.month:0{width}}",
    "d": lambda moment, width: f"{moment.day:0{width}}",
    "H": lambda moment, width: f"{moment.hour:0{width}}",
    "m": lambda moment, width: f"{moment.minute:0{width}}",
    "s": lambda moment, width: f"{moment.second:0{width}}",
    "D": lambda moment, width: f"{moment.timetuple().tm_yday:0{width}}",
    "w": lambda moment, width: f"{moment.isocalendar().week:0{width}}",
    "x": lambda moment, width: f"{moment.isocalendar().year:0{width}}",
}
_JODA["Y"] = _JODA["y"]


def joda_format(pattern: str) -> Callable[[datetime], str]:
    """A pattern of Joda-Time, as ``'year'=YYYY/'month'=MM``: y M d H m s D w x, and texts in quotes.

    Raises:
        ConfigError: another letter.
    """
    parts: list[str | tuple[str, int]] = []
    for found in re.finditer(r"'((?:[^']|'')*)'|(([A-Za-z])\3*)|([^A-Za-z'])", pattern):
        text, run, other = found[1], found[2], found[4]
        if run is not None:
            if run[0] not in _JODA:
                raise ConfigError("path.format", pattern, f"the letter {run[0]} is not known; quote texts: '{run}'")
            parts.append((run[0], len(run)))
        else:
            parts.append(other if other is not None else (text.replace("''", "'") or "'"))
    if not parts:
        raise ConfigError("path.format", pattern, "it is empty")

    def write(moment: datetime) -> str:
        return "".join(each if isinstance(each, str) else _JODA[each[0]](moment, each[1]) for each in parts)

    return write
