"""HTTP as a source: an address is asked again and again, page by page, and what it answers becomes records.

An offset is a request that can be made again: the address of a page, and how many of its records were given. So a task
goes on where it was whatever leads from page to page.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from engine.connect.config_def import (
    NO_DEFAULT,
    ConfigDef,
    ConfigType,
    Importance,
    between,
    non_empty,
    one_of,
)
from engine.connect.connector import Props, SourceConnector, SourceTask
from engine.connect.connectors.http_client import (
    RETRIED,
    Backoff,
    HttpClient,
    Response,
    Stopped,
    Unreachable,
    common_configs,
    json_pointer,
    pointed,
)
from engine.connect.data import STRING
from engine.connect.errors import ConfigError, ConnectError
from engine.connect.records import SourceRecord

_WAIT_S = 0.5

_CONFIG = (
    common_configs()
    .define(
        "topic",
        ConfigType.STRING,
        NO_DEFAULT,
        Importance.HIGH,
        "The topic to publish to",
        validator=non_empty,
        group="HTTP",
    )
    .define(
        "interval.ms",
        ConfigType.LONG,
        60_000,
        Importance.HIGH,
        "How long to wait at the end of all pages before asking again",
        validator=between(0),
        group="HTTP",
    )
    .define(
        "response.format",
        ConfigType.STRING,
        "json",
        Importance.MEDIUM,
        "json: one document. json-lines: one on each line, each a record. text: each line a record",
        validator=one_of("json", "json-lines", "text"),
        group="Records",
    )
    .define(
        "records.pointer",
        ConfigType.STRING,
        "",
        Importance.HIGH,
        "A JSON pointer to the records in the document: each element of an array, or one record that is none; empty: "
        "the whole document",
        validator=json_pointer,
        group="Records",
    )
    .define(
        "key.pointer",
        ConfigType.STRING,
        None,
        Importance.MEDIUM,
        "A JSON pointer to the key in a record",
        validator=json_pointer,
        group="Records",
    )
    .define(
        "value.as",
        ConfigType.STRING,
        "data",
        Importance.MEDIUM,
        "data: values are data without a schema, for JsonConverter with schemas.enable=false. text: they are JSON "
        "texts, for StringConverter",
        validator=one_of("data", "text"),
        group="Records",
    )
    .define(
        "pagination",
        ConfigType.STRING,
        "none",
        Importance.HIGH,
        "What leads to the next page. link: the header Link with rel=next (RFC 8288). next: an address in the "
        "document. cursor: a value in the document that becomes a parameter. offset: a parameter that counts records. "
        "page: one that counts pages",
        validator=one_of("none", "link", "next", "cursor", "offset", "page"),
        group="Pages",
    )
    .define(
        "pagination.pointer",
        ConfigType.STRING,
        None,
        Importance.MEDIUM,
        "A JSON pointer to the next page's address, or to the cursor",
        validator=json_pointer,
        group="Pages",
    )
    .define(
        "pagination.parameter",
        ConfigType.STRING,
        None,
        Importance.MEDIUM,
        "The parameter that the cursor, the number of records, or that of the page goes into",
        group="Pages",
    )
    .define(
        "pagination.first",
        ConfigType.LONG,
        0,
        Importance.LOW,
        "What the number of records, or of the page, begins with",
        group="Pages",
    )
    .define(
        "pagination.end",
        ConfigType.STRING,
        "",
        Importance.MEDIUM,
        "What is asked for behind the last page: restart: the first one, all records again. stay: the last one again, "
        "and of it what has come behind the records that were given, for sources to which is only added. Empty: stay "
        "where pagination is cursor or offset, else restart",
        validator=one_of("", "restart", "stay"),
        group="Pages",
    )
)


class HttpSourceConnector(SourceConnector):
    """One address, one task."""

    def start(self, props: Props) -> None:
        self._props = dict(props)
        _check(_CONFIG.parse(props))

    def stop(self) -> None:
        pass

    @classmethod
    def task_class(cls) -> type[HttpSourceTask]:
        return HttpSourceTask

    def task_configs(self, max_tasks: int) -> list[dict[str, str]]:
        return [self._props]

    @classmethod
    def config(cls) -> ConfigDef:
        return _CONFIG

    @classmethod
    def validate(cls, props: Props) -> dict[str, list[str]]:
        try:
            configs = _CONFIG.parse(props)
        except ConfigError:
            return {}  # told by the definitions
        try:
            _check(configs)
            HttpClient(configs).close()
        except ConfigError as error:
            return {error.name: [str(error)]}
        return {}

    def alter_offsets(self, props: Props, offsets: Mapping[Any, Mapping[str, Any] | None]) -> bool:
        for partition, offset in offsets.items():
            if offset is None:
                continue
            if "url" not in dict(partition or ()):
                raise ConnectError("Partition objects should contain the key 'url'")
            given = offset.get("given", 0)
            if not isinstance(offset.get("url"), str) or not isinstance(given, int) or given < 0:
                raise ConnectError(
                    "Offset objects should contain the keys 'url', a text, and 'given', a number from 0 on"
                )
        return True


def _check(configs: Mapping[str, Any]) -> None:
    pagination = configs["pagination"]
    if pagination in ("next", "cursor") and not configs["pagination.pointer"]:
        raise ConfigError("pagination.pointer", None, f"pagination={pagination} needs it")
    if pagination in ("cursor", "offset", "page") and not configs["pagination.parameter"]:
        raise ConfigError("pagination.parameter", None, f"pagination={pagination} needs it")
    if pagination in ("next", "cursor") and configs["response.format"] != "json":
        raise ConfigError("response.format", configs["response.format"], f"pagination={pagination} needs json")
    if pagination == "page" and configs["pagination.end"] == "stay":
        raise ConfigError("pagination.end", "stay", "What fills a page up later would be missed: use pagination=offset")
    if configs["response.format"] == "text" and configs["key.pointer"] is not None:
        raise ConfigError("key.pointer", configs["key.pointer"], "Lines of text have no fields")


class HttpSourceTask(SourceTask):
    """Asks for one page in each poll."""

    def start(self, props: Props) -> None:
        configs = _CONFIG.parse(props)
        _check(configs)
        self._configs = configs
        self._topic: str = configs["topic"]
        self._pagination: str = configs["pagination"]
        self._parameter: str = configs["pagination.parameter"]
        self._stays = configs["pagination.end"] == "stay" or (
            not configs["pagination.end"] and self._pagination in ("cursor", "offset")
        )
        self._first_url: str = configs["url"]
        if self._pagination in ("offset", "page"):
            self._first_url = _with_parameter(self._first_url, self._parameter, str(configs["pagination.first"]))
        self._partition = {"url": configs["url"]}
        offset = self.context.offset_storage_reader().offset(self._partition) or {}
        self._url: str = offset.get("url") or self._first_url
        self._given: int = offset.get("given", 0)
        # They belong to the page at self._url, and are sent when all of its records were given.
        self._validators: dict[str, str] = {key: offset[key] for key in ("etag", "modified") if offset.get(key)}
        self._ask_at = 0.0
        self._backoff = Backoff(configs)
        self._polling = threading.Lock()
        self._client = HttpClient(configs)

    def poll(self) -> list[SourceRecord] | None:
        with self._polling:
            wait_s = self._ask_at - time.monotonic()
            if wait_s > 0:
                self._client.wait(min(wait_s, _WAIT_S))
                if wait_s > _WAIT_S:
                    return None
            try:
                return self._ask()
            except Stopped:
                return None
            except Unreachable as error:
                self._wait(self._backoff.failed(str(error)))
                return None

    def _wait(self, seconds: float) -> None:
        self._ask_at = time.monotonic() + seconds

    def _ask(self) -> list[SourceRecord] | None:
        headers = {"Accept": "application/json" if self._configs["response.format"] == "json" else "*/*"}
        if "etag" in self._validators:
            headers["If-None-Match"] = self._validators["etag"]
        if "modified" in self._validators:
            headers["If-Modified-Since"] = self._validators["modified"]
        response = self._client.request("GET", self._url, headers)
        if response.status in RETRIED:
            self._wait(
                self._backoff.failed(f"{self._shown()} answered {response.status}{response.excerpt()}", response)
            )
            return None
        if response.status == 304:
            self._backoff.succeeded()
            self._wait(self._configs["interval.ms"] / 1000)
            return None
        if not 200 <= response.status < 300:
            raise ConnectError(f"{self._shown()} answered {response.status}{response.excerpt()}")
        records, following = self._read(response)
        self._backoff.succeeded()
        return self._advance(response, records, following)

    def _shown(self) -> str:
        return f"GET {self._url.partition('?')[0]}"

    def _advance(self, response: Response, records: list[Any], following: str | None) -> list[SourceRecord] | None:
        page, first = self._url, min(self._given, len(records))
        if following is not None:
            self._url, self._given, self._validators = following, 0, {}
            if not records:  # some always have a next page
                self._wait(self._configs["interval.ms"] / 1000)
        else:
            self._wait(self._configs["interval.ms"] / 1000)
            alone = page == self._first_url
            self._validators = {}
            if self._stays or alone:
                told = {"etag": response.headers.get("etag"), "modified": response.headers.get("last-modified")}
                self._validators = {key: value for key, value in told.items() if value}
            self._url, self._given = (page, len(records)) if self._stays else (self._first_url, 0)
        now_ms = time.time_ns() // 1_000_000
        behind = {"url": self._url, "given": self._given, **self._validators}
        found = []
        for index in range(first, len(records)):
            offset = behind if index == len(records) - 1 else {"url": page, "given": index + 1}
            found.append(self._record(records[index], offset, now_ms))
        return found or None

    def _record(self, value: Any, offset: Mapping[str, Any], now_ms: int) -> SourceRecord:
        key, pointer = None, self._configs["key.pointer"]
        if pointer is not None:
            try:
                key = pointed(value, pointer)
            except LookupError as error:
                raise ConnectError(f"{self._shown()}: a record has no key at {pointer}: {error}") from error
            if key is not None and not isinstance(key, str):
                key = json.dumps(key, ensure_ascii=False, separators=(",", ":"))
        schema = None
        if self._configs["response.format"] == "text":
            schema = STRING
        elif self._configs["value.as"] == "text":
            value, schema = json.dumps(value, ensure_ascii=False, separators=(",", ":")), STRING
        return SourceRecord(
            topic=self._topic,
            key_schema=None if key is None else STRING,
            key=key,
            value_schema=schema,
            value=value,
            timestamp=now_ms,
            source_partition=self._partition,
            source_offset=offset,
        )

    def _read(self, response: Response) -> tuple[list[Any], str | None]:
        """The page's records, and the next page's address."""
        text = response.text()
        document: Any = None
        try:
            match self._configs["response.format"]:
                case "text":
                    records: list[Any] = _lines(text)
                case "json-lines":
                    records = [json.loads(each) for each in _lines(text) if each.strip()]
                case _:
                    document = json.loads(text) if text.strip() else None
                    found = None if document is None else pointed(document, self._configs["records.pointer"])
                    records = found if isinstance(found, list) else [] if found is None else [found]
        except ValueError as error:
            raise ConnectError(f"{self._shown()} answered what is no JSON: {error}{response.excerpt()}") from error
        except LookupError as error:
            raise ConnectError(
                f"{self._shown()}: the answer has nothing at {self._configs['records.pointer']}: {error}"
            ) from error
        return records, self._next(response, document, len(records))

    def _next(self, response: Response, document: Any, records: int) -> str | None:
        match self._pagination:
            case "link":
                to = _next_link(response.headers.get("link", ""))
                return None if to is None else self._followed(urljoin(response.url, to))
            case "next" | "cursor":
                try:
                    to = pointed(document, self._configs["pagination.pointer"])
                except LookupError:
                    return None
                if to is None or to is False or to == "":
                    return None
                if self._pagination == "next":
                    return self._followed(urljoin(response.url, str(to)))
                return self._followed(_with_parameter(self._url, self._parameter, str(to)))
            case "offset" | "page" if records:
                step = records if self._pagination == "offset" else 1
                at = dict(parse_qsl(urlsplit(self._url).query)).get(self._parameter, "")
                try:
                    now = int(at)
                except ValueError:
                    raise ConnectError(f"{self._shown()} has no number in {self._parameter} to count on from") from None
                return _with_parameter(self._url, self._parameter, str(now + step))
            case _:
                return None

    def _followed(self, url: str) -> str | None:
        if url == self._url:
            return None
        if urlsplit(url).scheme not in ("http", "https"):
            raise ConnectError(f"{self._shown()}: the next page is not at an HTTP address")
        return url

    def stop(self) -> None:
        client = getattr(self, "_client", None)
        if client is not None:
            client.stop()
            with self._polling:
                client.close()


def _lines(text: str) -> list[str]:
    """Ended by newlines alone: texts and JSON may have U+2028 and others that ``splitlines`` takes for ends."""
    lines = [each.removesuffix("\r") for each in text.split("\n")]
    return lines if lines[-1] else lines[:-1]


def _with_parameter(url: str, name: str, value: str) -> str:
    parts = urlsplit(url)
    query = [each for each in parse_qsl(parts.query, keep_blank_values=True) if each[0] != name]
    return urlunsplit(parts._replace(query=urlencode([*query, (name, value)])))


_LINK = re.compile(r'<([^>]*)>((?:[^",]|"(?:[^"\\]|\\.)*")*)')
_LINK_PARAMETER = re.compile(r';\s*([^\s=;,]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",;]*)))?')


def _next_link(header: str) -> str | None:
    for target, parameters in _LINK.findall(header):
        for name, quoted, plain in _LINK_PARAMETER.findall(parameters):
            if name.lower() == "rel" and "next" in (quoted or plain).lower().split():
                return str(target)
    return None
