"""The transforms of a connector, one after the other (``runtime.TransformationChain``, KIP-66, KIP-585).

Configs: ``transforms=a,b``, ``transforms.a.type``, ``transforms.a.predicate``, ``transforms.a.negate`` and the
transform's own with the prefix ``transforms.a.``; ``predicates=p``, ``predicates.p.type`` likewise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.connect.config_def import ConfigType, parse_value
from engine.connect.errors import ConfigError, ConnectError
from engine.connect.plugins import PluginType, find
from engine.connect.predicates.predicate import Predicate
from engine.connect.transforms.transformation import R, Transformation

TRANSFORMS, PREDICATES = "transforms", "predicates"


@dataclass(frozen=True, slots=True)
class Stage:
    """One transform, and for which records it is (``TransformationStage``)."""

    name: str
    transformation: Transformation
    predicate: Predicate | None = None
    negate: bool = False

    def apply(self, record: R) -> R | None:
        """What becomes of a record; raises DataError."""
        if self.predicate is not None and bool(self.predicate.test(record)) is self.negate:
            return record
        return self.transformation.apply(record)

    def close(self) -> None:
        """Not used any more."""
        self.transformation.close()
        if self.predicate is not None:
            self.predicate.close()


class TransformationChain:
    """All of a connector's; false if there is none, so that a task need not ask it."""

    def __init__(self, stages: tuple[Stage, ...]) -> None:
        self.stages = stages

    @classmethod
    def of(cls, configs: Mapping[str, Any]) -> TransformationChain:
        """As a connector's configs say.

        Raises:
            ConfigError: a transform or predicate that is not there, or its configs cannot be.
        """
        return cls(tuple(_stage(name, configs) for name in _names(TRANSFORMS, configs)))

    def apply(self, record: R) -> R | None:
        """What becomes of a record in the end; None where one drops it. Raises DataError."""
        for stage in self.stages:
            changed = stage.apply(record)
            if changed is None:
                return None
            record = changed
        return record

    def close(self) -> None:
        """Not used any more."""
        for stage in self.stages:
            stage.close()

    def __bool__(self) -> bool:
        return bool(self.stages)


def _names(what: str, configs: Mapping[str, Any]) -> list[str]:
    names = [each for each in parse_value(what, configs.get(what), ConfigType.LIST) or () if each]
    if len(set(names)) != len(names):
        raise ConfigError(what, configs.get(what), "Duplicate alias provided.")
    return list(names)


def _prefixed(prefix: str, configs: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in configs.items() if name.startswith(prefix)}


def _plugin(name: str, value: Any, kind: PluginType) -> type:
    if not value:
        raise ConfigError.saying(f'Missing required configuration "{name}" which has no default value.')
    try:
        return find(str(value), kind)
    except ConnectError as error:
        raise ConfigError(name, value, str(error)) from None


def _stage(name: str, configs: Mapping[str, Any]) -> Stage:
    own = _prefixed(f"{TRANSFORMS}.{name}.", configs)
    made: Transformation = _plugin(f"{TRANSFORMS}.{name}.type", own.get("type"), PluginType.TRANSFORMATION)()
    made.configure(own)
    condition = own.get("predicate")
    if not condition:
        return Stage(name, made)
    if condition not in _names(PREDICATES, configs):
        raise ConfigError(f"{TRANSFORMS}.{name}.predicate", condition, f"There is no such alias in '{PREDICATES}'")
    theirs = _prefixed(f"{PREDICATES}.{condition}.", configs)
    predicate: Predicate = _plugin(f"{PREDICATES}.{condition}.type", theirs.get("type"), PluginType.PREDICATE)()
    predicate.configure(theirs)
    negate = parse_value(f"{TRANSFORMS}.{name}.negate", own.get("negate", False), ConfigType.BOOLEAN)
    return Stage(name, made, predicate, negate)
