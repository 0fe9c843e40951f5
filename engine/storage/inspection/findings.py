"""What verification finds, as JSON objects: what is wrong, where, and what to do about it."""

from __future__ import annotations

from typing import Any, TypeAlias

Entry: TypeAlias = dict[str, Any]

# What to do, by what is damaged. Whatever a broker makes again by itself is best left to it.
COPY_ANEW = (
    "stop the broker, move this partition's directory away and start it: it copies the partition from its leader; "
    "without another replica the records from here on are lost"
)
DELETE_FILE = "stop the broker, delete this file and start it: it is made again from the log"
BROKER_CUTS = "the broker cuts it off at its next start"
RESTORE = "restore the file from a backup, or from what other brokers say"
START_STOP = "start the broker and stop it in order: that writes the file anew"


def finding(file: str, position: int | None, what: str, remedy: str) -> Entry:
    """Something is wrong at a byte of a file, or with the file as a whole (``None``)."""
    return {"kind": "finding", "file": file, "position": position, "what": what, "remedy": remedy}


def note(file: str, position: int | None, what: str) -> Entry:
    """Something worth knowing that is not wrong."""
    return {"kind": "note", "file": file, "position": position, "what": what}
