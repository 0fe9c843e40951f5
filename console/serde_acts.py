"""What a topic's keys and values are read as, by a form; and what is typed, written the same way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from console.gateway import GatewayError, NewRecord
from console.modals.form import Field, Form
from console.values.serde_file import SerdeRule, keep_rule
from console.values.serde_words import AUTO, HELP, SerdeWord
from console.values.serdes import SerdeError
from console.values.value_reader import PARTS
from console.viewmodel.records import RecordView

if TYPE_CHECKING:
    from console.app import KConsole
    from console.values.values import Values

_HERE = "until I leave"
_KEPT = "serdes.yaml"


def values_of(app: KConsole) -> Values | None:
    """Those of the cluster that is shown; ``None`` where records are not read, as in simulations."""
    found: Values | None = getattr(app.gateway, "values", None)
    return found


def ask_serdes(app: KConsole, topic: str, changed: Callable[[], None]) -> None:
    """A form for one topic; ``changed`` is called once it holds."""
    values = values_of(app)
    if values is None:
        app.flash("records are not read here", "under_replicated")
        return
    values.read_rules()
    path = values.serdes_path
    fields = [
        Field("key", "key", str(values.word(topic, "key"))),
        Field("value", "value", str(values.word(topic, "value"))),
        Field("keep", "holds", _HERE, choices=(_HERE, *([_KEPT] if path is not None else []))),
    ]

    def check(typed: dict[str, str]) -> str:
        try:
            for part in ("key", "value"):
                SerdeWord.parse(typed[part] or "auto")
        except SerdeError as error:
            return str(error)
        return ""

    def submitted(typed: dict[str, str] | None) -> None:
        if typed is None:
            return
        rule = SerdeRule(topic, *(SerdeWord.parse(typed[part] or "auto").absolute() for part in ("key", "value")))
        assert rule.key is not None and rule.value is not None
        values.use(topic, rule.key, rule.value)
        said = f"{topic}: key {rule.key}, value {rule.value}"
        if typed["keep"] == _KEPT and path is not None:
            try:
                keep_rule(path, rule)
                said += f", kept in {path}"
            except SerdeError as error:
                app.flash(str(error), "offline", seconds=12)
                changed()
                return
        app.flash(said, "in_sync")
        changed()

    registry = f" · registry {values.registry_url}" if values.registry_url else ""
    app.push_screen(Form(f"how {topic} is read", fields, yes="Read", check=check, note=f"{HELP}{registry}"), submitted)


class Written(NamedTuple):
    """A record to be sent; ``said``: by which registered schemas, empty if by none."""

    record: NewRecord
    said: str = ""


async def written(app: KConsole, record: NewRecord, typed: Mapping[str, str], before: RecordView | None) -> Written:
    """The record with its ``typed`` key and value as the topic's serdes write them; as those of ``before`` were read,
    if that is what was changed.

    Raises:
        GatewayError: they cannot, or would lose what the form does not show.
    """
    values = values_of(app)
    if values is None:
        return Written(record)
    await app.gateway.find_registry()  # type: ignore[attr-defined]
    said = []
    for part, text in typed.items():
        like = _read_by_serde(before, part) if before is not None and before.topic == record.topic else None
        try:
            if like is not None and any(name == f"__{part}_schema_id" for name, _ in record.headers):
                raise SerdeError("a header names its schema, which is read only: nothing was sent")
            if like is not None and before is not None:
                shown = (before.readable_key if part == "key" else before.readable_value) or b""
                if await values.write(record.topic, part, shown.decode(), like) != like:
                    raise SerdeError("it would not be the same when nothing is changed, so nothing was sent")
            if like is None and _was_plain(before, record.topic, part) and values.word(record.topic, part).name == AUTO:
                data = text.encode()
            else:
                data = await values.write(record.topic, part, text, like)
        except SerdeError as error:
            raise GatewayError(f"{part}: {error}") from None
        schema = values.written_as(record.topic, part, data)
        said += [f"{part} as {schema}"] if schema else []
        record = record._replace(**{part: data})
    return Written(record, ", ".join(said))


def _was_plain(before: RecordView | None, topic: str, part: str) -> bool:
    """What was no value of a schema becomes none by being changed."""
    return before is not None and before.topic == topic and getattr(before, part) is not None


def _read_by_serde(record: RecordView, part: str) -> bytes | None:
    """The bytes of what a serde read."""
    if record.reading is None or not getattr(record.reading, part).serde:
        return None
    data: bytes | None = getattr(record, part)
    return data


def serde_remark(app: KConsole, topic: str) -> str:
    """What is to be said of a topic's serdes where a record is typed."""
    values = values_of(app)
    if values is None:
        return ""
    values.read_rules()
    words = [f"{part} as {word}" for part in ("key", "value") if str(word := values.word(topic, part)) != AUTO]
    return ", ".join(words)


def schema_remark(app: KConsole, topic: str) -> str:
    """What becomes of a new key and value where only a registry says what they are."""
    values = values_of(app)
    if values is None or not values.registry_url or any(values.word(topic, part).name != AUTO for part in PARTS):
        return ""
    return "By the newest schemas of TOPIC-key and TOPIC-value, if the registry has such; else text"
