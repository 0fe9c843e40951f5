"""Syslog messages as records: RFC 5424, RFC 3164 as it is found in the wild, and framing in a stream (RFC 6587).

Nothing here fails because of what a message holds: what cannot be read as a header is the message itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo

from engine.connect.data import BYTES, INT32, STRING, TIMESTAMP, Struct, map_of, struct

SCHEMA = struct(
    {
        "facility": INT32,
        "severity": INT32,
        "timestamp": TIMESTAMP.as_optional(),
        "host": STRING.as_optional(),
        "app": STRING.as_optional(),
        "procid": STRING.as_optional(),
        "msgid": STRING.as_optional(),
        "structured_data": map_of(STRING, map_of(STRING, STRING), optional=True),
        "message": STRING,
        "sender": STRING,
        "raw": BYTES.as_optional(),
    },
    name="kconsole.syslog.Message",
    version=1,
    doc="facility and severity are numbers of RFC 5424, section 6.2.1; sender is the address it came from",
)

# What a message without a priority is said to be: user-level, notice (RFC 3164, section 4.3.3).
_NO_PRIORITY = 13
_BOM = b"\xef\xbb\xbf"
_PRIORITY = re.compile(rb"<(\d{1,3})>")
_RFC5424 = re.compile(rb"1 (\S{1,64}) (\S{1,255}) (\S{1,255}) (\S{1,128}) (\S{1,128}) ")
_ISO = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")
_RFC3164 = re.compile(
    rb"(?:(?P<month>Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) {1,2}(?P<day>\d{1,2}) (?:(?P<year>\d{4}) )?"
    rb"(?P<clock>\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d{1,6}))?"
    rb"|(?P<iso>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d))) "
)
_HOST = re.compile(rb"([^\s:\[\]]{1,255}|\[?[0-9A-Fa-f:.]{2,45}\]?) (?=\S)")
_TAG = re.compile(rb"([^\s:\[\]]{1,128})(?:\[([^\]\s]{1,64})\])?:(?: |$)")
_MONTHS = {name: 1 + at for at, name in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split())}


def parse(raw: bytes, sender: str, now: datetime, zone: tzinfo | None, *, encoding: str, keep_raw: bool) -> Struct:
    """A message as a struct of :data:`SCHEMA`.

    ``now`` (UTC) gives the year that RFC 3164 leaves out, ``zone`` its time zone (None: the machine's).
    """
    fields: dict[str, object] = {"sender": sender}
    priority, at = _NO_PRIORITY, 0
    found = _PRIORITY.match(raw)
    if found is not None and int(found[1]) < 192:
        priority, at = int(found[1]), found.end()
    fields["facility"], fields["severity"] = divmod(priority, 8)
    header = _RFC5424.match(raw, at) if at else None
    message = None if header is None else _read_5424(raw, header, fields)
    if message is None:
        message = _read_3164(raw[at:], fields, now, zone)
    fields["message"] = message.removeprefix(_BOM).decode(encoding, "replace")
    if keep_raw:
        fields["raw"] = raw
    return Struct(SCHEMA, fields)


def _text(value: bytes) -> str | None:
    return None if value == b"-" else value.decode("utf-8", "replace")


def _read_5424(raw: bytes, header: re.Match[bytes], fields: dict[str, object]) -> bytes | None:
    when, host, app, procid, msgid = header.groups()
    timestamp = None if when == b"-" else _iso(when.decode("ascii", "replace"))
    if timestamp is None and when != b"-":
        return None
    data = _structured_data(raw, header.end())
    if data is None:
        return None
    elements, end = data
    fields.update(timestamp=timestamp, host=_text(host), app=_text(app), procid=_text(procid), msgid=_text(msgid))
    fields["structured_data"] = elements or None
    return raw[end + 1 :] if raw[end : end + 1] == b" " else raw[end:]


_SD_ELEMENT = re.compile(rb'\[([^\s="\]]{1,255})((?: +[^\s="\]]{1,255}="(?:[^"\\\]]|\\.)*")*) *\]', re.S)
_SD_PARAMETER = re.compile(rb' +([^\s="\]]+)="((?:[^"\\\]]|\\.)*)"', re.S)
_SD_ESCAPED = re.compile(r'\\(["\\\]])')


def _structured_data(raw: bytes, at: int) -> tuple[dict[str, dict[str, str]], int] | None:
    """Elements and where they end; of a parameter that comes several times the values are joined by commas."""
    if raw[at : at + 1] == b"-":
        return {}, at + 1
    elements: dict[str, dict[str, str]] = {}
    while (element := _SD_ELEMENT.match(raw, at)) is not None:
        parameters = elements.setdefault(element[1].decode("utf-8", "replace"), {})
        for name, value in _SD_PARAMETER.findall(element[2]):
            key, text = name.decode("utf-8", "replace"), _SD_ESCAPED.sub(r"\1", value.decode("utf-8", "replace"))
            parameters[key] = f"{parameters[key]},{text}" if key in parameters else text
        at = element.end()
    return (elements, at) if elements and raw[at : at + 1] in (b" ", b"") else None


def _read_3164(text: bytes, fields: dict[str, object], now: datetime, zone: tzinfo | None) -> bytes:
    header = _RFC3164.match(text)
    if header is None:
        tag = _TAG.match(text)  # local senders leave time and host out
    else:
        if header["iso"] is not None:
            fields["timestamp"] = _iso(header["iso"].decode("ascii"))
        else:
            fields["timestamp"] = _bsd(header, now, zone)
        text = text[header.end() :]
        host = _HOST.match(text)
        if host is not None:
            fields["host"] = host[1].decode("utf-8", "replace")
            text = text[host.end() :]
        tag = _TAG.match(text)
    if tag is not None:
        fields["app"] = tag[1].decode("utf-8", "replace")
        fields["procid"] = None if tag[2] is None else tag[2].decode("utf-8", "replace")
        text = text[tag.end() :]
    return text


def _iso(text: str) -> datetime | None:
    found = _ISO.fullmatch(text)
    if found is None:
        return None
    fraction = (found[2] or "")[:3].ljust(3, "0")
    try:
        read = datetime.fromisoformat(f"{found[1]}.{fraction}{'+00:00' if found[3] == 'Z' else found[3]}")
        return read.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _bsd(header: re.Match[bytes], now: datetime, zone: tzinfo | None) -> datetime | None:
    month, day = _MONTHS[header["month"]], int(header["day"])
    hour, minute, second = map(int, header["clock"].split(b":"))
    micros = int((header["fraction"] or b"0").ljust(6, b"0")[:3]) * 1000
    year = now.year if header["year"] is None else int(header["year"])
    # At New Year's Eve the nearest year may be that before or after; a 29th of February is in few of them.
    candidates = [year] if header["year"] is not None else [year - 1, year, year + 1]
    found = []
    for each in candidates:
        try:
            local = datetime(each, month, day, hour, minute, min(second, 59), micros)
            aware = local.astimezone() if zone is None else local.replace(tzinfo=zone)
            found.append(aware.astimezone(UTC))
        except (ValueError, OverflowError):
            continue
    return min(found, key=lambda each: abs(each - now), default=None)


class FramingError(ValueError):
    """A stream that cannot be cut into messages any more."""


class Framing:
    """Cuts what a connection brings into messages: octets counted, or lines, told apart frame by frame (RFC 6587).

    With ``lines_only`` a digit that a line begins with is no count. A message longer than ``most`` bytes is told in
    pieces of that size, so that nothing is lost.
    """

    def __init__(self, most: int, *, lines_only: bool = False) -> None:
        self._most = most
        self._lines_only = lines_only
        self._buffer = bytearray()
        self._left = 0  # octets of a counted message that are still to come

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Messages that are whole now.

        Raises:
            FramingError: the count of octets is no count.
        """
        buffer, at = self._buffer, 0
        buffer += data
        try:
            while at < len(buffer):
                if not self._left and not self._lines_only and 0x31 <= buffer[at] <= 0x39:
                    space = buffer.find(b" ", at, at + 11)
                    count = bytes(buffer[at : space if space >= 0 else at + 10])
                    if not count.isdigit():
                        raise FramingError(f"octet count {count!r}")
                    if space < 0:
                        if len(count) == 10:
                            raise FramingError(f"octet count {count!r}")
                        return
                    self._left = int(count)
                    at = space + 1
                if self._left:
                    size = min(self._left, self._most)
                    if len(buffer) - at < size:
                        return
                    message = bytes(buffer[at : at + size])
                    self._left -= size
                    at += size
                else:
                    end = buffer.find(b"\n", at, at + self._most + 1)
                    if end < 0:
                        if len(buffer) - at <= self._most:
                            return
                        message = bytes(buffer[at : at + self._most])
                        at += self._most
                    else:
                        message = bytes(buffer[at:end])
                        at = end + 1
                message = message.rstrip(b"\r\n\0")
                if message:
                    yield message
        finally:
            del buffer[:at]

    def end(self) -> bytes | None:
        """The stream has ended: a last line without an end, if there is one."""
        rest = bytes(self._buffer).rstrip(b"\r\n\0")
        counted = self._left > 0 or (rest[:1].isdigit() and not self._lines_only)
        return rest if rest and not counted else None


def utc(milliseconds: int) -> datetime:
    """Milliseconds since 1970 as a time."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
