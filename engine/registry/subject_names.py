"""Names of subjects: plain, or in a context (``:.context:subject``). Pure.

Each context counts its ids for itself. Source: "Schema Contexts" in Confluent's documentation.
"""

from __future__ import annotations

from engine.registry import errors
from engine.registry.errors import RegistryError

DEFAULT_CONTEXT = "."
GLOBAL_CONTEXT = ".__GLOBAL"
# Before a prefix of subjects: whatever the context.
_ANY = ":*:"


def context_of(subject: str) -> str:
    """The context that a subject's name says, with its leading dot."""
    return split(subject)[0]


def split(subject: str) -> tuple[str, str]:
    """Context and name within it."""
    if subject.startswith(":."):
        context, colon, name = subject[1:].partition(":")
        if colon:
            return context, name
        return context, ""
    return DEFAULT_CONTEXT, subject


def qualified(context: str, name: str) -> str:
    """A subject's name in a context."""
    return name if context == DEFAULT_CONTEXT else f":{context}:{name}"


def normal(subject: str) -> str:
    """``:.:name`` is ``name``."""
    context, name = split(subject)
    return qualified(context, name)


def within(context: str | None, subject: str) -> str:
    """A subject that was asked for below ``/contexts/NAME``: there, unless it says another context."""
    if context is None or subject.startswith(":."):
        return normal(subject)
    return qualified(context_name(context), subject)


def context_name(said: str) -> str:
    """``.name``, from ``name``, ``.name`` or ``:.name:``."""
    bare = said.strip(":")
    return bare if bare.startswith(".") else f".{bare}"


def referred(parent: str, subject: str) -> str:
    """The subject of a reference: in the context of who refers to it, unless it says another."""
    if subject.startswith(":."):
        return normal(subject)
    return qualified(context_of(parent), subject)


def scopes(subject: str) -> list[str | None]:
    """Whose config or mode counts, nearest first."""
    context = context_of(subject)
    scopes: list[str | None] = [normal(subject)] if subject else []
    if context != DEFAULT_CONTEXT:
        scopes.append(f":{context}:")
    return [*scopes, None, f":{GLOBAL_CONTEXT}:"]


def has_prefix(subject: str, prefix: str) -> bool:
    """Whether ``subjectPrefix`` takes a subject: ``:*:x`` in all contexts, ``:.c:x`` in one, ``x`` in the default's."""
    context, name = split(subject)
    if prefix.startswith(_ANY):
        return name.startswith(prefix[len(_ANY) :])
    wanted, start = split(prefix)
    return context == wanted and name.startswith(start)


def check_subject(subject: str) -> None:
    """Raises: RegistryError: no schema can be registered under the name (42208)."""
    context, name = split(subject)
    if not name or context == GLOBAL_CONTEXT:
        raise _no_subject_name(subject)
    check_scope(subject)


def check_scope(subject: str | None) -> None:
    """Of a config or a mode: a subject, a context, or all. Raises: RegistryError: there is no such thing (42208)."""
    context, name = split(subject or "")
    if name in ("__GLOBAL", "__EMPTY") or any(ord(each) < 0x20 or 0x7F <= ord(each) < 0xA0 for each in context + name):
        raise _no_subject_name(subject or "")


def _no_subject_name(subject: str) -> RegistryError:
    return RegistryError(errors.INVALID_SUBJECT, f"The specified subject '{subject}' is not a valid subject name.")
