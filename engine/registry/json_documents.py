"""Where the parts of JSON Schemas are: ``$id``, ``$anchor`` and ``$ref`` over several documents. Pure.

Source: "Structuring a complex schema" of the JSON Schema specification, drafts 4 to 2020-12. Nothing is fetched: a
schema refers to its own parts, to those of its references by their names, or to one of the drafts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote, urldefrag, urljoin

from engine.registry.errors import InvalidSchema

# What keywords hold: one schema, a list of schemas, or schemas by name.
_ONE = (
    "additionalItems",
    "additionalProperties",
    "contains",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
)
_LISTS = ("allOf", "anyOf", "items", "oneOf", "prefixItems")
_BY_NAME = ("$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties")
_MOST_STEPS = 50


class Located(NamedTuple):
    """A schema (an object or a boolean), and the URI that what it says of places is relative to."""

    schema: Any
    base: str


def subschemas(schema: Any) -> Iterator[Any]:
    """The schemas directly within one."""
    if not isinstance(schema, dict):
        return
    for keyword in _ONE:
        if isinstance(schema.get(keyword), (dict, bool)):
            yield schema[keyword]
    for keyword in _LISTS:
        if isinstance(schema.get(keyword), list):
            yield from schema[keyword]
    for keyword in _BY_NAME:
        if isinstance(schema.get(keyword), dict):
            yield from (each for each in schema[keyword].values() if isinstance(each, (dict, bool)))


def base_within(schema: Any, base: str) -> str:
    """The base of a schema that stands where ``base`` holds."""
    if isinstance(schema, dict):
        for keyword in ("$id", "id"):
            said = schema.get(keyword)
            if isinstance(said, str) and said and not said.startswith("#"):
                return urldefrag(_joined(base, said)).url
    return base


class JsonDocuments:
    """A schema with those that it refers to by name."""

    def __init__(self, main: Any, others: Mapping[str, Any]) -> None:
        self._by_uri: dict[str, Located] = {}
        for name, document in others.items():
            self._learn(document, name, is_root=True)
            self._by_uri[name] = Located(document, base_within(document, name))
        self.root = Located(main, base_within(main, ""))
        self._learn(main, "", is_root=True)
        self._by_uri[""] = self.root

    def _learn(self, schema: Any, base: str, *, is_root: bool = False) -> None:
        inner = base_within(schema, base)
        if inner != base or is_root:
            self._by_uri.setdefault(inner, Located(schema, inner))
        if isinstance(schema, dict):
            anchors = [schema.get("$anchor"), schema.get("$dynamicAnchor")]
            # Drafts 4 to 7 have anchors under $id.
            ids = (schema.get("$id"), schema.get("id"))
            anchors += [each[1:] for each in ids if isinstance(each, str) and each.startswith("#")]
            for anchor in anchors:
                if isinstance(anchor, str) and anchor:
                    self._by_uri.setdefault(f"{inner}#{anchor}", Located(schema, inner))
        for each in subschemas(schema):
            self._learn(each, inner)

    def check(self) -> None:
        """Raises: InvalidSchema: a ``$ref`` of the main schema leads nowhere."""
        waiting = [self.root]
        while waiting:
            schema, base = waiting.pop()
            inner = base_within(schema, base)
            if isinstance(schema, dict) and isinstance(schema.get("$ref"), str):
                self.find(schema["$ref"], inner)
            waiting += [Located(each, inner) for each in subschemas(schema)]

    def follow(self, located: Located) -> Located:
        """Where a schema's ``$ref`` leads at last; itself if it has none."""
        for _ in range(_MOST_STEPS):
            schema, base = located
            if not isinstance(schema, dict) or not isinstance(schema.get("$ref"), str):
                return located
            located = self.find(schema["$ref"], base_within(schema, base))
        raise InvalidSchema("a $ref leads back to itself")

    def find(self, reference: str, base: str) -> Located:
        """Raises: InvalidSchema: there is nothing."""
        target, fragment = urldefrag(_joined("", reference))
        absolute = _joined(base, target) if target else base
        found = self._by_uri.get(absolute) or self._by_uri.get(target) or _draft(target)
        fragment = unquote(fragment)
        if found is not None and fragment and not fragment.startswith("/"):
            found = self._by_uri.get(f"{absolute}#{fragment}") or self._by_uri.get(f"{found.base}#{fragment}")
        elif found is not None and fragment:
            found = _pointed(found, fragment)
        if found is None:
            raise InvalidSchema(
                f"Unresolved $ref {reference!r}: it is no part of the schema, and no reference has that name"
            )
        return found


def _pointed(start: Located, pointer: str) -> Located | None:
    schema, base = start
    for step in pointer.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        base = base_within(schema, base)
        if isinstance(schema, dict) and step in schema:
            schema = schema[step]
        elif isinstance(schema, list) and step.isdigit() and int(step) < len(schema):
            schema = schema[int(step)]
        else:
            return None
    return Located(schema, base) if isinstance(schema, (dict, bool)) else None


def _joined(base: str, said: str) -> str:
    try:
        return urljoin(base, said)
    except ValueError as error:
        raise InvalidSchema(f"{said!r} is no URI: {error}") from None


def _draft(uri: str) -> Located | None:
    """One of the drafts' own schemas."""
    if "json-schema.org" not in uri:
        return None
    from jsonschema_specifications import REGISTRY
    from referencing.exceptions import NoSuchResource

    try:
        return Located(REGISTRY.contents(uri), uri)
    except NoSuchResource:
        return None
