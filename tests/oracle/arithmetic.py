"""Numbers to compute with: float64, or as many decimal digits as wanted (to take differences without rounding)."""

from __future__ import annotations

import decimal
import math
from decimal import Decimal
from typing import Any


class Float64:
    exp = staticmethod(math.exp)
    sinh = staticmethod(math.sinh)
    log1p = staticmethod(math.log1p)
    exact = False

    @staticmethod
    def number(x: Any) -> float:
        return float(x)


class Digits:
    """Python's decimal numbers. Sets the precision of the current decimal context."""

    exact = True

    def __init__(self, digits: int = 50) -> None:
        decimal.getcontext().prec = digits
        decimal.getcontext().Emin = -999_999

    @staticmethod
    def number(x: Any) -> Decimal:
        return x if isinstance(x, Decimal) else Decimal(float(x))

    @staticmethod
    def exp(x: Decimal) -> Decimal:
        return x.exp()

    @staticmethod
    def sinh(x: Decimal) -> Decimal:
        return (x.exp() - (-x).exp()) / 2

    @staticmethod
    def log1p(x: Decimal) -> Decimal:
        return (1 + x).ln()


FLOAT64 = Float64()
