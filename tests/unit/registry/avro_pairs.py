"""Pairs of Avro schemas of which one is what became of the other: random, the same for the same seed."""

from __future__ import annotations

import copy
import random
from typing import Any

_PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
_DEFAULTS: dict[str, Any] = {
    "null": None,
    "boolean": True,
    "int": 7,
    "long": -7,
    "float": 1.5,
    "double": 0.25,
    "bytes": "\u00ff",
    "string": "é",
}


def pair(seed: int) -> tuple[Any, Any]:
    """An old schema and a new one, as JSON values."""
    rng = random.Random(seed)
    maker = _Maker(rng)
    old = maker.type(0, named=True)
    new = copy.deepcopy(old)
    for _ in range(rng.randint(1, 3)):
        new = maker.changed(new)
    return (old, new) if rng.random() < 0.5 else (new, old)


class _Maker:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._names = 0

    def name(self) -> str:
        self._names += 1
        return f"N{self._names}"

    def type(self, depth: int, *, named: bool = False, in_union: bool = False) -> Any:
        rng = self._rng
        kinds = (
            ["record", "enum", "fixed"] if named else ["primitive"] * 4 + ["record", "enum", "fixed", "array", "map"]
        )
        if not in_union and not named:
            kinds.append("union")
        if depth >= 3:
            kinds = ["primitive"]
        kind = rng.choice(kinds)
        if kind == "primitive":
            found: Any = rng.choice(_PRIMITIVES)
            if found == "long" and rng.random() < 0.2:
                return {"type": "long", "logicalType": "timestamp-millis"}
            return {"type": found, "note": "x"} if rng.random() < 0.1 else found
        if kind == "array":
            return {"type": "array", "items": self.type(depth + 1)}
        if kind == "map":
            return {"type": "map", "values": self.type(depth + 1)}
        if kind == "union":
            return self.union(depth)
        made: dict[str, Any] = {"type": kind, "name": self.name()}
        if rng.random() < 0.3:
            made["namespace"] = rng.choice(("x", "x.y", "z"))
        if rng.random() < 0.2:
            made["doc"] = 'says "so"'
        if rng.random() < 0.2:
            made["aliases"] = [rng.choice(("Old", "x.Old", "z.Older"))]
        if kind == "fixed":
            made["size"] = rng.randint(1, 4)
        elif kind == "enum":
            made["symbols"] = rng.sample(("A", "B", "C", "D"), rng.randint(1, 4))
            if rng.random() < 0.3:
                made["default"] = made["symbols"][0]
        else:
            made["fields"] = [self.field(f"f{number}", depth) for number in range(rng.randint(0, 4))]
        return made

    def union(self, depth: int) -> list[Any]:
        branches: dict[str, Any] = {}
        for _ in range(self._rng.randint(1, 4)):
            branch = self.type(depth + 1, in_union=True)
            kind = branch if isinstance(branch, str) else branch.get("name") or branch["type"]
            branches.setdefault(kind, branch)
        return list(branches.values())

    def field(self, name: str, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {"name": name, "type": self.type(depth + 1)}
        self._maybe_default(made)
        if self._rng.random() < 0.15:
            made["aliases"] = [self._rng.choice(("f0", "f1", "g0"))]
        if self._rng.random() < 0.1:
            made["order"] = self._rng.choice(("ascending", "descending", "ignore"))
        if self._rng.random() < 0.1:
            made["pii"] = True
        return made

    def _maybe_default(self, made: dict[str, Any]) -> None:
        kind = made["type"]
        first = kind[0] if isinstance(kind, list) else kind
        if isinstance(first, str) and first in _DEFAULTS and self._rng.random() < 0.5:
            made["default"] = _DEFAULTS[first]

    # -- changes ------------------------------------------------------------------------------------------------

    def changed(self, schema: Any) -> Any:
        rng = self._rng
        if isinstance(schema, list):
            return self._changed_union(schema)
        if isinstance(schema, str):
            return rng.choice((*_PRIMITIVES, ["null", schema] if schema != "null" else "int"))
        kind = schema["type"]
        if kind in ("array", "map"):
            inner = "items" if kind == "array" else "values"
            return {**schema, inner: self.changed(schema[inner])}
        if kind not in ("record", "enum", "fixed"):
            return self.changed(kind)
        if rng.random() < 0.15:
            return self._renamed(schema)
        if kind == "fixed":
            return {**schema, "size": rng.randint(1, 4)}
        if kind == "enum":
            changed = {**schema, "symbols": rng.sample(("A", "B", "C", "D"), rng.randint(1, 4))}
            changed.pop("default", None)
            if rng.random() < 0.3:
                changed["default"] = changed["symbols"][0]
            return changed
        return self._changed_record(schema)

    def _renamed(self, schema: dict[str, Any]) -> dict[str, Any]:
        space = schema.get("namespace")
        before = f"{space}.{schema['name']}" if space else schema["name"]
        changed = {**schema, "name": self.name()}
        if self._rng.random() < 0.5:
            changed["aliases"] = [before]
        return changed

    def _changed_union(self, schema: list[Any]) -> list[Any]:
        rng = self._rng
        changed = list(schema)
        act = rng.random()
        if act < 0.35 and len(changed) > 1:
            changed.pop(rng.randrange(len(changed)))
        elif act < 0.7:
            known = {each if isinstance(each, str) else each.get("name") or each["type"] for each in changed}
            more = [each for each in _PRIMITIVES if each not in known]
            changed.insert(rng.randrange(len(changed) + 1), rng.choice(more)) if more else None
        else:
            rng.shuffle(changed)
        return changed

    def _changed_record(self, schema: dict[str, Any]) -> dict[str, Any]:
        rng = self._rng
        fields = copy.deepcopy(schema["fields"])
        act = rng.random()
        if act < 0.3 or not fields:
            fields.insert(rng.randrange(len(fields) + 1), self.field(f"g{rng.randrange(3)}", 2))
        elif act < 0.5:
            fields.pop(rng.randrange(len(fields)))
        elif act < 0.6:
            found = rng.choice(fields)
            if rng.random() < 0.7:
                found["aliases"] = [found["name"]]
            found["name"] = f"h{rng.randrange(3)}"
        elif act < 0.7:
            found = rng.choice(fields)
            found.pop("default", None)
            self._maybe_default(found)
        else:
            found = rng.choice(fields)
            found["type"] = self.changed(found["type"])
            found.pop("default", None)
            self._maybe_default(found)
        return {**schema, "fields": fields}
