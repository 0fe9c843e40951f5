"""A connector's converters, made and configured from its configs and the worker's."""

from __future__ import annotations

from collections.abc import Mapping

from engine.connect import plugins
from engine.connect.converters.converter import Converter, HeaderConverter
from engine.connect.plugins import PluginType
from engine.connect.runtime.stages import Converters
from engine.connect.runtime.worker_config import WorkerConfig


def under(props: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Configs that begin with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in props.items() if name.startswith(prefix)}


def make_converters(props: Mapping[str, str], worker: WorkerConfig) -> Converters:
    """Of a connector with these resolved configs: its own, or the worker's.

    Raises:
        ConfigError, NotFoundError: one cannot be made.
    """
    return Converters(
        _converter(props, worker, "key"), _converter(props, worker, "value"), _header_converter(props, worker)
    )


def _chosen(props: Mapping[str, str], worker: WorkerConfig, what: str) -> tuple[str, dict[str, str]]:
    config = f"{what}.converter"
    if props.get(config):
        return props[config], under(props, f"{config}.")
    return worker[config], under(worker.resolved, f"{config}.")


def _converter(props: Mapping[str, str], worker: WorkerConfig, what: str) -> Converter:
    name, configs = _chosen(props, worker, what)
    made: Converter = plugins.find(name, PluginType.CONVERTER)()
    made.configure({**configs, "converter.type": what}, what == "key")
    return made


def _header_converter(props: Mapping[str, str], worker: WorkerConfig) -> HeaderConverter:
    name, configs = _chosen(props, worker, "header")
    made: HeaderConverter = plugins.find(name, PluginType.HEADER_CONVERTER)()
    made.configure_header({**configs, "converter.type": "header"})
    return made
