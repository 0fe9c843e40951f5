"""What may be done with a subject, and which versions a new one is compared with. Pure."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """Of a subject or of all; READONLY_OVERRIDE holds for all, whatever subjects have of their own."""

    READWRITE = "READWRITE"
    READONLY = "READONLY"
    READONLY_OVERRIDE = "READONLY_OVERRIDE"
    IMPORT = "IMPORT"


class Compatibility(StrEnum):
    """Who has to be able to read whom."""

    NONE = "NONE"
    BACKWARD = "BACKWARD"
    BACKWARD_TRANSITIVE = "BACKWARD_TRANSITIVE"
    FORWARD = "FORWARD"
    FORWARD_TRANSITIVE = "FORWARD_TRANSITIVE"
    FULL = "FULL"
    FULL_TRANSITIVE = "FULL_TRANSITIVE"

    @property
    def is_transitive(self) -> bool:
        """Whether all versions count, not only the last one."""
        return self.value.endswith("_TRANSITIVE")

    @property
    def new_reads_old(self) -> bool:
        """Whether the new schema must read what the old ones wrote."""
        return self.value.startswith(("BACKWARD", "FULL"))

    @property
    def old_reads_new(self) -> bool:
        """Whether the old schemas must read what the new one writes."""
        return self.value.startswith(("FORWARD", "FULL"))
