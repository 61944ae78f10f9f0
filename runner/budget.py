"""What a job costs, and sums of money that are never rounded.

Amounts are whole millionths of a currency unit: 0.07 USD is 70,000.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any, Self

# A comma only between thousands: `25,50` could be meant as either 25.5 or 2,550, and money is not guessed.
_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9][0-9_]*)(?:\.[0-9]+)?"
_MONEY = re.compile(
    rf"\s*(?:(?P<a>{_DIGITS})\s*(?P<ca>[A-Za-z]{{3}})|(?P<cb>[A-Za-z]{{3}})\s*(?P<b>{_DIGITS}))\s*"
)
_MOST = 10**12  # units; in millionths it still fits into a row


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in millionths of a currency."""

    micros: int
    currency: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `25 USD`, `25.50 USD` or `USD 25`.

        Raises:
            ValueError: it isn't an amount with a currency.
        """
        match = _MONEY.fullmatch(text)
        if match is None:
            raise ValueError(
                f"{text[:80]!r} is not an amount of money. Write an amount and a currency: 25 USD, 1,000.50 USD"
            )
        amount = Decimal((match["a"] or match["b"]).replace("_", "").replace(",", ""))
        if amount > _MOST:
            raise ValueError(
                f"{text[:80]!r} is more money than there is. Write an amount like 25 USD"
            )
        return cls.of(amount, match["ca"] or match["cb"])

    @classmethod
    def of(cls, amount: Decimal | float | int, currency: str) -> Self:
        """From an amount in whole units; floats are read by their shortest text, so 0.07 is 70,000 millionths."""
        exact = Decimal(str(amount)) * 1_000_000
        return cls(int(exact.to_integral_value(ROUND_HALF_UP)), currency.upper())

    def times(self, count: int) -> Money:
        """This amount `count` times."""
        return Money(self.micros * count, self.currency)

    def __add__(self, other: Money) -> Money:
        """Sum of two amounts of one currency."""
        if other.currency != self.currency:
            raise ValueError(f"{self.currency} and {other.currency} can't be added")
        return Money(self.micros + other.micros, self.currency)

    def __str__(self) -> str:
        """Two decimals where they are exact, as many as needed where not: `0.35 USD`, `0.042 USD`."""
        amount = Decimal(self.micros) / 1_000_000
        text = f"{amount:f}"
        cents = f"{amount:.2f}"
        return f"{cents if Decimal(cents) == amount else text.rstrip('0')} {self.currency}"


@dataclass(frozen=True, slots=True)
class Price:
    """What a seller charges for one job of a model: exactly one of the three amounts is set.

    `source` and `date` say where the figure is from; prices change without notice.
    """

    currency: str = "USD"
    per_job: Decimal | None = None
    per_second: Decimal | None = None
    per_image: Decimal | None = None
    source: str = ""
    date: str = ""

    def of(self, params: Mapping[str, Any], default_seconds: Decimal | None = None) -> Money | None:
        """Price one job with these params; None where the params don't say how long the clip will be."""
        if self.per_job is not None:
            return Money.of(self.per_job, self.currency)
        if self.per_second is not None:
            seconds = _number(params.get("duration")) or default_seconds
            return None if seconds is None else Money.of(self.per_second * seconds, self.currency)
        if self.per_image is not None:
            count = _number(params.get("num_images") or params.get("n")) or Decimal(1)
            return Money.of(self.per_image * count, self.currency)
        return None


@dataclass(slots=True)
class Bill:
    """A sum of prices, some of which may be unknown."""

    total: Money | None = None
    count: int = 0
    unpriced: int = 0

    def add(self, cost: Money | None) -> None:
        """One more job, at this price; None where nobody knows it."""
        self.count += 1
        if cost is None:
            self.unpriced += 1
        else:
            self.total = cost if self.total is None else self.total + cost


def _number(value: Any) -> Decimal | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() and number > 0 else None
