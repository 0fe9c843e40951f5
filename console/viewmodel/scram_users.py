"""SCRAM credentials of users as rows, and what a form says of a new one. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from console.viewmodel.cells import Column, cell

MECHANISMS = ("SCRAM-SHA-256", "SCRAM-SHA-512")
# ScramMechanism: least iterations; ScramControlManager: most.
MIN_ITERATIONS, MAX_ITERATIONS = 4096, 16384


class ScramRow(NamedTuple):
    """That a user has a credential. Brokers never tell salts or keys."""

    user: str
    mechanism: str
    iterations: int
    age_ms: float = 0.0

    @property
    def key(self) -> str:
        """User and mechanism."""
        return f"{self.user} {self.mechanism}"


class ScramWish(NamedTuple):
    """A credential to set."""

    user: str
    mechanism: str
    iterations: int
    password: str

    def __repr__(self) -> str:
        return f"ScramWish({self.user!r}, {self.mechanism!r}, {self.iterations})"


def credential_of(values: Mapping[str, str]) -> ScramWish:
    """The credential of a form. Raises: ValueError: a sentence, without the password."""
    user = values["user"].strip()
    written = values["iterations"].strip() or str(MIN_ITERATIONS)
    if not user:
        raise ValueError("a user's name is needed")
    if not written.isdigit() or not MIN_ITERATIONS <= int(written) <= MAX_ITERATIONS:
        raise ValueError(f"iterations: a number from {MIN_ITERATIONS:,} to {MAX_ITERATIONS:,}")
    if not values["password"]:
        raise ValueError("a password is needed")
    if values["password"] != values["again"]:
        raise ValueError("the two passwords differ")
    return ScramWish(user, values["mechanism"], int(written), values["password"])


SCRAM_COLUMNS: tuple[Column, ...] = (
    Column("user", "USER", lambda row: cell(row.user), 24, lambda row: row.user, max_width=80),
    Column("mechanism", "MECHANISM", lambda row: cell(row.mechanism), 13, lambda row: row.mechanism),
    Column(
        "iterations",
        "ITERATIONS",
        lambda row: cell(f"{row.iterations:,}"),
        10,
        lambda row: row.iterations,
        right=True,
        descending=True,
    ),
)
