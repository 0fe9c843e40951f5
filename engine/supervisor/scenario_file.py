"""A scenario of the simulator: options, and acts at simulated times, from YAML. Complaints name line and remedy. Pure.

seed: 7
brokers: 3
faults: []                 # none of the seed's own
at:
  - {at: 2.5, kill: 1}
  - {at: 4, start: 1}
  - {at: 6, cut: [2, 3]}
  - {at: 9, heal: all}
"""

from __future__ import annotations

from typing import Any, NamedTuple

import yaml

from engine.sim.options import DURABILITIES, FAULTS, LOADS
from engine.sim.stepping.acts import BROKERS_OF, VALUES, Act, Planned
from engine.supervisor.yaml_nodes import MappingReader, Node, Problems, read_mapping

# Brokers of a scenario that names no number of them.
DEFAULT_BROKERS = 3
MOST_BROKERS = 9
_LONGEST_S = 86_400.0


class Scenario(NamedTuple):
    """``options`` are those of :func:`engine.sim.options.options_from` that the file gives; ``planned`` are acts in the
    order of their times, which count from the run's beginning."""

    options: dict[str, Any]
    planned: list[Planned]


def parse_scenario(text: str, *, brokers: int | None = None) -> Scenario:
    """Read a scenario; ``brokers`` is their number if it was given elsewhere.

    Raises:
        SpecErrors: with everything that is wrong with it.
    """
    reader = read_mapping(text, "the scenario")
    problems = reader.problems
    options = _options(reader, problems)
    if brokers is None:
        # Acts name brokers: how many there are is not left to the seed.
        brokers = options.setdefault("brokers", DEFAULT_BROKERS)
    planned = [each for node in reader.items("at") if (each := _planned(node, brokers, problems)) is not None]
    reader.end()
    planned.sort(key=lambda each: each.at_s or 0.0)
    return Scenario(options, planned)


def _options(reader: MappingReader, problems: Problems) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if reader.take("seed") is not None:
        options["seed"] = reader.integer("seed", 0, low=0)
    if reader.take("seconds") is not None:
        options["seconds"] = reader.number("seconds", 60.0, low=0.1, high=_LONGEST_S)
    if reader.take("brokers") is not None:
        options["brokers"] = reader.integer("brokers", DEFAULT_BROKERS, low=1, high=MOST_BROKERS)
    for name, choices in (("durability", DURABILITIES), ("load", LOADS)):
        value = reader.text(name, choices=choices)
        if value is not None:
            options[name] = value
    if reader.take("faults") is not None:
        faults = reader.texts("faults")
        for kind, node in faults:
            if kind not in FAULTS:
                problems.error(node, f"{kind!r} is no kind of fault", f"choose of {', '.join(FAULTS)}")
        options["faults"] = tuple(kind for kind, _ in faults)
    return options


def _planned(node: Node, brokers: int, problems: Problems) -> Planned | None:
    reader = MappingReader(node, "an entry of 'at'", problems)
    if not isinstance(node, yaml.MappingNode):
        return None
    before = len(problems.errors)
    if reader.take("at") is None:
        problems.error(node, "an entry of 'at' has no 'at'", "add `at: 2.5`, seconds from the run's beginning")
    at_s = reader.number("at", 0.0, low=0.0, high=_LONGEST_S)
    kinds = [name for name, _, _ in reader.entries() if name in BROKERS_OF]
    if len(kinds) != 1:
        what = "names no act" if not kinds else f"names the acts {' and '.join(kinds)}"
        problems.error(node, f"an entry of 'at' {what}", f"give one of {', '.join(BROKERS_OF)}")
        # What else stands there may be the misspelt act: that is told with what it may have meant.
        for kind in BROKERS_OF:
            reader.take(kind)
        reader.take("value")
        reader.finish()
        return None
    (kind,) = kinds
    named = _brokers(reader, kind, brokers, problems)
    value = 0.0
    if kind in VALUES:
        if reader.take("value") is None:
            problems.error(node, f"{kind} has no 'value'", f"add `value: …`, {VALUES[kind]}")
        value = reader.number("value", 0.0, low=-1e9, high=1e9)
    reader.finish()
    return None if len(problems.errors) > before else Planned(Act(kind, named, value), None, at_s, "scenario")


def _brokers(reader: MappingReader, kind: str, count: int, problems: Problems) -> tuple[int, ...]:
    """``1``, ``[1, 2]`` or ``all``; nothing but ``all`` for acts on everything."""
    node = reader.take(kind)
    wanted = BROKERS_OF[kind]
    place = reader.place(kind)
    if node is not None and isinstance(node, yaml.ScalarNode) and str(node.value) in ("all", "true"):
        if wanted == 0:
            return ()
        if wanted is None:
            return tuple(range(1, count + 1))
    if wanted == 0:
        problems.error(place, f"{kind} is for everything", f"write `{kind}: all`")
        return ()
    nodes = list(node.value) if isinstance(node, yaml.SequenceNode) else [node] if node is not None else []
    found: list[int] = []
    for each in nodes:
        text = str(each.value) if isinstance(each, yaml.ScalarNode) else ""
        if not text.isdigit() or not 1 <= int(text) <= count:
            problems.error(each, f"{kind} names broker {text or '…'}", f"there are brokers 1 to {count}")
        elif int(text) in found:
            problems.error(each, f"{kind} names broker {text} twice", "name each once")
        else:
            found.append(int(text))
    needed = "a broker, or several: [1, 2], or all" if wanted is None else f"{wanted} brokers: [1, 2]"
    if wanted == 1:
        needed = "one broker"
    if (wanted is None and not nodes) or (wanted is not None and len(nodes) != wanted):
        problems.error(place, f"{kind} is of {needed}", f"write `{kind}: {'[1, 2]' if wanted == 2 else '1'}`")
    return tuple(found)
