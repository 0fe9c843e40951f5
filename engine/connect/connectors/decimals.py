"""Decimal numbers with exactly the digits behind the point that Connect's Decimal of a scale has."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation
from typing import Any

from engine.connect.errors import DataError

# More digits than any database keeps; a digit that would be lost is an error.
_EXACT = Context(prec=200_000, traps=[Inexact, InvalidOperation])


def scaled(scale: int) -> Callable[[Any], Decimal]:
    """What gives a number, or its text, ``scale`` digits behind the point.

    It raises DataError for what is no finite number, or has more digits than that.
    """
    unit = Decimal(1).scaleb(-scale)

    def convert(value: Any) -> Decimal:
        number = value if isinstance(value, Decimal) else Decimal(str(value))
        if not number.is_finite():
            raise DataError(f"{number} has no place in Connect's Decimal")
        try:
            return number.quantize(unit, context=_EXACT)
        except DecimalException:
            raise DataError(f"{number} has more digits behind the point than {scale}") from None

    return convert
