"""A cluster file that says ZooKeeper, without what is ZooKeeper's: the rest of its text stays as it is. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from engine.model.zookeeper_config import ZOOKEEPER_CONFIGS

_KEYS = frozenset(("coordination", "zookeeper", "zookeeper.connect"))

Span = tuple[int, int]


def without_zookeeper(text: str) -> str:
    """The text without ``coordination``, ``zookeeper``, ``zookeeper.connect``, and configs that only ZooKeeper's
    clusters have. It must be a cluster file that can be read."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode), "it was read before"
    spans = list(_spans(text, root, _KEYS))
    for key, value in root.value:
        if key.value == "configs" and isinstance(value, yaml.MappingNode):
            spans += _of_configs(text, root, key, value)
        if key.value == "brokers" and isinstance(value, yaml.SequenceNode):
            for broker in value.value:
                for name, configs in broker.value:
                    if name.value == "configs" and isinstance(configs, yaml.MappingNode):
                        spans += _of_configs(text, broker, name, configs)
    for start, end in sorted(spans, reverse=True):
        text = text[:start] + text[end:]
    return text


def _of_configs(text: str, above: yaml.MappingNode, key: yaml.Node, configs: yaml.MappingNode) -> Iterator[Span]:
    """Spans of ZooKeeper's configs; that of the whole mapping, if it has no others."""
    names = {name.value for name, _ in configs.value}
    if names and names <= ZOOKEEPER_CONFIGS.keys():
        yield from _spans(text, above, frozenset((key.value,)))
    else:
        yield from _spans(text, configs, frozenset(ZOOKEEPER_CONFIGS))


def _spans(text: str, mapping: yaml.MappingNode, names: frozenset[str]) -> Iterator[Span]:
    """From where to where keys with these names stand, values and separators included."""
    pairs = mapping.value
    for at, (key, value) in enumerate(pairs):
        if key.value not in names:
            continue
        start, end = key.start_mark.index, value.end_mark.index
        if mapping.flow_style:
            if any(each.value not in names for each, _ in pairs[at + 1 :]):
                end = pairs[at + 1][0].start_mark.index
            elif at:
                start = pairs[at - 1][1].end_mark.index
        else:
            # Whole lines; the end of a block stands where the next thing begins.
            end = len(text[:end].rstrip())
            after = text.find("\n", end)
            end = len(text) if after < 0 else after + 1
            line = text.rfind("\n", 0, start) + 1
            if text[line:start].strip():
                # The first key of an item of a list: the next one takes its place behind the dash.
                end = pairs[at + 1][0].start_mark.index if at + 1 < len(pairs) else end
            else:
                start = line
        yield start, end
