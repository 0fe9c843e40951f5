"""Matching of whole strings in linear time, for expressions that strangers send (promise S3).

Thompson's construction: the expression becomes a program, its states are followed all at once, and sets of states that
came up are remembered with where each character leads, as a deterministic automaton would. A character costs at most
one look at each state of the program, whatever the expression; Python's own ``re`` can take a time that is exponential
in the string. Why this is no library: docs/decisions/0010-regular-expressions-of-groups.md.
"""

from __future__ import annotations

from engine.core.group.regex_syntax import (
    Alt,
    Assert,
    Assertion,
    Cat,
    Char,
    CharTest,
    Node,
    RegexSyntaxError,
    Repeat,
    parse_regex,
)

__all__ = ["MAX_STATES", "LinearRegex", "RegexSyntaxError"]

MAX_STATES = 10_000
"""Repetitions are written out, so a short expression can make a large program; a larger one is refused."""
_MAX_REMEMBERED = 2_000
_MATCH = 0


class _Context:
    """What assertions see of the character before: at the start of the text, a line feed, a word's character."""

    START, LINE_FEED, WORD, OTHER = range(4)


class _StateSet:
    """States that the program may be in after some character, and where the next one leads."""

    __slots__ = ("after", "at_end", "context", "states")

    def __init__(self, states: frozenset[int], context: int) -> None:
        self.states = states
        self.context = context
        self.after: dict[str, _StateSet] = {}
        self.at_end: bool | None = None


class LinearRegex:
    """A compiled expression. ``work`` counts steps: characters, and states that were looked at."""

    __slots__ = ("_program", "_remembered", "_sees_before", "_start", "pattern", "work")

    def __init__(self, pattern: str) -> None:
        """Raises: RegexSyntaxError: also for an expression that is too large."""
        self.pattern = pattern
        self.work = 0
        # Of each state: a test and the state behind it, or an assertion and that, or the states it splits into.
        self._program: list[tuple[CharTest | Assertion | None, tuple[int, ...]]] = [(None, ())]
        self._sees_before = False
        entry = self._compile(parse_regex(pattern), _MATCH)
        self._remembered: dict[tuple[frozenset[int], int], _StateSet] = {}
        self._start = self._remember(frozenset((entry,)), _Context.START)

    def matches(self, text: str) -> bool:
        """Whether all of the text matches."""
        current = self._start
        for char in text:
            self.work += 1
            following = current.after.get(char)
            if following is None:
                following = self._step(current, char)
            if not following.states:
                return False
            current = following
        if current.at_end is None:
            current.at_end = _MATCH in self._closure(current, None)
        return current.at_end

    # -- running ------------------------------------------------------------------------------------------------

    def _step(self, current: _StateSet, char: str) -> _StateSet:
        states = set()
        for state in self._closure(current, char):
            test, targets = self._program[state]
            if callable(test) and test(char):
                states.add(targets[0])
        context = _Context.OTHER
        if self._sees_before:
            context = _Context.LINE_FEED if char == "\n" else _Context.WORD if _is_word(char) else _Context.OTHER
        if len(self._remembered) >= _MAX_REMEMBERED:
            # Begin again: what is in use now is remembered anew.
            self._remembered.clear()
            self._start.after.clear()
            self._remembered[self._start.states, self._start.context] = self._start
        following = self._remember(frozenset(states), context)
        current.after[char] = following
        return following

    def _remember(self, states: frozenset[int], context: int) -> _StateSet:
        found = self._remembered.get((states, context))
        if found is None:
            found = self._remembered[states, context] = _StateSet(states, context)
        return found

    def _closure(self, current: _StateSet, char: str | None) -> set[int]:
        """All states that are reached without a character, where ``char`` (None: the end) comes next."""
        seen = set(current.states)
        waiting = list(current.states)
        while waiting:
            what, targets = self._program[waiting.pop()]
            if callable(what) or (what is not None and not _holds(what, current.context, char)):
                continue
            for target in targets:
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)
        self.work += len(seen)
        return seen

    # -- compiling ----------------------------------------------------------------------------------------------

    def _add(self, what: CharTest | Assertion | None, *targets: int) -> int:
        if len(self._program) >= MAX_STATES:
            raise RegexSyntaxError(f"expression too large: more than {MAX_STATES} states")
        self._program.append((what, targets))
        return len(self._program) - 1

    def _compile(self, node: Node, following: int) -> int:
        """The state in which a node begins that is followed by ``following``."""
        match node:
            case Char(test):
                return self._add(test, following)
            case Assert(what):
                self._sees_before = self._sees_before or what not in (Assertion.TEXT_START, Assertion.TEXT_END)
                return self._add(what, following)
            case Cat(parts):
                for part in reversed(parts):
                    following = self._compile(part, following)
                return following
            case Alt(parts):
                return self._add(None, *[self._compile(part, following) for part in parts])
            case Repeat(part, low, high):
                return self._compile_repeat(part, low, high, following)

    def _compile_repeat(self, part: Node, low: int, high: int | None, following: int) -> int:
        if high is None:
            loop = self._add(None)
            body = self._compile(part, loop)
            self._program[loop] = (None, (body, following))
            entry = body if low else loop
            low = max(low - 1, 0)
        else:
            entry = following
            for _ in range(high - low):
                entry = self._add(None, self._compile(part, entry), following)
        for _ in range(low):
            entry = self._compile(part, entry)
        return entry


def _holds(what: Assertion, before: int, char: str | None) -> bool:
    match what:
        case Assertion.TEXT_START:
            return before == _Context.START
        case Assertion.TEXT_END:
            return char is None
        case Assertion.LINE_START:
            return before in (_Context.START, _Context.LINE_FEED)
        case Assertion.LINE_END:
            return char is None or char == "\n"
    is_boundary = (before == _Context.WORD) != (char is not None and _is_word(char))
    return is_boundary == (what is Assertion.WORD_BOUNDARY)


def _is_word(char: str) -> bool:
    return char.isascii() and (char.isalnum() or char == "_")
