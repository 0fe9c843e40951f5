"""The file of masks. Complaints name line and remedy. Pure: environment and randomness are given.

salt: "${MASK_SALT}"
rules:
  - {topic: "customers*", path: $.contact.email, do: hide}
  - {topic: payments, path: "$..card", do: last, keep: 4}
  - {topic: payments, in: key, do: hash}
  - {topic: "*", header: authorization}
  - {topic: "*", regex: '\\b\\d{16}\\b', in: [key, value, headers]}
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import yaml

from console.values.masks import Deed, MaskRule, Masks, Part, parse_path
from engine.supervisor.yaml_nodes import MappingReader, Node, Problems, read_mapping

_VARIABLE = re.compile(r"\$\{(\w+)\}")


def parse_masking_file(text: str, environment: Mapping[str, str], salt: bytes) -> Masks:
    """Read a file; hashes are salted by ``salt`` if it names none.

    Raises:
        SpecErrors: with everything that is wrong with it.
    """
    # One that is empty was cut off by accident, perhaps: it must not unmask anything.
    reader = read_mapping(text, "the file of masks", if_empty="add `rules:`, or take the file away")
    problems = reader.problems
    written = reader.text("salt")
    if written is not None:
        for name in _VARIABLE.findall(written):
            if name not in environment:
                problems.error(
                    reader.place("salt"), f"the environment has no {name}", f"export {name}, or write the value here"
                )
        salt = _VARIABLE.sub(lambda found: environment.get(found[1], ""), written).encode()
    rules = tuple(_rule(each, problems) for each in reader.items("rules"))
    if not rules and not problems.errors:
        problems.error(reader.place("rules"), "the file has no rules", "add `rules:`, or take the file away")
    reader.end()
    return Masks(rules, salt)


def _rule(node: Node, problems: Problems) -> MaskRule:
    reader = MappingReader(node, "a mask", problems)
    topic = reader.required_text("topic") or "*"
    header, path, regex = reader.text("header"), reader.text("path"), reader.text("regex")
    parts = _parts(reader, problems)
    deed = Deed(reader.text("do", "hide", choices=tuple(map(str, Deed))) or Deed.HIDE)
    keep = reader.integer("keep", 4 if deed is Deed.LAST else 0, low=0, high=100)
    steps, pattern = (), None
    try:
        steps = parse_path(path) if path is not None else ()
    except ValueError as error:
        problems.error(reader.place("path"), f"{path!r} is no path", str(error))
    try:
        pattern = re.compile(regex) if regex is not None else None
        if pattern is not None and pattern.match(""):
            problems.error(reader.place("regex"), f"{regex!r} matches nothing at all", "let it match what is to go")
    except re.error as error:
        problems.error(reader.place("regex"), f"{regex!r} is no regular expression: {error}", "mend it")
    if path is not None and regex is not None:
        problems.error(node, "a mask has a path or a regex, not both", "make two of it")
    if header is not None:
        if parts not in ((), (Part.HEADERS,)):
            problems.error(reader.place("in"), "'header' is about headers alone", "leave out 'in', or make two of it")
        parts = (Part.HEADERS,)
    elif not parts:
        if path is None and regex is None and isinstance(node, yaml.MappingNode):
            problems.error(node, "nothing says what is masked", "add `in: value`, a header, a path or a regex")
        parts = (Part.VALUE,) if path is not None else tuple(Part)
    if deed is not Deed.LAST and keep:
        problems.error(reader.place("keep"), "'keep' goes with `do: last`", "write `do: last`, or leave it out")
    reader.finish()
    said = path or (f"/{regex}/" if regex is not None else "")
    return MaskRule(topic, parts, deed, keep, steps, pattern, header or "*", said)


def _parts(reader: MappingReader, problems: Problems) -> tuple[Part, ...]:
    node = reader.take("in")
    if node is None:
        return ()
    named = reader.texts("in") if isinstance(node, yaml.SequenceNode) else [(str(node.value), node)]
    found = []
    for word, place in named:
        if word in tuple(Part):
            found.append(Part(word))
        else:
            problems.error(place, f"there is nothing called {word!r} in a record", f"choose of {', '.join(Part)}")
    return tuple(dict.fromkeys(found))
