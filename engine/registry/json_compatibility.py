"""Whether a JSON Schema takes all that an older one took.

Source: "JSON Schema compatibility rules" in Confluent's documentation (open, closed and partially open content models)
and the kinds of difference that its registry tells. Not compared, as there: ``propertyNames``, ``contains``,
``if``/``then``/``else``, ``format``, and ``patternProperties`` with each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from engine.registry.errors import InvalidSchema
from engine.registry.json_documents import JsonDocuments
from engine.registry.json_nodes import ALL, ANY, ONE, Node, Nodes
from engine.registry.json_patterns import found_in

# A schema that refers to itself in many ways can be compared in more ways than anybody waits for.
_MOST_COMPARISONS = 50_000

# Keyword, its name in findings, and whether it is an upper bound.
_LIMITS = {
    "string": (("maxLength", "MAX_LENGTH", True), ("minLength", "MIN_LENGTH", False)),
    "number": (
        ("maximum", "MAXIMUM", True),
        ("minimum", "MINIMUM", False),
        ("exclusiveMaximum", "EXCLUSIVE_MAXIMUM", True),
        ("exclusiveMinimum", "EXCLUSIVE_MINIMUM", False),
    ),
    "object": (("maxProperties", "MAX_PROPERTIES", True), ("minProperties", "MIN_PROPERTIES", False)),
    "array": (
        ("maxItems", "MAX_ITEMS", True),
        ("minItems", "MIN_ITEMS", False),
        ("maxContains", "MAX_CONTAINS", True),
        ("minContains", "MIN_CONTAINS", False),
    ),
}


class Difference(NamedTuple):
    """One finding: ``kind`` in Confluent's words."""

    kind: str
    path: str
    is_compatible: bool

    def __str__(self) -> str:
        words = self.kind.lower().replace("_", " ")
        return f'{{errorType:"{self.kind}", description:"at \'{self.path}\': {words}"}}'


def differences(original: JsonDocuments, update: JsonDocuments) -> list[Difference]:
    """What has changed from one to the other.

    Raises:
        InvalidSchema: they are too entangled to be compared.
    """
    old, new = Nodes(original).root(), Nodes(update).root()
    guilty: dict[tuple[int, int], list[Difference]] = {}
    while True:
        comparison = _Comparison(guilty)
        found = comparison.compare(old, new)
        # A pair within itself was taken for compatible. Where it turned out not to be, that must count everywhere.
        now = comparison.incompatible_pairs()
        if not comparison.has_assumed or now.keys() == guilty.keys():
            return [each._replace(path=f"#{each.path or '/'}") for each in found]
        guilty = now


def _is_compatible(found: list[Difference]) -> bool:
    return all(each.is_compatible for each in found)


def _below(step: str, found: list[Difference]) -> Iterator[Difference]:
    return (each._replace(path=f"/{step}{each.path}") for each in found)


class _Comparison:
    def __init__(self, guilty: dict[tuple[int, int], list[Difference]]) -> None:
        self.has_assumed = False
        self._guilty = guilty
        self._known: dict[tuple[int, int], list[Difference] | None] = {}
        self._count = 0
        self._kinds: dict[str, Callable[[Node, Node], Iterator[Difference]]] = {
            "string": self._string,
            "number": self._number,
            "enum": self._enum,
            "const": self._const,
            "not": self._not,
            "combined": self._combined,
            "object": self._object,
            "array": self._array,
        }

    def incompatible_pairs(self) -> dict[tuple[int, int], list[Difference]]:
        return {pair: found for pair, found in self._known.items() if found is not None and not _is_compatible(found)}

    def compare(self, old: Node, new: Node) -> list[Difference]:
        pair = id(old), id(new)
        if pair in self._known:
            known = self._known[pair]
            if known is not None:
                return known
            self.has_assumed = True
            return [each._replace(path="") for each in self._guilty.get(pair, ()) if not each.is_compatible]
        self._count += 1
        if self._count > _MOST_COMPARISONS:
            raise InvalidSchema("the schemas refer to themselves in too many ways to be compared")
        self._known[pair] = None
        found = self._known[pair] = list(self._compare(old, new))
        return found

    def _compare(self, old: Node, new: Node) -> Iterator[Difference]:
        instead = self._combined_with_single(old, new)
        if instead is not None:
            yield from instead
            return
        if old.kind != new.kind:
            if old.kind == "false" or new.kind == "empty":
                return
            both_bytes = all(each.said.get("connect.type") == "bytes" for each in (old, new))
            if not both_bytes:
                yield Difference("TYPE_CHANGED", "", False)
            return
        compare_kind = self._kinds.get(old.kind)
        if compare_kind is not None:
            yield from compare_kind(old, new)
        yield from self._limits(old, new)

    def _combined_with_single(self, old: Node, new: Node) -> list[Difference] | None:
        """A schema against one that combines some: it is enough that one of them fits, where that is what it means."""
        if old.kind != "combined" and new.kind == "combined":
            parts = new.part_nodes()
            if len(parts) == 1 or new.criterion in (ANY, ONE):
                for part in parts:
                    found = self.compare(old, part)
                    if _is_compatible(found):
                        return found if len(parts) == 1 else [*found, Difference("SUM_TYPE_EXTENDED", "", True)]
        elif old.kind == "combined" and new.kind != "combined":
            parts = old.part_nodes()
            if len(parts) == 1 or old.criterion == ALL:
                for part in parts:
                    found = self.compare(part, new)
                    if _is_compatible(found):
                        return found if len(parts) == 1 else [*found, Difference("PRODUCT_TYPE_NARROWED", "", True)]
        return None

    def _limits(self, old: Node, new: Node) -> Iterator[Difference]:
        for keyword, name, is_upper in _LIMITS.get(old.kind, ()):
            was, now = _number(old, keyword), _number(new, keyword)
            if was == now:
                continue
            if was is None:
                yield Difference(f"{name}_ADDED", f"/{keyword}", False)
            elif now is None:
                yield Difference(f"{name}_REMOVED", f"/{keyword}", True)
            elif was < now:
                yield Difference(f"{name}_INCREASED", f"/{keyword}", is_upper)
            else:
                yield Difference(f"{name}_DECREASED", f"/{keyword}", not is_upper)

    # -- values -------------------------------------------------------------------------------------------------

    def _string(self, old: Node, new: Node) -> Iterator[Difference]:
        was, now = old.said.get("pattern"), new.said.get("pattern")
        if was != now:
            kind = "ADDED" if was is None else "REMOVED" if now is None else "CHANGED"
            yield Difference(f"PATTERN_{kind}", "/pattern", now is None)

    def _number(self, old: Node, new: Node) -> Iterator[Difference]:
        was, now = _number(old, "multipleOf"), _number(new, "multipleOf")
        if was != now:
            if was is None:
                yield Difference("MULTIPLE_OF_ADDED", "/multipleOf", False)
            elif now is None:
                yield Difference("MULTIPLE_OF_REMOVED", "/multipleOf", True)
            elif was and now % was == 0:
                yield Difference("MULTIPLE_OF_EXPANDED", "/multipleOf", False)
            elif now and was % now == 0:
                yield Difference("MULTIPLE_OF_REDUCED", "/multipleOf", True)
            else:
                yield Difference("MULTIPLE_OF_CHANGED", "/multipleOf", False)
        was_integer, is_integer = old.type_name == "integer", new.type_name == "integer"
        if was_integer and not is_integer:
            yield Difference("TYPE_EXTENDED", "", True)
        elif is_integer and not was_integer:
            yield Difference("TYPE_NARROWED", "", False)

    def _enum(self, old: Node, new: Node) -> Iterator[Difference]:
        was, now = old.said["enum"], new.said["enum"]
        if all(_among(each, now) for each in was):
            if not all(_among(each, was) for each in now):
                yield Difference("ENUM_ARRAY_EXTENDED", "/enum", True)
        elif all(_among(each, was) for each in now):
            yield Difference("ENUM_ARRAY_NARROWED", "/enum", False)
        else:
            yield Difference("ENUM_ARRAY_CHANGED", "/enum", False)

    def _const(self, old: Node, new: Node) -> Iterator[Difference]:
        if not _same(old.said["const"], new.said["const"]):
            yield Difference("ENUM_ARRAY_CHANGED", "/const", False)

    def _not(self, old: Node, new: Node) -> Iterator[Difference]:
        # The other way round: what must not match may only become less.
        if _is_compatible(self.compare(new.child(new.said["not"]), old.child(old.said["not"]))):
            yield Difference("NOT_TYPE_NARROWED", "/not", True)
        else:
            yield Difference("NOT_TYPE_EXTENDED", "/not", False)

    # -- combined -----------------------------------------------------------------------------------------------

    def _combined(self, old: Node, new: Node) -> Iterator[Difference]:
        olds, news = old.part_nodes(), new.part_nodes()
        if old.criterion != new.criterion:
            is_extended = (
                new.criterion == ANY
                or (len(olds) == 1 and (len(news) == 1 or new.criterion == ONE))
                or (len(news) == 1 and old.criterion == ALL)
            )
            if not is_extended:
                yield Difference("COMBINED_TYPE_CHANGED", "", False)
                return
            yield Difference("COMBINED_TYPE_EXTENDED", "", True)
        if len(olds) < len(news):
            is_product = new.criterion == ALL
            yield Difference("PRODUCT_TYPE_EXTENDED" if is_product else "SUM_TYPE_EXTENDED", "", not is_product)
        elif len(olds) > len(news):
            is_product = old.criterion == ALL
            yield Difference("PRODUCT_TYPE_NARROWED" if is_product else "SUM_TYPE_NARROWED", "", is_product)
        fits = [[_is_compatible(self.compare(was, now)) for now in news] for was in olds]
        if _matched(fits) < min(len(olds), len(news)):
            yield Difference("COMBINED_TYPE_SUBSCHEMAS_CHANGED", "", False)

    # -- objects ------------------------------------------------------------------------------------------------

    def _object(self, old: Node, new: Node) -> Iterator[Difference]:
        yield from self._required(old, new)
        yield from self._properties(old, new)
        yield from self._dependencies(old, new)
        yield from self._additional(old, new, "additionalProperties", "ADDITIONAL_PROPERTIES")
        yield from self._unevaluated(old, new, "unevaluatedProperties", "UNEVALUATED_PROPERTIES")

    def _required(self, old: Node, new: Node) -> Iterator[Difference]:
        both = _schemas(old, "properties").keys() & _schemas(new, "properties").keys()
        for name in sorted(both):
            was, now = name in _strings(old, "required"), name in _strings(new, "required")
            path = f"/required/{name}"
            if was and not now:
                yield Difference("REQUIRED_ATTRIBUTE_REMOVED", path, True)
            elif now and not was:
                if _has_default(_schemas(new, "properties")[name]):
                    yield Difference("REQUIRED_ATTRIBUTE_WITH_DEFAULT_ADDED", path, True)
                else:
                    yield Difference("REQUIRED_ATTRIBUTE_ADDED", path, False)

    def _properties(self, old: Node, new: Node) -> Iterator[Difference]:
        olds, news = _schemas(old, "properties"), _schemas(new, "properties")
        for name in sorted(olds.keys() | news.keys()):
            if name not in news:
                found = list(self._removed(new, name, old.child(olds[name])))
            elif name not in olds:
                found = list(self._added(old, new, name))
            else:
                found = self.compare(old.child(olds[name]), new.child(news[name]))
            yield from _below(f"properties/{name}", found)

    def _removed(self, new: Node, name: str, was: Node) -> Iterator[Difference]:
        if _is_open(new):
            yield Difference("PROPERTY_REMOVED_FROM_OPEN_CONTENT_MODEL", "", True)
            return
        cover = _cover(new, name)
        if cover is not None:
            found = self.compare(was, cover)
            yield from found
            if _is_compatible(found):
                yield Difference("PROPERTY_REMOVED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", "", True)
            else:
                yield Difference("PROPERTY_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", "", False)
        elif was.kind == "false":
            yield Difference("PROPERTY_WITH_FALSE_REMOVED_FROM_CLOSED_CONTENT_MODEL", "", True)
        else:
            yield Difference("PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL", "", False)

    def _added(self, old: Node, new: Node, name: str) -> Iterator[Difference]:
        schema = _schemas(new, "properties")[name]
        now = new.child(schema)
        is_required, has_default = name in _strings(new, "required"), _has_default(schema)
        if _is_open(old):
            if now.kind == "empty":
                yield Difference("PROPERTY_WITH_EMPTY_SCHEMA_ADDED_TO_OPEN_CONTENT_MODEL", "", True)
            elif not is_required:
                yield Difference("OPTIONAL_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL", "", False)
            elif has_default:
                yield Difference("REQUIRED_PROPERTY_WITH_DEFAULT_ADDED_TO_OPEN_CONTENT_MODEL", "", False)
            else:
                yield Difference("REQUIRED_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL", "", False)
            return
        cover = _cover(old, name)
        if cover is not None:
            found = self.compare(cover, now)
            yield from found
            if _is_compatible(found):
                yield Difference("PROPERTY_ADDED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", "", True)
            else:
                yield Difference("PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", "", False)
        if not is_required:
            yield Difference("OPTIONAL_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL", "", True)
        elif has_default:
            yield Difference("REQUIRED_PROPERTY_WITH_DEFAULT_ADDED_TO_UNOPEN_CONTENT_MODEL", "", True)
        else:
            yield Difference("REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL", "", False)

    def _dependencies(self, old: Node, new: Node) -> Iterator[Difference]:
        olds, news = _dependencies(old), _dependencies(new)
        for name in sorted(olds.keys() | news.keys()):
            was, now, path = olds.get(name), news.get(name), f"/dependencies/{name}"
            old_names, new_names = _as_names(was), _as_names(now)
            if old_names is not None or new_names is not None:
                if new_names is None:
                    yield Difference("DEPENDENCY_ARRAY_REMOVED", path, True)
                elif old_names is None:
                    yield Difference("DEPENDENCY_ARRAY_ADDED", path, False)
                elif old_names < new_names:
                    yield Difference("DEPENDENCY_ARRAY_EXTENDED", path, False)
                elif new_names < old_names:
                    yield Difference("DEPENDENCY_ARRAY_NARROWED", path, True)
                elif old_names != new_names:
                    yield Difference("DEPENDENCY_ARRAY_CHANGED", path, False)
            was, now = (None if isinstance(each, list) else each for each in (was, now))
            if was is not None and now is not None:
                yield from _below(f"dependencies/{name}", self.compare(old.child(was), new.child(now)))
            elif was is not None:
                yield Difference("DEPENDENCY_SCHEMA_REMOVED", path, True)
            elif now is not None:
                yield Difference("DEPENDENCY_SCHEMA_ADDED", path, False)

    def _additional(self, old: Node, new: Node, keyword: str, name: str) -> Iterator[Difference]:
        was, now = _additional(old, keyword), _additional(new, keyword)
        path = f"/{keyword}"
        if (was is False) != (now is False):
            yield Difference(f"{name}_ADDED" if was is False else f"{name}_REMOVED", path, was is False)
        elif was is False:
            return
        elif was is None and now is not None:
            yield Difference(f"{name}_NARROWED", path, False)
        elif was is not None and now is None:
            yield Difference(f"{name}_EXTENDED", path, True)
        elif was is not None:
            yield from _below(keyword, self.compare(old.child(was), new.child(now)))

    def _unevaluated(self, old: Node, new: Node, keyword: str, name: str) -> Iterator[Difference]:
        was = old.child(old.said[keyword]) if keyword in old.said else None
        now = new.child(new.said[keyword]) if keyword in new.said else None
        path = f"/{keyword}"
        if was is None and now is None:
            return
        old_kind, new_kind = was.kind if was else "", now.kind if now else ""
        if (old_kind == "false") != (new_kind == "false"):
            is_more = old_kind == "false"
            yield Difference(f"{name}_ADDED" if is_more else f"{name}_REMOVED", path, is_more)
        elif now is None or (new_kind == "empty" and old_kind not in ("", "empty")):
            yield Difference(f"{name}_EXTENDED", path, True)
        elif was is None or (old_kind == "empty" and new_kind != "empty"):
            yield Difference(f"{name}_NARROWED", path, False)
        else:
            yield from _below(keyword, self.compare(was, now))

    # -- arrays -------------------------------------------------------------------------------------------------

    def _array(self, old: Node, new: Node) -> Iterator[Difference]:
        yield from self._all_items(old, new)
        olds, news = _tuple(old), _tuple(new)
        for index in range(max(len(olds), len(news))):
            if index >= len(news):
                found = list(self._item_removed(new, old.child(olds[index])))
            elif index >= len(olds):
                found = list(self._item_added(old, new.child(news[index])))
            else:
                found = self.compare(old.child(olds[index]), new.child(news[index]))
            yield from _below(f"items/{index}", found)
        yield from self._additional(old, new, "additionalItems", "ADDITIONAL_ITEMS")
        yield from self._unevaluated(old, new, "unevaluatedItems", "UNEVALUATED_ITEMS")
        was, now = bool(old.said.get("uniqueItems")), bool(new.said.get("uniqueItems"))
        if was != now:
            yield Difference("UNIQUE_ITEMS_REMOVED" if was else "UNIQUE_ITEMS_ADDED", "/uniqueItems", was)

    def _all_items(self, old: Node, new: Node) -> Iterator[Difference]:
        was, now = _every_item(old), _every_item(new)
        if was is None and now is not None:
            yield Difference("SCHEMA_ADDED", "/items", False)
        elif was is not None and now is None:
            yield Difference("SCHEMA_REMOVED", "/items", True)
        elif was is not None:
            yield from _below("items", self.compare(old.child(was), new.child(now)))

    def _item_removed(self, new: Node, was: Node) -> Iterator[Difference]:
        if _is_open_array(new):
            yield Difference("ITEM_REMOVED_FROM_OPEN_CONTENT_MODEL", "", True)
            return
        cover = _array_cover(new)
        if cover is not None:
            found = self.compare(was, cover)
            yield from found
            fits = _is_compatible(found)
            kind = "IS_COVERED" if fits else "NOT_COVERED"
            yield Difference(f"ITEM_REMOVED_{kind}_BY_PARTIALLY_OPEN_CONTENT_MODEL", "", fits)
        elif was.kind == "false":
            yield Difference("ITEM_WITH_FALSE_REMOVED_FROM_CLOSED_CONTENT_MODEL", "", True)
        else:
            yield Difference("ITEM_REMOVED_FROM_CLOSED_CONTENT_MODEL", "", False)

    def _item_added(self, old: Node, now: Node) -> Iterator[Difference]:
        if _is_open_array(old):
            is_empty = now.kind == "empty"
            kind = "ITEM_WITH_EMPTY_SCHEMA_ADDED" if is_empty else "ITEM_ADDED"
            yield Difference(f"{kind}_TO_OPEN_CONTENT_MODEL", "", is_empty)
            return
        cover = _array_cover(old)
        if cover is not None:
            found = self.compare(cover, now)
            yield from found
            fits = _is_compatible(found)
            kind = "IS_COVERED" if fits else "NOT_COVERED"
            yield Difference(f"ITEM_ADDED_{kind}_BY_PARTIALLY_OPEN_CONTENT_MODEL", "", fits)
        else:
            yield Difference("ITEM_ADDED_TO_CLOSED_CONTENT_MODEL", "", True)


# -- what schemas say -------------------------------------------------------------------------------------------------


def _number(node: Node, keyword: str) -> Decimal | None:
    value = node.said.get(keyword)
    # In draft 4 exclusiveMaximum is a boolean.
    return None if isinstance(value, bool) or not isinstance(value, (int, float)) else Decimal(str(value))


def _schemas(node: Node, keyword: str) -> dict[str, Any]:
    found = node.said.get(keyword)
    return found if isinstance(found, dict) else {}


def _strings(node: Node, keyword: str) -> list[Any]:
    found = node.said.get(keyword)
    return found if isinstance(found, list) else []


def _has_default(schema: Any) -> bool:
    return isinstance(schema, dict) and "default" in schema


def _same(one: Any, other: Any) -> bool:
    # In Python 1 == True.
    return type(one) is type(other) and one == other


def _among(value: Any, values: list[Any]) -> bool:
    return any(_same(value, each) for each in values)


def _dependencies(node: Node) -> dict[str, Any]:
    return {
        **_schemas(node, "dependentSchemas"),
        **_schemas(node, "dependentRequired"),
        **_schemas(node, "dependencies"),
    }


def _as_names(value: Any) -> set[str] | None:
    return set(value) if isinstance(value, list) else None


def _additional(node: Node, keyword: str) -> Any:
    """``False``: nothing; ``None``: anything; a schema otherwise."""
    if keyword == "additionalItems" and "prefixItems" in node.said:
        # Since draft 2020-12 "items" says what comes after the first ones.
        keyword = "items"
    value = node.said.get(keyword)
    return None if value is True else value


def _is_open(node: Node) -> bool:
    """Whether an object takes any property that its schema does not name."""
    if _additional(node, "additionalProperties") is not None or _schemas(node, "patternProperties"):
        return False
    return "unevaluatedProperties" not in node.said or node.child(node.said["unevaluatedProperties"]).kind == "empty"


def _cover(node: Node, name: str) -> Node | None:
    """The schema that holds for a property which is not named."""
    for pattern, schema in _schemas(node, "patternProperties").items():
        if found_in(pattern, name):
            return node.child(schema)
    return _else_cover(node, "additionalProperties", "unevaluatedProperties")


def _else_cover(node: Node, additional: str, unevaluated: str) -> Node | None:
    value = _additional(node, additional)
    if value is False:
        return None
    if value is not None:
        return node.child(value)
    if unevaluated in node.said:
        found = node.child(node.said[unevaluated])
        return None if found.kind in ("false", "empty") else found
    return None


def _tuple(node: Node) -> list[Any]:
    found = node.said.get("prefixItems", node.said.get("items"))
    return found if isinstance(found, list) else []


def _every_item(node: Node) -> Any:
    found = node.said.get("items")
    return None if "prefixItems" in node.said or isinstance(found, list) else found


def _is_open_array(node: Node) -> bool:
    if _additional(node, "additionalItems") is not None:
        return False
    return "unevaluatedItems" not in node.said or node.child(node.said["unevaluatedItems"]).kind == "empty"


def _array_cover(node: Node) -> Node | None:
    return _else_cover(node, "additionalItems", "unevaluatedItems")


def _matched(fits: list[list[bool]]) -> int:
    """How many of the left find one of the right for themselves (a maximum matching, by augmenting paths)."""
    taken: dict[int, int] = {}

    def place(left: int, tried: set[int]) -> bool:
        for right, fit in enumerate(fits[left]):
            if fit and right not in tried:
                tried.add(right)
                if right not in taken or place(taken[right], tried):
                    taken[right] = left
                    return True
        return False

    return sum(place(left, set()) for left in range(len(fits)))
