"""The documents say what is so: paths that they name exist, links lead somewhere, tables are those of the code."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_TOPS = ("bench", "console", "docs", "engine", "tests", "themes", "tools")


def names(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_paths_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(r"`([\w./-]+)`", page.read_text())
    paths = [each for each in named if each.split("/")[0] in _TOPS and "/" in each]
    assert [each for each in paths if not (ROOT / each).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    local = [each for each in targets if "://" not in each]
    assert [each for each in local if not (page.parent / each).exists()] == []


def test_the_tables_of_keys_and_commands_are_those_of_the_console() -> None:
    specification = importlib.util.spec_from_file_location("keys_as_markdown", ROOT / "tools/keys_as_markdown.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    written = module.PAGE.read_text()
    assert module.page(written) == written, "run python tools/keys_as_markdown.py"
