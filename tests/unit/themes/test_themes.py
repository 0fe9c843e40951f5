from __future__ import annotations

import pytest

from themes import TOKENS, ThemeError, builtin_themes, contrast_ratio, parse_theme, shortfalls, user_themes

BUILTIN = builtin_themes()
LEAST = "name: mine\nextends: dark\n"


def test_contrast_is_that_of_wcag() -> None:
    assert contrast_ratio("#000000", "#ffffff") == pytest.approx(21)
    assert contrast_ratio("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert contrast_ratio("#123456", "#123456") == 1


@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_every_builtin_theme_has_the_contrast_it_promises(name: str) -> None:
    assert [str(each) for each in shortfalls(BUILTIN[name])] == []


def test_there_are_dark_light_high_contrast_and_colour_blind_themes() -> None:
    assert list(BUILTIN) == ["dark", "light", "high-contrast", "colour-blind"]
    assert BUILTIN["high-contrast"].minimum_contrast >= 7
    assert not BUILTIN["light"].dark


def test_low_contrast_is_found() -> None:
    theme = parse_theme(LEAST + 'tokens: {text: "#202830"}', "t", BUILTIN)
    assert {each.foreground for each in shortfalls(theme)} == {"text"}


def test_a_theme_can_extend_another() -> None:
    theme = parse_theme(LEAST + 'tokens: {accent: "#FF8800"}', "t", BUILTIN)
    assert theme["accent"] == "#ff8800"
    assert theme["text"] == BUILTIN["dark"]["text"]


def test_all_mistakes_of_a_theme_are_told_at_once_with_what_to_do() -> None:
    with pytest.raises(ThemeError) as caught:
        parse_theme("name: Bad Name\nfoo: 1\ndark: maybe\ntokens: {in_synk: '#000000', text: red}", "f.yaml", BUILTIN)
    text = str(caught.value)
    assert "unknown key 'foo'" in text
    assert "`name` must be" in text
    assert "`dark` must be true or false" in text
    assert "unknown token 'in_synk'; did you mean 'in_sync'?" in text
    assert "token 'text': 'red' is no colour" in text
    assert "tokens are missing" in text


def test_a_theme_file_that_is_no_yaml_or_no_mapping_is_refused() -> None:
    for text in ("{", "- a", ""):
        with pytest.raises(ThemeError):
            parse_theme(text, "t", BUILTIN)


def test_users_themes_are_found_and_wrong_ones_do_not_hide_the_others(tmp_path) -> None:
    (tmp_path / "a.yaml").write_text(LEAST)
    (tmp_path / "b.yaml").write_text("name: 7 7")
    (tmp_path / "c.txt").write_text("no theme")
    found, errors = user_themes(str(tmp_path), BUILTIN)
    assert list(found) == ["mine"]
    assert [each.source for each in errors] == [str(tmp_path / "b.yaml")]


def test_each_token_says_what_it_is_for() -> None:
    assert all(TOKENS.values())
