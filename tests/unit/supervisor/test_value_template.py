import json

from engine.supervisor.value_template import compile_template, template_mistakes


def highest(low: int, high: int) -> int:
    return high


def test_placeholders_are_filled_and_other_braces_stay() -> None:
    template = '{"n": {n}, "k": "{key}", "at": {ms}, "r": {random:1-9}, "c": "{choice:a,b}", "o": {}}'
    assert template_mistakes(template) == []
    value = json.loads(compile_template(template, highest)(7, "key-1", 1234))
    assert value == {"n": 7, "k": "key-1", "at": 1234, "r": 9, "c": "b", "o": {}}


def test_mistakes_are_named_with_a_remedy() -> None:
    found = template_mistakes("{foo} {random} {random:9-1} {choice}")
    assert [mistake for mistake, _ in found] == [
        "unknown placeholder {foo}",
        "{random} has no range",
        "{random:9-1} has no range",
        "{choice} has no choices",
    ]
    assert all(remedy for _, remedy in found)
