"""The drills that come along with kconsole: files in ``engine/drills/shipped/``."""

from __future__ import annotations

from importlib.resources import files

import yaml

_ENDING = ".yaml"


def shipped() -> list[tuple[str, str]]:
    """Their names, and what each is about, in the order of the names."""
    found = []
    for entry in files("engine.drills").joinpath("shipped").iterdir():
        if entry.name.endswith(_ENDING):
            about = yaml.safe_load(entry.read_text(encoding="utf-8")).get("about", "")
            found.append((entry.name.removesuffix(_ENDING), str(about)))
    return sorted(found)


def text_of(name: str) -> str | None:
    """The file of the drill with that name; ``None`` if none comes along."""
    if name not in {each for each, _ in shipped()}:
        return None
    return files("engine.drills").joinpath("shipped", name + _ENDING).read_text(encoding="utf-8")
