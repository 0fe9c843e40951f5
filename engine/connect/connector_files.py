"""A connector in a file: properties, JSON or YAML, with the state to begin in where the file says one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from engine.connect.errors import ConnectError
from engine.model.properties import read_properties

STATES = ("RUNNING", "PAUSED", "STOPPED")
_FIELDS = {"name", "config", "initial_state"}


@dataclass(frozen=True, slots=True)
class ConnectorFile:
    """``initial_state`` is None, or one of :data:`STATES` (KIP-980)."""

    name: str
    config: Mapping[str, str]
    initial_state: str | None = None


def read_connector_file(path: str) -> ConnectorFile:
    """The connector that a file tells of.

    JSON (``.json``) and YAML (``.yaml``, ``.yml``) hold either what REST takes, ``{"name", "config",
    "initial_state"}``, or the config alone; all else is Java's properties.

    Raises:
        ConnectError: it cannot be read, or is none.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise ConnectError(f"{path} cannot be read: {error}") from None
    kind = os.path.splitext(path)[1].lower()
    try:
        if kind == ".json":
            return connector_of(json.loads(text), path)
        if kind in (".yaml", ".yml"):
            return connector_of(yaml.safe_load(text), path)
    except (ValueError, yaml.YAMLError) as error:
        raise ConnectError(f"{path} is not {'JSON' if kind == '.json' else 'YAML'}: {error}") from None
    return connector_of(read_properties(text), path)


def connector_of(document: Any, where: str) -> ConnectorFile:
    """The connector that an object tells of; numbers and truth values become the texts that they stand for.

    Raises:
        ConnectError: it is none, or has no name.
    """
    if not isinstance(document, dict):
        raise ConnectError(f"{where}: a connector is an object: its config, or name and config")
    state = None
    config = document
    if isinstance(document.get("config"), dict):
        strange = sorted(set(map(str, document)) - _FIELDS)
        if strange:
            raise ConnectError(f"{where}: {strange[0]} is not known beside name and config")
        config = {**document["config"]}
        if document.get("name") is not None:
            if config.get("name", document["name"]) != document["name"]:
                raise ConnectError(f"{where}: name is {document['name']} here and {config['name']} in config")
            config["name"] = document["name"]
        state = document.get("initial_state")
        if state is not None and str(state).upper() not in STATES:
            raise ConnectError(f"{where}: initial_state is one of {', '.join(STATES)}, not {state}")
    texts = {str(name): _text(value, f"{where}: {name}") for name, value in config.items() if value is not None}
    if not texts.get("name", "").strip():
        raise ConnectError(f"{where}: the connector has no name")
    return ConnectorFile(texts["name"].strip(), texts, None if state is None else str(state).upper())


def _text(value: Any, where: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise ConnectError(f"{where} has to be a text, not {type(value).__name__}")
