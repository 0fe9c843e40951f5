"""JSON Schemas as what they are kinds of: a string, an object, one of several. Pure.

A JSON Schema may say many things at once. They are taken apart as Confluent's registry does it, whose rules of
compatibility are about such kinds: what says a type and an enum is "all of" both, a list of types is "any of" them,
and a schema without type is of the kinds that its keywords are for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from engine.registry.json_documents import JsonDocuments, Located, base_within

ALL, ANY, ONE = "allOf", "anyOf", "oneOf"
_KEYWORDS = {
    "array": (
        "items",
        "additionalItems",
        "minItems",
        "maxItems",
        "uniqueItems",
        "contains",
        "prefixItems",
        "unevaluatedItems",
        "minContains",
        "maxContains",
    ),
    "object": (
        "properties",
        "required",
        "minProperties",
        "maxProperties",
        "dependencies",
        "patternProperties",
        "additionalProperties",
        "propertyNames",
        "dependentRequired",
        "dependentSchemas",
        "unevaluatedProperties",
    ),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "string": ("minLength", "maxLength", "pattern", "format"),
}
# The drafts since 2019 have meaning in what stands beside a $ref.
_NEW_DRAFTS = ("2019-09", "2020-12")


class Node:
    """A schema of one kind: string, number, boolean, null, object, array, enum, const, combined, not, conditional,
    empty (takes all) or false (takes nothing)."""

    __slots__ = ("_nodes", "base", "criterion", "kind", "parts", "said", "type_name")

    def __init__(
        self,
        nodes: Nodes,
        kind: str,
        said: Mapping[str, Any],
        base: str,
        *,
        criterion: str = "",
        parts: tuple[Node | Located, ...] = (),
        type_name: str = "",
    ) -> None:
        self._nodes = nodes
        self.kind = kind
        self.said = said
        self.base = base
        self.criterion = criterion
        self.parts = parts
        self.type_name = type_name

    def child(self, schema: Any) -> Node:
        """The node of a schema within this one's."""
        return self._nodes.node(Located(schema, self.base))

    def part_nodes(self) -> list[Node]:
        """What is combined, without what stands there twice."""
        found: dict[str, Node] = {}
        for part in self.parts:
            node = part if isinstance(part, Node) else self._nodes.node(part)
            written = node.kind + node.type_name + node.criterion if isinstance(part, Node) else ""
            text = json.dumps(part.said if isinstance(part, Node) else part.schema, sort_keys=True, default=str)
            found.setdefault(f"{written} {text}", node)
        return list(found.values())


class Nodes:
    """The nodes of the schemas of one set of documents; one for each schema."""

    def __init__(self, documents: JsonDocuments) -> None:
        self._documents = documents
        self._known: dict[int, Node] = {}
        root = documents.root.schema
        draft = root.get("$schema", "") if isinstance(root, dict) else ""
        self._is_new_draft = isinstance(draft, str) and any(each in draft for each in _NEW_DRAFTS)
        # Keeps alive what the keys above are the ids of.
        self._alive: list[Any] = []

    def root(self) -> Node:
        """Of the main schema."""
        return self.node(self._documents.root)

    def node(self, located: Located) -> Node:
        """Of a schema somewhere; a ``$ref`` is what it leads to."""
        schema, base = located
        is_reference = isinstance(schema, dict) and isinstance(schema.get("$ref"), str)
        if is_reference and not (self._is_new_draft and self._says_more(schema)):
            schema, base = self._documents.follow(located)
        known = self._known.get(id(schema))
        if known is None:
            known = self._known[id(schema)] = self._make(schema, base_within(schema, base))
            self._alive.append(schema)
        return known

    @staticmethod
    def _says_more(schema: dict[str, Any]) -> bool:
        words = {
            "type",
            "enum",
            "const",
            "not",
            "if",
            ALL,
            ANY,
            ONE,
            *(word for each in _KEYWORDS.values() for word in each),
        }
        return any(word in schema for word in words)

    def _make(self, schema: Any, base: str) -> Node:
        if not isinstance(schema, dict):
            return Node(self, "empty" if schema is True else "false", {}, base)
        parts: list[Node | Located] = []
        if isinstance(schema.get("$ref"), str):
            parts.append(self._documents.follow(Located({"$ref": schema["$ref"]}, base)))
        if "enum" in schema:
            parts.append(Node(self, "enum", schema, base))
        for criterion in (ALL, ANY, ONE):
            if isinstance(schema.get(criterion), list):
                within = tuple(Located(each, base) for each in schema[criterion])
                parts.append(Node(self, "combined", schema, base, criterion=criterion, parts=within))
        if "not" in schema:
            parts.append(Node(self, "not", schema, base))
        if "const" in schema:
            parts.append(Node(self, "const", schema, base))
        if "if" in schema:
            parts.append(Node(self, "conditional", schema, base))
        parts += self._typed(schema, base)
        if not parts:
            return Node(self, "empty", schema, base)
        if len(parts) == 1:
            return parts[0] if isinstance(parts[0], Node) else self.node(parts[0])
        return Node(self, "combined", schema, base, criterion=ALL, parts=tuple(parts))

    def _typed(self, schema: dict[str, Any], base: str) -> list[Node]:
        said = schema.get("type")
        if isinstance(said, str):
            return [self._of_type(said, schema, base)]
        if isinstance(said, list):
            parts = tuple(self._of_type(each, schema, base) for each in said)
            return [Node(self, "combined", {"type": said}, base, criterion=ANY, parts=parts)]
        return [
            Node(self, kind, schema, base, type_name=kind)
            for kind, words in _KEYWORDS.items()
            if any(word in schema for word in words)
        ]

    def _of_type(self, type_name: str, schema: dict[str, Any], base: str) -> Node:
        kind = "number" if type_name == "integer" else type_name
        return Node(self, kind, schema, base, type_name=type_name)
