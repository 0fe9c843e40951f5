"""The documents say what is so: paths that they name exist, links lead somewhere, tables are those of the code."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

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


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_no_conflict_of_two_changes_was_left_in_a_page(page: Path) -> None:
    assert not re.search(r"^(<<<<<<<|>>>>>>>) ", page.read_text(), re.MULTILINE)


def test_each_feature_that_is_ticked_is_proven_by_a_test_of_that_name() -> None:
    page = ROOT / "docs/features.md"
    rows = [line.split(" | ") for line in page.read_text().splitlines() if line.startswith("| ") and "---" not in line]
    for feature, mark, proof in (each for each in rows if len(each) == 3):
        tests = re.findall(r"\[(test_\w+)\]\(([^)]+)\)", proof)
        assert tests or "✓" not in mark, f"{feature} is ticked, and nothing proves it"
        assert len(proof.strip(" |")) > 3, f"{feature} is not ticked, and nothing says why"
        for name, path in tests:
            assert re.search(rf"def {name}\b", (page.parent / path).read_text()), f"{feature}: {path} has no {name}"


def tool(name: str) -> ModuleType:
    """A module of tools/, which is no package."""
    specification = importlib.util.spec_from_file_location(name, ROOT / f"tools/{name}.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_tables_of_keys_and_commands_are_those_of_the_console() -> None:
    module = tool("keys_as_markdown")
    written = module.PAGE.read_text()
    assert module.page(written) == written, "run python tools/keys_as_markdown.py"


def test_the_page_of_the_protocol_is_that_of_the_code() -> None:
    module = tool("protocol_page")
    assert module.page() == module.PAGE.read_text(), "run make protocol-page"


def test_what_each_api_says_of_itself_is_what_it_serves() -> None:
    for each in tool("protocol_page").served():
        low, high = each.spec.min_version, each.spec.max_version
        versions = f"version {low}" if low == high else f"versions {low}-{high}"
        heading = each.docstring.split("\n")[0]
        assert re.search(rf" \({int(each.spec.key)}\), {versions}[,.:]", heading), f"{each.module}: {heading}"
