"""What validation found: each config with its definition, its value and what is wrong with it (``ConfigInfos``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.connect.config_def import ConfigKey, ConfigType, ConfigValue, Password


@dataclass(frozen=True, slots=True)
class ConfigInfo:
    """One config; no key: nobody knows a config of that name."""

    key: ConfigKey | None
    value: ConfigValue


@dataclass(frozen=True, slots=True)
class ConfigInfos:
    """All of a connector's configs; ``name`` is the class as the config names it."""

    name: str
    groups: Sequence[str]
    configs: Sequence[ConfigInfo]

    @property
    def errors(self) -> list[str]:
        """Everything that is wrong, config by config."""
        return [message for each in self.configs for message in each.value.errors]

    def summary(self) -> str:
        """What a connector is refused with; call it only when there are errors."""
        found = self.errors
        assert found, "nothing is wrong"
        return (
            f"Connector configuration is invalid and contains the following {len(found)} error(s):\n"
            + "\n".join(found)
            + "\nYou can also find the above list of errors at the endpoint "
            "`/connector-plugins/{connectorType}/config/validate`"
        )

    def to_json(self) -> dict[str, Any]:
        """As REST answers it."""
        return {
            "name": self.name,
            "error_count": len(self.errors),
            "groups": list(self.groups),
            "configs": [
                {
                    "definition": None if each.key is None else key_to_json(each.key),
                    "value": {
                        "name": each.value.name,
                        "value": value_to_text(each.value.value, None if each.key is None else each.key.type),
                        "recommended_values": [
                            value_to_text(one, None if each.key is None else each.key.type)
                            for one in each.value.recommended
                        ],
                        "errors": list(each.value.errors),
                        "visible": each.value.visible,
                    },
                }
                for each in self.configs
            ],
        }


def key_to_json(key: ConfigKey) -> dict[str, Any]:
    """A definition as REST shows it (``ConfigKeyInfo``)."""
    return {
        "name": key.name,
        "type": key.type.value,
        "required": key.required,
        "default_value": None if key.required else value_to_text(key.default, key.type),
        "importance": key.importance.value,
        "documentation": key.documentation,
        "group": key.group,
        "order_in_group": key.order_in_group,
        "width": key.width.value,
        "display_name": key.display_name,
        "dependents": list(key.dependents),
    }


def value_to_text(value: Any, kind: ConfigType | None) -> str | None:
    """``ConfigDef.convertToString``: secrets stay hidden."""
    if value is None:
        return None
    if isinstance(value, Password):
        return Password.HIDDEN
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return ",".join(str(each) for each in value)
    if kind is ConfigType.CLASS and isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    return str(value)
