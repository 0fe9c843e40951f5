"""The user's own files, ``~/.config/kconsole/*.yaml``: read anew each time, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from themes.loader import user_theme_dir


def user_file(name: str) -> Path:
    """A file below XDG_CONFIG_HOME, usually ``~/.config``."""
    return Path(user_theme_dir()).with_name(name)


def read_document(path: Path, failure: type[Exception]) -> Any:
    """What stands in a file; ``None`` where there is none.

    Raises:
        failure: it cannot be read, or is no YAML. The message names the file and has no line of it: a secret may stand
            there.
    """
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise failure(f"{path}: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None else ""
        raise failure(f"{path}: {where}{getattr(error, 'problem', '') or 'no YAML'}") from None


def write_document(path: Path, document: Mapping[str, Any], failure: type[Exception]) -> None:
    """Put a file in the place of the last one; nobody but the user may read it.

    Raises:
        failure: it cannot be written; the last one is still there.
    """
    import yaml

    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yaml.safe_dump(dict(document), file, allow_unicode=True, sort_keys=False)
        part.replace(path)
    except OSError as error:
        raise failure(f"{path}: {error.strerror}") from None
